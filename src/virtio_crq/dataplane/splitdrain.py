# SPDX-License-Identifier: Apache-2.0
"""The device's part of a driver's split ring, played by the driver's own transport: all of it is own RAM (§2.7).

The driver sees a device that takes what it makes available and uses it in whatever order. Nobody else can reach the
ring, so what stands in it is the driver's word, and what the driver reads is ours.
"""

from array import array

from virtio_crq.dataplane.mapping import SlotMapping
from virtio_crq.dataplane.splitdriverring import SplitDriverRing
from virtio_crq.virtio import splitring

NEXT = splitring.DESC_F_NEXT
WRITE = splitring.DESC_F_WRITE
INDIRECT = splitring.DESC_F_INDIRECT
DESCRIPTOR = splitring.DESCRIPTOR_SIZE
MASK = splitring.POSITION_MASK
LOW32 = 0xFFFFFFFF
SEGMENTS = 130  # a longer chain no device takes


class SplitDrain:
    """`gather` leaves a chain in `addresses`, `lengths` and `writable`, `count` long.

    Of an indirect chain `table` is the length of the table and `table_address` its place; one that is not found in own
    RAM (`translate`) is left unread, and `count` is 0.
    """

    def __init__(self, ring: SplitDriverRing) -> None:
        self.ring = ring
        self.port = ring.port
        self.mapping: SlotMapping | None = None
        self.translates = 0
        self.most = max(ring.size, SEGMENTS)
        self.addresses = array("Q", bytes(8 * self.most))
        self.lengths = array("Q", bytes(8 * self.most))
        self.writable = array("B", bytes(self.most))
        self.count = self.room = 0
        self.table = self.table_address = 0
        self.taken = self.used = 0

    def translate(self, mapping: SlotMapping) -> None:
        """The driver's buffers are in these slots: what its addresses point to may be looked at."""
        self.mapping = mapping
        self.translates = 1

    def find(self, address: int, length: int) -> int:
        """Where these bytes are in own RAM; negative when the transport does not know."""
        if not self.translates:
            return -1
        return self.mapping.offset_of(address, length)  # type: ignore[union-attr]

    def waits(self) -> int:
        """Whether the driver made something available that was not taken."""
        # §2.7.13.3: the index is read before the entries it covers.
        return 1 if self.port.acquire16(self.ring.available + 2) != self.taken else 0

    def peek(self) -> int:
        """The head of the next request."""
        return self.port.load16(self.ring.available + 4 + 2 * (self.taken & (self.ring.size - 1)))

    def advance(self) -> int:
        self.taken = (self.taken + 1) & MASK
        return 0

    def rearm(self) -> int:
        """Ask to be told of the next request; whether one came meanwhile."""
        if self.ring.event_idx:
            self.port.store16(self.ring.used + 4 + 8 * self.ring.size, self.taken)
        # §2.7.10: the wish is visible before the index is looked at again, or both sides may sleep.
        self.port.fence()
        return self.waits()

    def use(self, head: int, written: int) -> int:
        """The element of a used request; the driver finds it after `show`."""
        entry = self.ring.used + 4 + 8 * (self.used & (self.ring.size - 1))
        self.port.store32(entry, head)
        self.port.store32(entry + 4, written)
        self.used = (self.used + 1) & MASK
        return 0

    def show(self) -> int:
        # §2.7.8.2: elements are visible before the index that covers them; the release store does both.
        return self.port.release16(self.ring.used + 2, self.used)

    def gather(self, head: int) -> int:
        """The chain at this head; the number of its segments."""
        self.count = self.room = self.table = 0
        index = head
        while True:
            at = self.ring.descriptors + DESCRIPTOR * index
            flags = self.port.load16(at + 12)
            if flags & INDIRECT:
                return self._through(self.port.load64(at), self.port.load32(at + 8))
            self._add(at, flags)
            if not flags & NEXT or self.count == self.most:
                return self.count
            index = self.port.load16(at + 14)

    def _add(self, at: int, flags: int) -> int:
        length = self.port.load32(at + 8)
        self.addresses[self.count] = self.port.load64(at)
        self.lengths[self.count] = length
        self.writable[self.count] = 1 if flags & WRITE else 0
        if flags & WRITE:
            self.room += length
        self.count += 1
        return 0

    def _through(self, address: int, length: int) -> int:
        self.table = length
        self.table_address = address
        found = self.find(address, length)
        if found < 0 or length // DESCRIPTOR > self.most:
            self.room = LOW32  # nobody here has read the table: the driver holds the length against its own record
            return 0
        index = 0
        while True:
            at = found + DESCRIPTOR * index
            flags = self.port.load16(at + 12)
            self._add(at, flags)
            if not flags & NEXT or self.count == self.most:
                return self.count
            index = self.port.load16(at + 14)

    def reset(self) -> None:
        """The driver's ring is empty again."""
        self.taken = self.used = 0
