# SPDX-License-Identifier: Apache-2.0
"""Announcements over shared memory: an eventfd each way, and no entries at all.

The back-end is told of requests by a number written into `kick`; that it wishes to be told stands in the ring, and the
driver's side looks there first. What it completed stands in the used ring: nothing is ever to be taken while polling,
and `call` only ends a sleep.
"""

import os

import cython

from virtio_crq.platform.channel import NOTHING, Channel

if not cython.compiled:

    def vhost_write(descriptor: int) -> int:
        os.eventfd_write(descriptor, 1)
        return 0


class KickChannel(Channel):
    """The eventfds of one ring, both its own."""

    def __init__(self) -> None:
        super().__init__()
        self.kick = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.call = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.kicks = 0

    def poll(self) -> int:
        return NOTHING

    def announce(self, kind: int, device: int, queue: int, position: int, credit: int) -> int:
        """Wake the back-end; it finds the position in the ring."""
        self.kicks += 1
        return vhost_write(self.kick)

    def woken(self) -> int:
        """How often the back-end told of completions since this was asked."""
        try:
            return os.eventfd_read(self.call)
        except BlockingIOError:
            return 0

    def close(self) -> None:
        os.close(self.kick)
        os.close(self.call)
