# SPDX-License-Identifier: Apache-2.0
"""A driver's ring of the split layout (virtio 1.4 §2.7)."""

from virtio_crq.dataplane.driverring import DriverRing
from virtio_crq.platform.port import Port
from virtio_crq.virtio import splitring

NEXT = splitring.DESC_F_NEXT
WRITE = splitring.DESC_F_WRITE
INDIRECT = splitring.DESC_F_INDIRECT
NO_NOTIFY = splitring.USED_F_NO_NOTIFY
MASK = splitring.POSITION_MASK

FULL = -1  # submit: no descriptor is free
EMPTY = -1  # collect: nothing was completed

USED_INDEX = 2  # rules of `driverring`
USED_POSITION = 3
USED_AHEAD = 4


def footprint(size: int) -> tuple[int, int, int]:
    """Offsets of the available and the used ring behind the descriptors, and the bytes of all three (§2.7)."""
    available = splitring.descriptor_table_size(size)
    end = available + splitring.avail_size(size)
    used = -(-end // splitring.USED_ALIGNMENT) * splitring.USED_ALIGNMENT
    return available, used, used + splitring.used_size(size)


class SplitDriverRing(DriverRing):
    """`offset` is where its `footprint` lies in own RAM. Positions are 16-bit ring indices."""

    def __init__(
        self, port: Port, offset: int, size: int, indirect: bool, event_idx: bool, device: int = 0, queue: int = 0
    ) -> None:
        if not splitring.valid_size(size):
            raise ValueError(f"a split ring has a power of two of entries up to {splitring.QUEUE_SIZE_MAX}, not {size}")
        super().__init__(port, size, indirect, event_idx, device, queue)
        available, used, length = footprint(size)
        self.descriptors = offset
        self.available = offset + available
        self.used = offset + used
        port.write(offset, bytes(length))
        self._forget()

    def _forget(self) -> None:
        self._forget_records()
        self.written = 0
        self.seen = 0

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
            self._describe(self.descriptors, head, table_bus, 16 * self.staged, INDIRECT, 0)
            self.free_head = self.follow[head]
        else:
            self._write_chain()
        self.port.store16(self.available + 4 + 2 * (self.written & (self.size - 1)), head)
        self.written = (self.written + 1) & MASK
        self._record(head, token, need)
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
            flags = WRITE if self.segment_writable[index] else 0
            if index + 1 < self.staged:
                flags = flags | NEXT
            self._describe(table, index, self.segment_bus[index], self.segment_length[index], flags, index + 1)
        return 0

    def _write_chain(self) -> int:
        slot = self.free_head
        for index in range(self.staged):
            flags = WRITE if self.segment_writable[index] else 0
            if index + 1 < self.staged:
                flags = flags | NEXT
            self._describe(
                self.descriptors, slot, self.segment_bus[index], self.segment_length[index], flags, self.follow[slot]
            )
            slot = self.follow[slot]
        self.free_head = slot
        return 0

    def publish(self) -> int:
        if self.published == self.written:
            return 0
        old = self.published
        # §2.7.13.3: entries are visible before the index is; the release store does both.
        self.port.release16(self.available + 2, self.written)
        self.published = self.written
        self.shown = self.issued
        # §2.7.13.4.1: the index must be visible before the device's wish is read, or both sides may sleep.
        self.port.fence()
        return self._wanted(old)

    def _wanted(self, old: int) -> int:
        if self.event_idx:
            event = self.port.load16(self.used + 4 + 8 * self.size)
            return 1 if ((self.published - event - 1) & MASK) < ((self.published - old) & MASK) else 0
        return 0 if self.port.load16(self.used) & NO_NOTIFY else 1

    def confirm(self, told: int, position: int) -> int:
        moved = (position - told) & MASK
        most = ((self.last_used - told) & MASK) + self.in_flight
        if moved > most:
            return self._refuse(USED_POSITION, moved, most)
        # The index is stored before it is announced: a position beyond it was never used.
        index = self.port.acquire16(self.used + 2)
        if ((index - told) & MASK) < moved:
            return self._refuse(USED_AHEAD, position, index)
        return 0

    def collect(self) -> int:
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
        token = self._used(head, self.port.load32(entry + 4))
        self.last_used = (self.last_used + 1) & MASK
        return token

    def rearm(self) -> int:
        if self.event_idx:
            self.port.store16(self.available + 4 + 2 * self.size, self.last_used)
            # §2.7.10: the wish must be visible before the index is looked at again.
            self.port.fence()
        return 1 if self.port.acquire16(self.used + 2) != self.last_used else 0

    def halt(self) -> None:
        self.seen = self.last_used

    def reset(self) -> list[int]:
        tokens = self.in_flight_tokens()
        self.port.write(self.descriptors, bytes(footprint(self.size)[2]))
        self._forget()
        return tokens
