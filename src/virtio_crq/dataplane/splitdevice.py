# SPDX-License-Identifier: Apache-2.0
"""The device side of a split virtqueue (virtio 1.4 §2.7): used elements, the used index, and who wants to hear of it.

The used index follows in a vector of its own, after the elements were made: a copy has no inner order, so index and
elements are never in one. How descriptors come in is a strategy: see `naive` and `batched`. Positions are ring indices.
"""

from array import array

from virtio_crq.dataplane.faults import refuse
from virtio_crq.dataplane.limits import LANES, SEGMENTS
from virtio_crq.dataplane.ring import DeviceRing
from virtio_crq.dataplane.ringterms import RingResume, RingTerms
from virtio_crq.dataplane.splitwalk import SplitWalk
from virtio_crq.dataplane.staging import Staging
from virtio_crq.platform.port import Port
from virtio_crq.virtio import splitring

MASK = splitring.POSITION_MASK
NO_INTERRUPT = splitring.AVAIL_F_NO_INTERRUPT
LACKING, WALKED, ASIDE = 0, 1, 2  # what `SplitWalk.go_on` says
SEGMENT_ROOM = 16 * SEGMENTS  # an indirect table of the longest chain


def footprint(size: int) -> tuple[int, int, int, int, int]:
    """Own RAM for one queue: where descriptors, used elements, entries and indirect tables lie, and the end of all.

    What lies before the descriptors is a line for single fields.
    """
    descriptors = 64
    elements = descriptors + 16 * size
    entries = elements + 8 * size
    tables = entries + 2 * size
    return descriptors, elements, entries, tables, tables + LANES * SEGMENT_ROOM


class SplitRing(DeviceRing):
    """One queue; a strategy subclasses it."""

    def __init__(self, port: Port, staging: Staging, terms: RingTerms, max_copy: int) -> None:
        if not splitring.valid_size(terms.size):
            refuse("queue-size", terms.size, splitring.QUEUE_SIZE_MAX)
        alignments = (splitring.DESCRIPTOR_ALIGNMENT, splitring.AVAIL_ALIGNMENT, splitring.USED_ALIGNMENT)  # §2.7
        areas = (terms.descriptors, terms.driver_area, terms.device_area)
        for address, alignment in zip(areas, alignments, strict=True):
            if address % alignment:
                refuse("queue-address", address, alignment)
            if address + 16 * terms.size >= 1 << 64:
                refuse("address-wrap", address, 16 * terms.size)
        table, elements, entries, tables, length = footprint(terms.size)
        super().__init__(port, staging, terms, max_copy, length)
        self.descriptors = terms.descriptors
        self.available = terms.driver_area
        self.used = terms.device_area
        self.scratch = self.area
        self.entries = self.area + entries
        self.elements = self.area + elements
        self.walk = SplitWalk(port, self.chains, terms.indirect, self.area + table, self.area + tables)
        self.replay = array("H", bytes(2 * terms.size))
        self.states = array("B", bytes(LANES))

    def resume(self, stopped: RingResume) -> None:
        available, used, heads = stopped.available, stopped.used, stopped.heads
        if (available - used) & MASK != len(heads) or len(heads) > self.size or available >> 16 or used >> 16:
            refuse("resume-positions", (available - used) & MASK, len(heads))
        named: set[int] = set()  # the driver chose the list: looking through it for each head would cost its square
        for index, head in enumerate(heads):
            if not 0 <= head < self.size:
                refuse("head-range", head & 0xFFFFFFFF, self.size)
            if head in named:
                refuse("head-in-flight", head, index)
            named.add(head)
            self.replay[index] = head
        self.replays = len(heads)
        self.announced = self.fetched = available
        self.completed = self.published = self.signalled = used

    def take_over(self) -> int:
        if self.event_idx:
            self.port.store16(self.scratch + 2, self.fetched)
            self.carry(self.scratch + 2, self.used + 4 + 8 * self.size, 2)
        else:
            self.port.store16(self.scratch + 2, 0)
            self.carry(self.scratch + 2, self.used, 2)
        return self.flush()

    # --- fetching ---

    def _begin_replay(self) -> int:
        count = self.replays - self.replayed
        if count > LANES:
            count = LANES
        for lane in range(count):
            self.walk.begin(lane, self.replay[self.replayed])
            self.replayed += 1
        return count

    def _walk_all(self, count: int) -> int:
        """Walk the chains in lanes 0 to `count`, bringing what they turn out to need, a vector at a time."""
        while True:
            missing = 0
            for lane in range(count):
                self.states[lane] = self.walk.go_on(lane)
                missing += 0 if self.states[lane] == WALKED else 1
            if missing == 0:
                return 0
            # All lanes have come to where they stop before anything is marked: what is marked is not there yet.
            for lane in range(count):
                if self.states[lane] == ASIDE:
                    self._bring_table(lane)
                elif self.states[lane] == LACKING:
                    self._bring_run(self.walk.cursors[lane], self.reach(lane))
            self.flush()
            for lane in range(count):
                if self.states[lane] == ASIDE:
                    self.walk.go_through(lane)

    def _bring_run(self, first: int, most: int) -> int:
        """The descriptors from `first` on, up to `most` of them, as far as they are not in hand."""
        last = first
        while last < self.size and last - first < most and not self.walk.in_hand(last):
            self.walk.mark(last)
            last += 1
        if last == first:
            return 0
        return self.bring(self.descriptors + 16 * first, self.walk.table + 16 * first, 16 * (last - first))

    def reach(self, lane: int) -> int:
        """How many descriptors are brought at once where one is lacking."""
        return 1

    def _bring_table(self, lane: int) -> int:
        self.bring(self.walk.table_address[lane], self.walk.tables + SEGMENT_ROOM * lane, self.walk.table_length[lane])
        return 0

    def _enqueue(self, count: int) -> int:
        for lane in range(count):
            self.enqueue(self.walk.heads[lane])
        return 0

    # --- completing ---

    def use(self, head: int, written: int) -> int:
        self.port.store64(self.elements + 8 * (self.completed & (self.size - 1)), written << 32 | head)
        self.completed = (self.completed + 1) & MASK
        self.chains.release(head)
        return 0

    def _publish_elements(self) -> int:
        count = (self.completed - self.published) & MASK
        start = self.published & (self.size - 1)
        first = self.size - start
        if first > count:
            first = count
        self.carry(self.elements + 8 * start, self.used + 4 + 8 * start, 8 * first)
        if count > first:
            self.carry(self.elements, self.used + 4, 8 * (count - first))
        return 0

    def publish(self) -> int:
        # Data and status were staged before, so they travel first, then the elements; only once all of that has been
        # made does the index follow, and the driver's wish is read after the index (§2.7.13.4, §2.7.10).
        moved = 0
        if self.completed != self.published:
            moved = 1
            self._publish_elements()
            self.flush()
            self.port.store16(self.scratch, self.completed)
            self.carry(self.scratch, self.used + 2, 2)
            self.published = self.completed
        if self.event_due:
            self.event_due = 0
            self.port.store16(self.scratch + 2, self.fetched)
            self.carry(self.scratch + 2, self.used + 4 + 8 * self.size, 2)
        if self.used_credit and self.published != self.signalled:
            if self.event_idx:
                self.bring(self.available + 4 + 2 * self.size, self.scratch + 8, 2)
            else:
                self.bring(self.available, self.scratch + 8, 2)
            self.flush()
            return self._judge() + moved
        self.flush()
        return moved

    def _judge(self) -> int:
        event = self.port.load16(self.scratch + 8)
        if self.event_idx:
            if ((self.published - event - 1) & MASK) < ((self.published - self.signalled) & MASK):
                self.notice = 1
        elif not event & NO_INTERRUPT:
            self.notice = 1
        self.signalled = self.published
        return 0
