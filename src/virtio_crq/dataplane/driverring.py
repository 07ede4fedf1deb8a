# SPDX-License-Identifier: Apache-2.0
"""The driver's side of a split virtqueue, in the driver's own RAM (virtio 1.4 §2.7).

The other side is not trusted. What the device may write (the used ring, and any other byte of the mapped rings) is
read once and held against records the device cannot reach: free list, chain lengths and the requests in flight live
in this object, never in the ring. A breach is a `DeviceFault`, named, and counted in `refusals`.

A request travels: `segment()` for each buffer, readable ones first; `submit(token)`; `publish()` once a batch;
`announce(channel)`; later `collect()` returns the token. Only `announce` and `settle` need the interpreter's lock.
"""

from array import array

from virtio_crq.errors import DeviceFault
from virtio_crq.platform.channel import AVAIL, CREDIT, Channel
from virtio_crq.platform.port import Port
from virtio_crq.virtio import splitring

NEXT = splitring.DESC_F_NEXT
WRITE = splitring.DESC_F_WRITE
INDIRECT = splitring.DESC_F_INDIRECT
NO_NOTIFY = splitring.USED_F_NO_NOTIFY
MASK = splitring.POSITION_MASK

FULL = -1  # submit: no descriptor is free
EMPTY = -1  # collect: nothing was completed

USED_ID = 0
USED_LENGTH = 1
USED_INDEX = 2
USED_POSITION = 3
USED_AHEAD = 4
CREDIT_OVERRUN = 5
CREDIT_UNOWED = 6
RULES = (
    ("used-unknown", "used entry names head {0}, which is not in flight (queue size {1})"),
    ("used-length", "used entry says {0} bytes were written, but the request has room for {1}"),
    ("used-ahead", "used index moved by {0}, but {1} requests are in flight"),
    ("used-ahead", "announced position moved by {0}, but at most {1} requests could have been used"),
    ("used-ahead", "position {0} was announced while the used index stood at {1}"),
    ("credit-overrun", "a used announcement ({0}) came before the last one's credit was returned ({1})"),
    ("credit-unowed", "a credit came back that was not away (announced {0}, published {1})"),
)


def footprint(size: int) -> tuple[int, int, int]:
    """Offsets of the available and the used ring behind the descriptors, and the bytes of all three (§2.7)."""
    available = splitring.descriptor_table_size(size)
    end = available + splitring.avail_size(size)
    used = -(-end // splitring.USED_ALIGNMENT) * splitring.USED_ALIGNMENT
    return available, used, used + splitring.used_size(size)


class DriverRing:
    """One queue. `offset` is where its `footprint` lies in own RAM; `device` and `queue` name it to the channel."""

    def __init__(
        self, port: Port, offset: int, size: int, indirect: bool, event_idx: bool, device: int = 0, queue: int = 0
    ) -> None:
        if not splitring.valid_size(size):
            raise ValueError(f"a split ring has a power of two of entries up to {splitring.QUEUE_SIZE_MAX}, not {size}")
        available, used, length = footprint(size)
        self.port = port
        self.size = size
        self.descriptors = offset
        self.available = offset + available
        self.used = offset + used
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
        self.segment_flags = array("Q", empty)
        port.write(offset, bytes(length))
        self._forget()

    def _forget(self) -> None:
        for index in range(self.size):
            self.follow[index] = index + 1
            self.tokens[index] = 0
        self.free_head = 0
        self.free_count = self.size
        self.in_flight = 0
        self.issued = 0
        self.length = 0
        self.written = self.published = self.announced = 0
        self.last_used = self.seen = self.told = 0
        self.credit = 1
        self.owed = 0
        self.pending = 0
        self.unasked = 0
        self.staged = 0
        self.staged_writable = 0

    def segment(self, bus: int, length: int, writable: int) -> int:
        """Add one buffer to the request that is being built; FULL when a chain cannot be that long."""
        # §2.7.4.2: the device-writable buffers follow the readable ones; §2.7.5.2: no chain exceeds the queue size.
        if self.staged == self.size or (self.staged_writable and not writable):
            self.staged = 0
            self.staged_writable = 0
            return FULL
        self.segment_bus[self.staged] = bus
        self.segment_length[self.staged] = length
        self.segment_flags[self.staged] = WRITE if writable else 0
        self.staged += 1
        if writable:
            self.staged_writable += length
        return 0

    def submit(self, token: int, table: int, table_bus: int) -> int:
        """Make the built request one ring entry; the head, or FULL.

        `token` comes back from `collect()`. With `table`, an offset in own RAM that the device reaches at
        `table_bus`, the chain is indirect, provided that was negotiated.
        """
        through = 1 if self.indirect and table and self.staged > 1 else 0
        need = 1 if through else self.staged
        if need == 0 or need > self.free_count:
            self.staged = 0
            self.staged_writable = 0
            return FULL
        head = self.free_head
        self.tokens[head] = token + 1
        self.allowed[head] = self.staged_writable
        self.spans[head] = need
        self.issues[head] = self.issued
        self.issued += 1
        if through:
            self._write_table(table)
            self._describe(self.descriptors, head, table_bus, 16 * self.staged, INDIRECT, 0)
            self.free_head = self.follow[head]
        else:
            self._write_chain()
        self.free_count -= need
        self.port.store16(self.available + 4 + 2 * (self.written & (self.size - 1)), head)
        self.written = (self.written + 1) & MASK
        self.in_flight += 1
        self.staged = 0
        self.staged_writable = 0
        return head

    def _describe(self, table: int, index: int, bus: int, length: int, flags: int, follower: int) -> int:
        address = table + 16 * index
        self.port.store64(address, bus)
        self.port.store32(address + 8, length)
        self.port.store16(address + 12, flags)
        self.port.store16(address + 14, follower)
        return 0

    def _write_table(self, table: int) -> int:
        for index in range(self.staged):
            flags = self.segment_flags[index]
            if index + 1 < self.staged:
                flags = flags | NEXT
            self._describe(table, index, self.segment_bus[index], self.segment_length[index], flags, index + 1)
        return 0

    def _write_chain(self) -> int:
        slot = self.free_head
        for index in range(self.staged):
            flags = self.segment_flags[index]
            if index + 1 < self.staged:
                flags = flags | NEXT
            self._describe(
                self.descriptors, slot, self.segment_bus[index], self.segment_length[index], flags, self.follow[slot]
            )
            slot = self.follow[slot]
        self.free_head = slot
        return 0

    def publish(self) -> int:
        """Show the device all submitted requests; 1 when `announce` has something to send now."""
        if self.published != self.written:
            old = self.published
            # §2.7.13.3: entries are visible before the index is; the release store does both.
            self.port.release16(self.available + 2, self.written)
            self.published = self.written
            # §2.7.13.4.1: the index must be visible before the device's wish is read, or both sides may sleep.
            self.port.fence()
            if self._wanted(old):
                self.pending = 1
        return 1 if self.pending and self.credit else 0

    def _wanted(self, old: int) -> int:
        if self.unasked:
            return 1  # what stands in avail_event or the flags is the wish of a device that is gone
        if self.event_idx:
            event = self.port.load16(self.used + 4 + 8 * self.size)
            return 1 if ((self.published - event - 1) & MASK) < ((self.published - old) & MASK) else 0
        return 0 if self.port.load16(self.used) & NO_NOTIFY else 1

    def announce(self, channel: Channel) -> int:
        """Spend the credit on an announcement if one is due. The channel's code; a failed one stays pending."""
        if not self.pending or not self.credit:
            return 0
        code = channel.announce(AVAIL, self.device, self.queue, self.published, self.owed)
        if code == 0:
            self.announced = self.published
            self.pending = 0
            self.unasked = 0
            self.credit = 0
            self.owed = 0
        return code

    def settle(self, channel: Channel) -> int:
        """After a drain: announce what is due, or else return the device's credit if it will need it."""
        if self.pending and self.credit:
            return self.announce(channel)
        if not self.owed or not self.in_flight:
            return 0
        code = channel.announce(CREDIT, self.device, self.queue, self.last_used, 1)
        if code == 0:
            self.owed = 0
        return code

    def used_told(self, position: int, credit: int) -> int:
        """Take a used announcement. The entries themselves are read by `collect()`."""
        moved = (position - self.told) & MASK
        most = ((self.last_used - self.told) & MASK) + self.in_flight
        if moved > most:
            return self._refuse(USED_POSITION, moved, most)
        if self.owed:
            return self._refuse(CREDIT_OVERRUN, position, self.told)
        # The index is stored before it is announced: a position beyond it was never used.
        index = self.port.acquire16(self.used + 2)
        if ((index - self.told) & MASK) < moved:
            return self._refuse(USED_AHEAD, position, index)
        self.told = position
        self.owed = 1
        return self.credit_returned() if credit else 0

    def credit_returned(self) -> int:
        """The right to announce came back. What was published meanwhile is due: the device does not look by itself."""
        if self.credit:
            return self._refuse(CREDIT_UNOWED, self.announced, self.published)
        self.credit = 1
        if self.published != self.announced:
            self.pending = 1
        return self.pending

    def collect(self) -> int:
        """The token of the next completed request (`length` bytes were written into it), or EMPTY."""
        if self.last_used == self.seen:
            # §2.7.14: the index is read before the entries it covers.
            index = self.port.acquire16(self.used + 2)
            moved = (index - self.last_used) & MASK
            if moved > self.in_flight:
                return self._refuse(USED_INDEX, moved, self.in_flight)
            self.seen = index
            if moved == 0:
                return EMPTY
        entry = self.used + 4 + 8 * (self.last_used & (self.size - 1))
        head = self.port.load32(entry)
        length = self.port.load32(entry + 4)
        if head >= self.size or self.tokens[head] == 0:
            return self._refuse(USED_ID, head, self.size)
        if length > self.allowed[head]:
            return self._refuse(USED_LENGTH, length, self.allowed[head])
        token = self.tokens[head] - 1
        self._release(head)
        self.last_used = (self.last_used + 1) & MASK
        self.length = length
        return token

    def _release(self, head: int) -> int:
        last = head
        for _count in range(1, self.spans[head]):
            last = self.follow[last]
        self.follow[last] = self.free_head
        self.free_head = head
        self.free_count += self.spans[head]
        self.tokens[head] = 0
        self.in_flight -= 1
        return 0

    def rearm(self) -> int:
        """Ask to be told of the next completion; 1 when one slipped in meanwhile and `collect()` must be called."""
        if self.event_idx:
            self.port.store16(self.available + 4 + 2 * self.size, self.last_used)
            # §2.7.10: the wish must be visible before the index is looked at again.
            self.port.fence()
        return 1 if self.port.acquire16(self.used + 2) != self.last_used else 0

    def heads(self) -> list[int]:
        """Heads of the requests in flight, oldest first: what a returning device is asked to serve first."""
        return sorted((head for head in range(self.size) if self.tokens[head]), key=self._issue)

    def _issue(self, head: int) -> int:
        return int(self.issues[head])

    def in_flight_tokens(self) -> list[int]:
        """Tokens of the requests in flight, oldest first."""
        return [int(self.tokens[head]) - 1 for head in self.heads()]

    def suspend(self) -> tuple[int, int, list[int]]:
        """The device is gone: (available position, used position, heads in flight) for its return.

        Call it after the last `collect()`: what the device had completed is not asked for again. What was not announced
        yet is not in flight: the device has never seen it, and hears of it by an announcement (CRQ-F-44).
        """
        self.publish()
        self.pending = 0
        self.credit = 0
        self.owed = 0
        self.seen = self.last_used
        self.told = self.last_used
        unseen = (self.published - self.announced) & MASK
        return int(self.announced), int(self.last_used), self.heads()[: self.in_flight - unseen]

    def resume(self) -> None:
        """The device is back and took over what `suspend` told; requests made meanwhile are due."""
        self.credit = 1
        self.pending = 1 if self.published != self.announced else 0
        self.unasked = 1

    def reset(self) -> list[int]:
        """Forget all requests (queue or device reset); their tokens, oldest first. The ring is empty afterwards."""
        tokens = self.in_flight_tokens()
        self.port.write(self.descriptors, bytes(footprint(self.size)[2]))
        self._forget()
        return tokens

    def _refuse(self, rule: int, first: int, second: int) -> int:
        name, text = RULES[rule]
        self.refusals[name] = self.refusals.get(name, 0) + 1
        raise DeviceFault(name, f"queue {self.queue} of device {self.device}: {text.format(first, second)}")
