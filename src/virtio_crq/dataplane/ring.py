# SPDX-License-Identifier: Apache-2.0
"""The device side of a split virtqueue that is reached only by copies (virtio 1.4 §2.7).

Nothing here polls or maps the driver's memory. Each half of a conversation is a vector of copies: entries and
descriptors come in, data, status and used elements go out, and the used index follows in a vector of its own, after
the elements were made (a copy has no inner order, so index and elements are never in one).

How descriptors come in is a strategy: see `naive` and `batched`. Positions are 16-bit ring indices throughout;
`announced` is what the driver said, `fetched` what was taken, `completed` what has a used element in own RAM,
`published` what the driver can see.
"""

from array import array
from collections.abc import Sequence

from virtio_crq.dataplane.chains import Chains
from virtio_crq.dataplane.faults import refuse
from virtio_crq.dataplane.limits import LANES, SEGMENTS
from virtio_crq.dataplane.staging import Staging
from virtio_crq.errors import DeviceFault
from virtio_crq.platform.port import Port
from virtio_crq.virtio import splitring

MASK = splitring.POSITION_MASK
NO_INTERRUPT = splitring.AVAIL_F_NO_INTERRUPT
LOW32 = 0xFFFFFFFF
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


class DeviceRing:
    """One queue; a strategy subclasses it. Addresses are the partner's I/O addresses."""

    def __init__(
        self,
        port: Port,
        staging: Staging,
        size: int,
        descriptors: int,
        available: int,
        used: int,
        event_idx: bool,
        indirect: bool,
        max_copy: int,
    ) -> None:
        if not splitring.valid_size(size):
            refuse("queue-size", size, splitring.QUEUE_SIZE_MAX)
        alignments = (splitring.DESCRIPTOR_ALIGNMENT, splitring.AVAIL_ALIGNMENT, splitring.USED_ALIGNMENT)  # §2.7
        for address, alignment in zip((descriptors, available, used), alignments, strict=True):
            if address % alignment:
                refuse("queue-address", address, alignment)
            if address + 16 * size >= 1 << 64:
                refuse("address-wrap", address, 16 * size)
        table, elements, entries, tables, length = footprint(size)
        area = staging.take(length)
        if area < 0:
            raise DeviceFault("arena-full", f"{length} bytes for a queue, {staging.free} pages are left")
        self.port = port
        self.staging = staging
        self.size = size
        self.descriptors = descriptors
        self.available = available
        self.used = used
        self.event_idx = 1 if event_idx else 0
        self.max_copy = max_copy
        self.footprint = length
        self.area = area
        self.scratch = area
        self.entries = area + entries
        self.elements = area + elements
        self.chains = Chains(port, size, indirect, area + table, area + tables)
        self.order = array("H", bytes(2 * size))
        self.replay = array("H", bytes(2 * size))
        self.aside = array("B", bytes(LANES))
        self.order_head = self.waiting = self.replayed = self.replays = 0
        self.announced = self.fetched = self.completed = self.published = self.signalled = 0
        self.used_credit = 1
        self.avail_held = 0
        self.notice = 0
        self.event_due = 0

    def resume(self, available: int, used: int, heads: Sequence[int]) -> None:
        """Go on where another server stopped: these heads first, in this order, then from `available`."""
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
        """Tell the driver of a resumed queue when to announce: what stands there is the wish of a lost server.

        It is made before anything is served, so that a driver which looked before it was is still looked at.
        """
        if self.event_idx:
            self.port.store16(self.scratch + 2, self.fetched)
            self.carry(self.scratch + 2, self.used + 4 + 8 * self.size, 2)
        else:
            self.port.store16(self.scratch + 2, 0)
            self.carry(self.scratch + 2, self.used, 2)
        return self.flush()

    def discard(self) -> None:
        """Give the ring's own RAM back."""
        if self.footprint:
            self.staging.give(self.area, self.footprint)
            self.footprint = 0

    # --- announcements and credits ---

    def hear_avail(self, position: int) -> int:
        """The driver announced: entries before `position` may be used, and it may not announce again for now."""
        if self.avail_held:
            refuse("credit-overrun", position, self.announced)
        moved = (position - self.announced) & MASK
        if moved > self.size or (position - self.published) & MASK > self.size:
            refuse("avail-overrun", position, (position - self.published) & MASK)
        self.announced = position
        self.avail_held = 1
        return 0

    def hear_credit(self) -> int:
        """The driver returned the right to announce used entries."""
        if self.used_credit:
            refuse("credit-unowed", self.published, self.signalled)
        self.used_credit = 1
        return 0

    def owes_credit(self) -> int:
        """The AVAIL credit may go back: all that was announced is fetched, and avail_event says so."""
        return 1 if self.avail_held and self.fetched == self.announced and not self.event_due else 0

    # --- copies ---

    def bring(self, remote: int, at: int, length: int) -> int:
        """Stage a copy from the driver's memory into own RAM."""
        while length > self.max_copy:
            self._stage(remote, at, self.max_copy, 0)
            remote += self.max_copy
            at += self.max_copy
            length -= self.max_copy
        return self._stage(remote, at, length, 0)

    def carry(self, at: int, remote: int, length: int) -> int:
        """Stage a copy from own RAM into the driver's memory."""
        while length > self.max_copy:
            self._stage(remote, at, self.max_copy, 1)
            remote += self.max_copy
            at += self.max_copy
            length -= self.max_copy
        return self._stage(remote, at, length, 1)

    def _stage(self, remote: int, at: int, length: int, outward: int) -> int:
        if self.port.stage(remote, self.staging.address(at), length, outward) != 0:
            self.flush()
            self.port.stage(remote, self.staging.address(at), length, outward)
        return 0

    def flush(self) -> int:
        """Have all staged copies made, in order. A refused one is the driver's doing: its window, its addresses."""
        code = self.port.flush()
        if code != 0:
            refuse("copy-refused", code & LOW32, self.port.done)
        return 0

    # --- fetching ---

    def fetch(self) -> int:
        """Bring in what was announced, as far as there are lanes; the number of requests now waiting."""
        return 0

    def _begin_replay(self) -> int:
        count = self.replays - self.replayed
        if count > LANES:
            count = LANES
        for lane in range(count):
            self.chains.begin(lane, self.replay[self.replayed])
            self.replayed += 1
        return count

    def _walk_all(self, count: int) -> int:
        """Walk the chains in lanes 0 to `count`, bringing what they turn out to need, a vector at a time."""
        while True:
            missing = 0
            for lane in range(count):
                state = self.chains.walk(lane)
                self.aside[lane] = 1 if state == 2 else 0
                if state == 1:
                    continue
                missing += 1
                if state == 2:
                    self._bring_table(lane)
                else:
                    index = self.chains.cursors[lane]
                    self.bring(self.descriptors + 16 * index, self.chains.table + 16 * index, 16)
                    self.chains.mark(index)
            if missing == 0:
                return 0
            self.flush()
            for lane in range(count):
                if self.aside[lane]:
                    self.chains.walk_table(lane)

    def _bring_table(self, lane: int) -> int:
        self.bring(
            self.chains.table_address[lane], self.chains.tables + SEGMENT_ROOM * lane, self.chains.table_length[lane]
        )
        return 0

    def _enqueue(self, count: int) -> int:
        for lane in range(count):
            self.order[(self.order_head + self.waiting) & (self.size - 1)] = self.chains.heads[lane]
            self.waiting += 1
        return 0

    def take(self) -> int:
        """The next request to serve, by head; -1 when none waits."""
        if self.waiting == 0:
            return -1
        head = self.order[self.order_head]
        self.order_head = (self.order_head + 1) & (self.size - 1)
        self.waiting -= 1
        return head

    # --- a request's bytes ---

    def _scatter(self, index: int, end: int, skip: int, length: int, at: int, outward: int) -> int:
        while length and index < end:
            have = self.chains.lengths[index]
            if skip >= have:
                skip -= have
            else:
                piece = have - skip
                if piece > length:
                    piece = length
                if outward:
                    self.carry(at, self.chains.addresses[index] + skip, piece)
                else:
                    self.bring(self.chains.addresses[index] + skip, at, piece)
                skip = 0
                at += piece
                length -= piece
            index += 1
        return 0

    def pull(self, head: int, skip: int, length: int, at: int) -> int:
        """Stage copies of readable bytes [skip, skip+length) into own RAM."""
        first = head * SEGMENTS
        return self._scatter(first, first + self.chains.readables[head], skip, length, at, 0)

    def push(self, head: int, skip: int, length: int, at: int) -> int:
        """Stage copies of own RAM to writable bytes [skip, skip+length)."""
        first = head * SEGMENTS
        last = first + self.chains.segments[head]
        return self._scatter(first + self.chains.readables[head], last, skip, length, at, 1)

    # --- completing ---

    def complete(self, head: int, written: int) -> int:
        """The request is done: its used element is made in own RAM, and shown by `publish`."""
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
        """Show the driver what was completed; `notice` says whether it wants to be told. 1 if anything moved.

        Data and status were staged before, so they travel first, then the elements; only once all of that has been
        made does the index follow, and the driver's wish is read after the index (§2.7.13.4, §2.7.10).
        """
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
