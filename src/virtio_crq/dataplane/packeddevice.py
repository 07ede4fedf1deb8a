# SPDX-License-Identifier: Apache-2.0
"""The device side of a packed virtqueue (virtio 1.4 §2.8): chains from a snapshot, used descriptors, wishes.

Positions count descriptors. The snapshot has a place for each slot: what was fetched stands there until the device
passes it, and used descriptors are made in it. Between two of them lie descriptors of chains that they pass over; these
are written back as they were, so that a batch is one copy. The flags of its first used descriptor make it visible: they
follow in a vector of their own, after the bodies were made, for a copy has no inner order.

How descriptors come in is a strategy: see `packednaive` and `packedbatched`.
"""

from array import array

from virtio_crq.dataplane.faults import refuse
from virtio_crq.dataplane.limits import LANES, SEGMENTS
from virtio_crq.dataplane.ring import DeviceRing
from virtio_crq.dataplane.ringterms import RingResume, RingTerms
from virtio_crq.dataplane.staging import Staging
from virtio_crq.platform.port import Port
from virtio_crq.virtio import packedring, splitring
from virtio_crq.virtio.ringareas import ring_areas

MASK = splitring.POSITION_MASK
NEXT = packedring.DESC_F_NEXT
WRITE = packedring.DESC_F_WRITE
INDIRECT = packedring.DESC_F_INDIRECT
AVAIL = packedring.DESC_F_AVAIL
USED = packedring.DESC_F_USED
MARKS = packedring.MARKS
DISABLE = packedring.EVENT_DISABLE
AT_DESCRIPTOR = packedring.EVENT_DESCRIPTOR
WRAP = packedring.EVENT_WRAP
LOW16 = 0xFFFF
LOW32 = 0xFFFFFFFF
WHOLE = 0xFFFFFFFFFFFFFFFF
TABLE_ROOM = 16 * SEGMENTS  # an indirect table of the longest chain


def footprint(size: int) -> tuple[int, int, int]:
    """Own RAM for one queue: where the snapshot and indirect tables lie, and the end of all.

    What lies before the snapshot is a line for single fields.
    """
    tables = 64 + 16 * size
    return 64, tables, tables + LANES * TABLE_ROOM


class PackedRing(DeviceRing):
    """One queue; a strategy subclasses it. Heads are buffer ids."""

    def __init__(self, port: Port, staging: Staging, terms: RingTerms, max_copy: int) -> None:
        if not splitring.valid_size(terms.size):  # the standard lets it be any, positions need a power of two (D-58)
            refuse("queue-size", terms.size, splitring.QUEUE_SIZE_MAX)
        areas = (terms.descriptors, terms.driver_area, terms.device_area)
        for address, (length, alignment) in zip(areas, ring_areas(terms.size, packed=True), strict=True):
            if address % alignment:
                refuse("queue-address", address, alignment)
            if address + length >= 1 << 64:
                refuse("address-wrap", address, length)
        snapshot, tables, room = footprint(terms.size)
        super().__init__(port, staging, terms, max_copy, room)
        self.indirect = 1 if terms.indirect else 0
        self.descriptors = terms.descriptors
        self.wish = terms.driver_area
        self.own_wish = terms.device_area
        self.scratch = self.area
        self.snapshot = self.area + snapshot
        self.tables = self.area + tables
        self.counts = array("H", bytes(2 * terms.size))
        self.heads = array("H", bytes(2 * LANES))
        self.table_length = array("H", bytes(2 * LANES))
        self.brought = 0
        self.group = 0
        self.extends = 0
        self.first_flags = 0

    def resume(self, stopped: RingResume) -> None:
        # The front-end has written what is in flight into the ring again, from the used position on: no list is needed.
        available, used = stopped.available, stopped.used
        if stopped.heads or (available - used) & MASK > self.size or available >> 16 or used >> 16:
            refuse("resume-positions", (available - used) & MASK, len(stopped.heads))
        self.announced = available
        self.fetched = self.brought = self.completed = self.published = self.signalled = used
        if available != used:
            self.bring_ring(available)
            self.flush()
            self._count_replays()

    def _count_replays(self) -> None:
        """How many requests a lost server may have seen: each ends in a descriptor without NEXT."""
        for index in range((self.brought - self.fetched) & MASK):
            at = self.snapshot + 16 * ((self.fetched + index) & (self.size - 1))
            if not self.port.load16(at + 14) & NEXT:
                self.replays += 1

    def take_over(self) -> int:
        self.port.store32(self.scratch, 0)  # EVENT_ENABLE: credits alone say when the driver announces
        self.carry(self.scratch, self.own_wish, 4)
        return self.flush()

    # --- fetching ---

    def bring_ring(self, until: int) -> int:
        """Stage copies of the descriptors from `brought` to this position into the snapshot."""
        start = self.brought & (self.size - 1)
        count = (until - self.brought) & MASK
        first = self.size - start
        if first > count:
            first = count
        self.bring(self.descriptors + 16 * start, self.snapshot + 16 * start, 16 * first)
        if count > first:
            self.bring(self.descriptors, self.snapshot, 16 * (count - first))
        self.brought = until
        return 0

    def check_mark(self, position: int, flags: int) -> int:
        """An announced descriptor is marked available for this turn of the ring (§2.8.1)."""
        if flags & MARKS != (USED if position & self.size else AVAIL):
            refuse("descriptor-unmarked", position, flags)
        return 0

    def next_chain(self, lane: int) -> int:
        """Take the chain at `fetched` out of the snapshot; 1 when its indirect table is staged, and lacks yet."""
        count = 0
        while True:
            position = (self.fetched + count) & MASK
            if position == self.brought:
                refuse("chain-cut", self.fetched, self.announced)
            word = self.port.load64(self.snapshot + 16 * (position & (self.size - 1)) + 8)
            flags = word >> 48
            self.check_mark(position, flags)
            count += 1
            if flags & INDIRECT and (count > 1 or flags & NEXT):
                refuse("indirect-next", position, flags)
            if not flags & NEXT:
                break
        head = (word >> 32) & LOW16  # §2.8.6: the last descriptor has the chain's buffer id
        self.chains.open(head, self.fetched)
        self.counts[head] = count
        self.heads[lane] = head
        self.span = count
        if self.replayed != self.replays:
            self.replayed += 1
        aside = flags & INDIRECT
        if aside:
            self._turn_aside(lane)
        else:
            self._take_segments(head, count)
        self.fetched = (self.fetched + count) & MASK
        return 1 if aside else 0

    def _take_segments(self, head: int, count: int) -> int:
        for index in range(count):
            at = self.snapshot + 16 * ((self.fetched + index) & (self.size - 1))
            word = self.port.load64(at + 8)
            self.chains.segment(head, self.port.load64(at), word & LOW32, word >> 48)
        return 0

    def _turn_aside(self, lane: int) -> int:
        at = self.snapshot + 16 * (self.fetched & (self.size - 1))
        address = self.port.load64(at)
        length = self.port.load32(at + 8)
        if not self.indirect:
            refuse("indirect-refused", self.heads[lane], length)
        if length == 0 or length % 16 or length > TABLE_ROOM:
            refuse("indirect-size", self.heads[lane], length)
        if (address + length) & WHOLE < length:
            refuse("address-wrap", address, length)
        self.table_length[lane] = length
        self.bring(address, self.tables + TABLE_ROOM * lane, length)
        return 0

    def go_through(self, lane: int) -> int:
        """The lane's indirect table is in hand: all of it is the chain, and only WRITE means anything (§2.8.7)."""
        head = self.heads[lane]
        for index in range(self.table_length[lane] // 16):
            at = self.tables + TABLE_ROOM * lane + 16 * index
            word = self.port.load64(at + 8)
            if word >> 48 & INDIRECT:
                refuse("indirect-nested", head, index)
            self.chains.segment(head, self.port.load64(at), word & LOW32, word >> 48)
        return 0

    # --- completing ---

    def use(self, head: int, written: int) -> int:
        # §2.8.8: with IN_ORDER one used descriptor may stand for many, of which all but the last are used completely.
        if not (self.in_order and self.extends and self.completed != self.published):
            self.group = self.completed
        self.extends = 1 if written == self.chains.writable[head] else 0
        flags = (0 if self.group & self.size else MARKS) | (WRITE if written else 0)
        at = self.snapshot + 16 * (self.group & (self.size - 1))
        self.port.store32(at + 8, written)
        self.port.store16(at + 12, head)
        if self.group == self.published:
            self.first_flags = flags
        else:
            self.port.store16(at + 14, flags)
        self.completed = (self.completed + self.counts[head]) & MASK
        self.chains.release(head)
        return 0

    def _publish_bodies(self) -> int:
        """Everything from the length of the batch's first used descriptor to the last one, but the first's flags."""
        start = self.published & (self.size - 1)
        last = self.group & (self.size - 1)
        place = self.descriptors + 16 * start + 8
        if self.group == self.published:
            return self.carry(self.snapshot + 16 * start + 8, place, 6)
        if last > start:
            return self.carry(self.snapshot + 16 * start + 8, place, 16 * (last - start) + 8)
        self.carry(self.snapshot + 16 * start + 8, place, 16 * (self.size - start) - 8)
        return self.carry(self.snapshot, self.descriptors, 16 * (last + 1))

    def publish(self) -> int:
        # Data and status were staged before, so they travel first, then the bodies; only once all of that has been made
        # do the first flags follow, and the driver's wish is read after them (§2.8.10).
        moved = 0
        if self.completed != self.published:
            moved = 1
            self._publish_bodies()
            self.flush()
            slot = self.published & (self.size - 1)
            self.port.store16(self.snapshot + 16 * slot + 14, self.first_flags)
            self.carry(self.snapshot + 16 * slot + 14, self.descriptors + 16 * slot + 14, 2)
            self.published = self.completed
        if self.used_credit and self.published != self.signalled:
            self.bring(self.wish, self.scratch + 8, 4)
            self.flush()
            return self._judge() + moved
        self.flush()
        return moved

    def _judge(self) -> int:
        event = self.port.load16(self.scratch + 8)
        flags = self.port.load16(self.scratch + 10)
        moved = (self.published - self.signalled) & MASK
        if flags == AT_DESCRIPTOR and self.event_idx:
            place = (event & (WRAP - 1)) + (0 if event & WRAP else self.size)
            if ((self.published - place - 1) & (2 * self.size - 1)) < moved:
                self.notice = 1
        elif flags != DISABLE:
            self.notice = 1
        self.signalled = self.published
        return 0
