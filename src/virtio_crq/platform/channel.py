# SPDX-License-Identifier: Apache-2.0
"""Announcements between the two halves of a connection, as the data plane sees them.

An announcement says how far a ring has come. The bus that carries it (CRQ, loopback) subclasses `Channel`; the data
plane polls and announces and never learns how entries look.
"""

import cython

NOTHING = 0  # no entry waits
AVAIL = 1  # the driver made ring entries before `position` available on `queue` of `device`
USED = 2  # the device has used ring entries before `position`
CREDIT = 3  # nothing new, but the right to announce on `queue` of `device` is returned
CONTROL = 4  # an entry for the control plane; take it with `entry()`
LOST = 5  # the partner is gone or the session was replaced; `entry()` says how
STALLED = 6  # never polled: what an owner of a channel is told whose `stalled` was set

NO_ENTRY = 0  # what a look answers, and must come in this order: all but the first are worth a poll
UNKNOWN = 1
AN_ENTRY = 2


class Channel:
    """Poll and announce. One thread's object, like the port under it.

    `waits`, `take` and `tell` are the same for whoever does not hold the interpreter's lock, by the functions below: a
    compiled bus provides them, for any other they go through `poll` and `announce`.

    After `poll()` returned AVAIL, USED or CREDIT: `device`, `queue`, `position` (16 bits) and `credit` (1 when the
    entry returns the partner's right to announce on this queue) describe the entry.

    `stalled` is set when the platform dropped an announcement because the partner has no room for it. With credits
    kept that cannot be: waiting for room would be wrong, the connection is over.
    """

    def __init__(self) -> None:
        self.device = 0
        self.queue = 0
        self.position = 0
        self.credit = 0
        self.stalled = 0

    def poll(self) -> int:
        """Take the next entry; NOTHING when none waits. Never blocks."""
        return NOTHING

    def announce(self, kind: int, device: int, queue: int, position: int, credit: int) -> int:
        """Send an announcement; 0, or the platform's code when the partner cannot be told."""
        return -1

    def entry(self) -> bytes:
        """The raw entry of the last CONTROL or LOST."""
        return b""

    def waits(self) -> int:
        """NO_ENTRY when `poll` would certainly find nothing, AN_ENTRY when certainly something."""
        return UNKNOWN

    def take(self) -> int:
        with cython.gil:
            return self.poll()

    def tell(self, kind: int, device: int, queue: int, position: int, credit: int) -> int:
        with cython.gil:
            return self.announce(kind, device, queue, position, credit)


def entry_waits(channel: Channel) -> int:
    """NO_ENTRY, UNKNOWN or AN_ENTRY; takes nothing. Without the interpreter's lock, like what follows."""
    return channel.waits()


def take_from(channel: Channel) -> int:
    """As `poll`."""
    return channel.take()


def tell_through(channel: Channel, kind: int, device: int, queue: int, position: int, credit: int) -> int:
    """As `announce`."""
    return channel.tell(kind, device, queue, position, credit)
