# SPDX-License-Identifier: Apache-2.0
"""The driver's side of a virtqueue, in the driver's own RAM: what all layouts have in common.

The other side is not trusted. What the device may write is read once and held against records the device cannot
reach: free list, chain lengths and the requests in flight live in this object, never in the ring. A breach is a
`DeviceFault`, named, and counted in `refusals`.

A request travels: `segment()` for each buffer, readable ones first; `submit(token)`; `publish()` once a batch; later
`collect()` returns the token. Nothing here knows how the device is told of it: that is the front's (`front`), below.

A layout subclasses this (`splitdriverring`, `packeddriverring`). `published` and `last_used` are positions as it
announces them, which others compare and hand on and never reckon with. Methods called without the interpreter's lock
are `cdef` here, and `cpdef` in the final class, where Python finds them.
"""

from array import array

from virtio_crq.errors import DeviceFault
from virtio_crq.platform.port import Port

FULL = -1  # submit: no descriptor is free
EMPTY = -1  # collect: nothing was completed

USED_ID = 0
USED_LENGTH = 1
USED_INDEX = 2
USED_POSITION = 3
USED_AHEAD = 4
USED_CLAIMED = 5
RULES = (
    ("used-unknown", "used entry names head {0}, which is not in flight (queue size {1})"),
    ("used-length", "used entry says {0} bytes were written, but the request has room for {1}"),
    ("used-ahead", "used index moved by {0}, but {1} requests are in flight"),
    ("used-ahead", "announced position moved by {0}, but at most {1} requests could have been used"),
    ("used-ahead", "position {0} was announced while the used index stood at {1}"),
    ("used-ahead", "{0} descriptors were announced as used, but the one at position {1} is not"),
)


class DriverRing:
    """One queue; a layout subclasses it. `device` and `queue` name it to the channel."""

    def __init__(self, port: Port, size: int, indirect: bool, event_idx: bool, device: int, queue: int) -> None:
        self.port = port
        self.size = size
        self.indirect = 1 if indirect else 0
        self.event_idx = 1 if event_idx else 0
        self.device = device
        self.queue = queue
        self.refusals: dict[str, int] = {}
        empty = bytes(8 * size)
        self.follow = array("Q", empty)
        self.tokens = array("Q", empty)
        self.allowed = array("Q", empty)
        self.spans = array("Q", empty)
        self.issues = array("Q", empty)
        self.segment_bus = array("Q", empty)
        self.segment_length = array("Q", empty)
        self.segment_writable = array("Q", empty)
        self._forget_records()

    def _forget_records(self) -> None:
        for index in range(self.size):
            self.follow[index] = index + 1
            self.tokens[index] = 0
        self.free_head = 0
        self.free_count = self.size
        self.in_flight = 0
        self.issued = self.shown = 0
        self.length = 0
        self.published = self.last_used = 0
        self.staged = 0
        self.staged_writable = 0

    def _stage(self, bus: int, length: int, writable: int) -> int:
        # §2.7.4.2: the device-writable buffers follow the readable ones; §2.7.5.2: no chain exceeds the queue size.
        if self.staged == self.size or (self.staged_writable and not writable):
            return self._unstage()
        self.segment_bus[self.staged] = bus
        self.segment_length[self.staged] = length
        self.segment_writable[self.staged] = 1 if writable else 0
        self.staged += 1
        if writable:
            self.staged_writable += length
        return 0

    def _unstage(self) -> int:
        self.staged = 0
        self.staged_writable = 0
        return FULL

    def _record(self, head: int, token: int, span: int) -> int:
        """The staged request is in flight under this head, on so many descriptors, linked by `follow`."""
        self.tokens[head] = token + 1
        self.allowed[head] = self.staged_writable
        self.spans[head] = span
        self.issues[head] = self.issued
        self.issued += 1
        self.free_count -= span
        self.in_flight += 1
        self.staged = 0
        self.staged_writable = 0
        return 0

    def _used(self, head: int, length: int) -> int:
        """The device says it is done with `head`: its token, if that can be true."""
        if head >= self.size or self.tokens[head] == 0:
            return self._refuse(USED_ID, head, self.size)
        if length > self.allowed[head]:
            return self._refuse(USED_LENGTH, length, self.allowed[head])
        token = self.tokens[head] - 1
        self.tokens[head] = 0
        self._release(head)
        self.in_flight -= 1
        self.length = length
        return token

    def _release(self, head: int) -> int:
        """Its descriptors are free again."""
        last = head
        for _count in range(1, self.spans[head]):
            last = self.follow[last]
        self.follow[last] = self.free_head
        self.free_head = head
        self.free_count += self.spans[head]
        return 0

    # --- what a layout provides ---

    def segment(self, bus: int, length: int, writable: int) -> int:
        """Add one buffer to the request that is being built; FULL when a chain cannot be that long."""
        raise NotImplementedError

    def submit(self, token: int, table: int, table_bus: int) -> int:
        """Make the built request one ring entry; the head, or FULL.

        `token` comes back from `collect()`. With `table`, an offset in own RAM that the device reaches at
        `table_bus`, the chain is indirect, provided that was negotiated.
        """
        raise NotImplementedError

    def publish(self) -> int:
        """Show the device all submitted requests; 1 when it asked to be told of them."""
        raise NotImplementedError

    def collect(self) -> int:
        """The token of the next completed request (`length` bytes were written into it), or EMPTY."""
        raise NotImplementedError

    def rearm(self) -> int:
        """Ask to be told of the next completion; 1 when one slipped in meanwhile and `collect()` must be called."""
        raise NotImplementedError

    def confirm(self, told: int, position: int) -> int:
        """The device announces `position` after `told`: DeviceFault unless the ring bears it out."""
        raise NotImplementedError

    def halt(self) -> None:
        """The device is gone: what it showed and nobody collected counts no more."""
        raise NotImplementedError

    def reset(self) -> list[int]:
        """Forget all requests (queue or device reset); their tokens, oldest first. The ring is empty afterwards."""
        raise NotImplementedError

    # --- what is in flight ---

    def heads(self) -> list[int]:
        """Heads of the requests in flight, oldest first: what a returning device is asked to serve first."""
        return sorted((head for head in range(self.size) if self.tokens[head]), key=self._issue)

    def heads_before(self, issue: int) -> list[int]:
        """Those of them that are among the first `issue` requests ever submitted."""
        return [head for head in self.heads() if self._issue(head) < issue]

    def listed(self, issue: int) -> list[int]:
        """Of the first `issue` requests, those in flight that the ring itself will not show to a returning device."""
        return self.heads_before(issue)

    def _issue(self, head: int) -> int:
        return int(self.issues[head])

    def in_flight_tokens(self) -> list[int]:
        """Tokens of the requests in flight, oldest first."""
        return [int(self.tokens[head]) - 1 for head in self.heads()]

    def _refuse(self, rule: int, first: int, second: int) -> int:
        name, text = RULES[rule]
        self.refusals[name] = self.refusals.get(name, 0) + 1
        raise DeviceFault(name, f"queue {self.queue} of device {self.device}: {text.format(first, second)}")
