# SPDX-License-Identifier: Apache-2.0
"""A driver's ring of the packed layout (virtio 1.4 §2.8).

Positions count descriptors (`packedring`). What the device overwrites is kept here as well, where it cannot reach: the
descriptors of each request in flight, linked from its buffer id. `halt` lays them out again for the next device.
"""

from array import array

from virtio_crq.dataplane.driverring import DriverRing
from virtio_crq.platform.port import Port
from virtio_crq.virtio import packedring, splitring
from virtio_crq.virtio.ringareas import placed

NEXT = packedring.DESC_F_NEXT
WRITE = packedring.DESC_F_WRITE
INDIRECT = packedring.DESC_F_INDIRECT
AVAIL = packedring.DESC_F_AVAIL
USED = packedring.DESC_F_USED
MARKS = packedring.MARKS
DISABLE = packedring.EVENT_DISABLE
AT_DESCRIPTOR = packedring.EVENT_DESCRIPTOR
WRAP = packedring.EVENT_WRAP
MASK = splitring.POSITION_MASK

FULL = -1  # submit: no descriptor is free
EMPTY = -1  # collect: nothing was completed

USED_ID = 0  # rules of `driverring`
USED_LENGTH = 1
USED_POSITION = 3
USED_CLAIMED = 5


class PackedDriverRing(DriverRing):
    """`offset` is where its parts lie in own RAM, as `ringareas.placed` has them."""

    def __init__(
        self,
        port: Port,
        offset: int,
        size: int,
        indirect: bool,
        event_idx: bool,
        device: int = 0,
        queue: int = 0,
        in_order: bool = False,
    ) -> None:
        if not splitring.valid_size(size):
            raise ValueError(f"a ring has a power of two of entries up to {splitring.QUEUE_SIZE_MAX}, not {size}")
        super().__init__(port, size, indirect, event_idx, device, queue)
        wish, device_wish, length = placed(size, packed=True)
        self.in_order = 1 if in_order else 0
        self.descriptors = offset
        self.wish = offset + wish
        self.device_wish = offset + device_wish
        self.room = length
        empty = bytes(8 * size)
        self.kept_bus = array("Q", empty)
        self.kept_length = array("Q", empty)
        self.kept_flags = array("Q", empty)
        self.line = array("Q", empty)
        self._forget()

    def _forget(self) -> None:
        self._forget_records()
        self.port.write(self.descriptors, bytes(self.room))
        self.written = 0
        self.claimed = 0
        self.line_head = self.lined = 0
        self.in_batch = self.batch_end = self.batch_length = 0
        if self.event_idx:
            self.port.store16(self.wish, WRAP)
            self.port.store16(self.wish + 2, AT_DESCRIPTOR)

    def segment(self, bus: int, length: int, writable: int) -> int:
        return self._stage(bus, length, writable)

    def submit(self, token: int, table: int, table_bus: int) -> int:
        through = 1 if self.indirect and table and self.staged > 1 else 0
        need = 1 if through else self.staged
        if need == 0 or need > self.free_count:
            return self._unstage()
        head = self.free_head
        if through:
            self._write_table(table)
            self.kept_bus[head] = table_bus
            self.kept_length[head] = 16 * self.staged
            self.kept_flags[head] = INDIRECT
            self.free_head = self.follow[head]
        else:
            self._keep_chain()
        self._record(head, token, need)
        self._lay(head, self.written)
        self.written = (self.written + need) & MASK
        if self.in_order:
            self.line[(self.line_head + self.lined) & (self.size - 1)] = head
            self.lined += 1
        return head

    def _write_table(self, table: int) -> int:
        for index in range(self.staged):
            at = table + 16 * index
            self.port.store64(at, self.segment_bus[index])
            self.port.store32(at + 8, self.segment_length[index])
            self.port.store16(at + 12, 0)
            self.port.store16(at + 14, WRITE if self.segment_writable[index] else 0)
        return 0

    def _keep_chain(self) -> int:
        node = self.free_head
        for index in range(self.staged):
            self.kept_bus[node] = self.segment_bus[index]
            self.kept_length[node] = self.segment_length[index]
            self.kept_flags[node] = WRITE if self.segment_writable[index] else 0
            node = self.follow[node]
        self.free_head = node
        return 0

    def _lay(self, head: int, position: int) -> int:
        """Make a request's descriptors available from this position on; the first flags make it visible (§2.8.21)."""
        first = 0
        node = head
        span = self.spans[head]
        for index in range(span):
            place = (position + index) & MASK
            at = self.descriptors + 16 * (place & (self.size - 1))
            flags = self.kept_flags[node] | (USED if place & self.size else AVAIL)
            if index + 1 < span:
                flags = flags | NEXT
            self.port.store64(at, self.kept_bus[node])
            self.port.store32(at + 8, self.kept_length[node])
            self.port.store16(at + 12, head)
            if index:
                self.port.store16(at + 14, flags)
            else:
                first = flags
            node = self.follow[node]
        self.port.release16(self.descriptors + 16 * (position & (self.size - 1)) + 14, first)
        return 0

    def publish(self) -> int:
        if self.published == self.written:
            return 0
        old = self.published
        self.published = self.written
        self.shown = self.issued
        # §2.8.21.2: the descriptors must be visible before the device's wish is read, or both sides may sleep.
        self.port.fence()
        return self._wanted(old)

    def _wanted(self, old: int) -> int:
        word = self.port.load32(self.device_wish)
        flags = word >> 16
        if flags == AT_DESCRIPTOR and self.event_idx:
            event = word & 0xFFFF
            place = (event & (WRAP - 1)) + (0 if event & WRAP else self.size)
            passed = (self.published - place - 1) & (2 * self.size - 1)
            return 1 if passed < ((self.published - old) & MASK) else 0
        return 0 if flags == DISABLE else 1

    def confirm(self, told: int, position: int) -> int:
        moved = (position - told) & MASK
        flying = self.size - self.free_count
        most = ((self.last_used - told) & MASK) + flying
        if moved > most:
            return self._refuse(USED_POSITION, moved, most)
        # What is announced was used before: `collect` has to find so many descriptors used.
        ahead = (position - self.last_used) & MASK
        self.claimed = ahead if ahead <= flying else 0
        return 0

    def _is_used(self) -> int:
        """Whether the descriptor at `last_used` is used (§2.8.1); acquires what was written before its flags."""
        flags = self.port.acquire16(self.descriptors + 16 * (self.last_used & (self.size - 1)) + 14)
        self.flags = flags
        return 1 if flags & MARKS == (0 if self.last_used & self.size else MARKS) else 0

    def collect(self) -> int:
        if not self.in_batch:
            if not self._is_used():
                if self.claimed:
                    return self._refuse(USED_CLAIMED, self.claimed, self.last_used)
                return EMPTY
            at = self.descriptors + 16 * (self.last_used & (self.size - 1))
            head = self.port.load16(at + 12)
            # §2.8.4: without WRITE there is no length.
            length = self.port.load32(at + 8) if self.flags & WRITE else 0
            if not self.in_order:
                return self._take(head, length)
            if head >= self.size or self.tokens[head] == 0:
                return self._refuse(USED_ID, head, self.size)
            if length > self.allowed[head]:
                return self._refuse(USED_LENGTH, length, self.allowed[head])
            self.in_batch = 1
            self.batch_end = head
            self.batch_length = length
        # §2.8.8: all that were made available before it are used as well, and completely.
        head = self.line[self.line_head]
        self.line_head = (self.line_head + 1) & (self.size - 1)
        self.lined -= 1
        if head == self.batch_end:
            self.in_batch = 0
            return self._take(head, self.batch_length)
        return self._take(head, self.allowed[head])

    def _take(self, head: int, length: int) -> int:
        token = self._used(head, length)
        span = self.spans[head]
        self.last_used = (self.last_used + span) & MASK
        self.claimed = self.claimed - span if self.claimed > span else 0
        return token

    def rearm(self) -> int:
        if self.event_idx:
            place = self.last_used & (self.size - 1)
            self.port.store16(self.wish, place if self.last_used & self.size else place | WRAP)
            # §2.8.10: the wish must be visible before the flags are looked at again.
            self.port.fence()
        return 1 if self.in_batch or self._is_used() else 0

    def listed(self, issue: int) -> list[int]:
        return []  # the ring tells by itself, once it was laid out again

    def halt(self) -> None:
        # Those that were announced come to lie from the used position to the announced one, the others where they were.
        position = self.last_used
        for head in self.heads():
            self._lay(head, position)
            position = (position + self.spans[head]) & MASK
        for _free in range(self.free_count):  # nothing that a lost server left there is a used descriptor
            at = self.descriptors + 16 * (position & (self.size - 1))
            self.port.store16(at + 14, MARKS if position & self.size else 0)
            position = (position + 1) & MASK
        self.claimed = 0
        self.in_batch = 0

    def reset(self) -> list[int]:
        tokens = self.in_flight_tokens()
        self._forget()
        return tokens
