# SPDX-License-Identifier: Apache-2.0
"""The device side of a pushed queue: requests come as records, and completions go as records.

The driver's ring is not reachable and does not matter: the front-end reads it. A record holds a small request whole;
what is longer names a list of descriptors, which is pulled. Each field is copied first, then checked, then used.

How records travel is the carrier's business, and a carrier subclasses this with two methods:

    receive(count)       the records at positions fetched to fetched + count stand at `records`, one after the other
    send(start, count)   completions in slots start to start + count of `completions` (none wraps) go to the driver; how
                         many of them the carrier took

`send` only stages; the flush comes after it. Positions count records: a carrier moves `announced` (`hear_avail`, or by
what it received itself), and whoever announces completions finds `notice` set. See `windowring`.
"""

from array import array

from virtio_crq.dataplane.faults import refuse
from virtio_crq.dataplane.limits import LANES, SEGMENTS
from virtio_crq.dataplane.ring import DeviceRing
from virtio_crq.dataplane.ringterms import RingResume, RingTerms
from virtio_crq.dataplane.splitwalk import SplitWalk
from virtio_crq.dataplane.staging import Staging
from virtio_crq.dataplane.ways import HEADER_INLINE, STATUS_INLINE
from virtio_crq.platform.port import Port
from virtio_crq.virtio import records, splitring

MASK = splitring.POSITION_MASK
DESCRIPTOR = splitring.DESCRIPTOR_SIZE
SEGMENT_WRITE = splitring.DESC_F_WRITE
REQUEST = records.REQUEST
MARKER = records.MARKER
INLINED = records.INLINED
INLINED_MOST = records.INLINED_MOST
TAIL = records.TAIL
WRITE = records.WRITE
LIST = records.LIST
ADDRESS_BITS = records.ADDRESS_BITS
ADDRESS = (1 << records.ADDRESS_BITS) - 1
LIST_ROOM = DESCRIPTOR * SEGMENTS
ASKED = 0x100  # of `tails`: the driver wants the byte in the completion
WRITTEN = 0x200  # and a service gave it


def footprint(size: int, completion: int) -> tuple[int, int, int]:
    """Own RAM for one queue: where completions and lists lie behind the records, and the end of all."""
    completions = REQUEST * LANES
    lists = completions + completion * size
    return completions, lists, lists + LANES * LIST_ROOM


class PushRing(DeviceRing):
    """One queue; a carrier subclasses it. `completion` is how many bytes a completion takes in its carrier."""

    def __init__(self, port: Port, staging: Staging, terms: RingTerms, max_copy: int, completion: int) -> None:
        if not splitring.valid_size(terms.size):
            refuse("queue-size", terms.size, splitring.QUEUE_SIZE_MAX)
        completions, lists, length = footprint(terms.size, completion)
        super().__init__(port, staging, terms, max_copy, length)
        self.enough = terms.size  # never, but where the carrier says otherwise
        self.records = self.area
        self.completion = completion
        self.completions = self.area + completions
        self.lists = self.area + lists
        self.name = records.name_of(terms.device, terms.queue, terms.mark)
        self.walk = SplitWalk(port, self.chains, True, 0, self.lists)
        self.flags = array("B", bytes(LANES))
        self.heads = array("H", bytes(2 * LANES))
        self.places = array("Q", bytes(8 * LANES))
        self.inlined = array("B", bytes(terms.size))
        self.inlines = array("Q", bytes(16 * terms.size))
        self.tails = array("H", bytes(2 * terms.size))
        self.replay = array("H", bytes(2 * terms.size))

    def resume(self, stopped: RingResume) -> None:
        """The requests in flight stand again at the first positions, in the order of the list."""
        heads = stopped.heads
        if stopped.used or stopped.available != len(heads) or len(heads) > self.size:
            refuse("resume-positions", stopped.available, len(heads))
        for index, head in enumerate(heads):
            if not 0 <= head < self.size:
                refuse("head-range", head & 0xFFFFFFFF, self.size)
            self.replay[index] = head
        self.replays = len(heads)
        self.announced = len(heads)

    # --- a carrier's ---

    def receive(self, count: int) -> int:
        return 0

    def send(self, start: int, count: int) -> int:
        return count

    # --- fetching ---

    def fetch(self) -> int:
        count = (self.announced - self.fetched) & MASK
        if count > LANES:
            count = LANES
        if count == 0:
            return 0
        self.receive(count)
        listed = 0
        for lane in range(count):
            listed += self._read(lane)
        if listed:
            self._bring_lists(count)
        for lane in range(count):
            self._finish(lane)
        self.fetched = (self.fetched + count) & MASK
        return count

    def _read(self, lane: int) -> int:
        """Check the record in this lane and begin its request; 1 when it names a list."""
        at = self.records + REQUEST * lane
        word = self.port.load64(at)
        place = self.port.load64(at + 8)
        flags = (word >> 8) & 0xFF
        head = (word >> 16) & 0xFFFF
        inlined = flags & INLINED
        length = place >> ADDRESS_BITS
        if word & 0xFF != MARKER:
            refuse("record-marker", word & 0xFF, lane)
        if word >> 32 != self.name:
            refuse("record-name", word >> 32, self.name)
        if inlined > INLINED_MOST or (flags & WRITE and (flags & LIST or length == 0)):
            refuse("record-flags", flags, length)
        if length == 0 and (place or flags & (INLINED | TAIL) == 0):
            refuse("record-empty", place & ADDRESS, flags)
        if self.replayed < self.replays:
            if head != self.replay[self.replayed]:
                refuse("record-replayed", head, self.replay[self.replayed])
            self.replayed += 1
        self.chains.open(head, lane)
        self.flags[lane] = flags
        self.heads[lane] = head
        self.places[lane] = place
        self.tails[head] = ASKED if flags & TAIL else 0
        self.inlined[head] = inlined
        if inlined:
            self.inlines[2 * head] = self.port.load64(at + 16)
            self.inlines[2 * head + 1] = self.port.load64(at + 24)
            self.chains.segment(head, 0, inlined, 0)
        if flags & LIST:
            if length == 0 or length % DESCRIPTOR or length > LIST_ROOM:
                refuse("indirect-size", head, length)
            return 1
        if length:
            self.chains.segment(head, place & ADDRESS, length, SEGMENT_WRITE if flags & WRITE else 0)
        return 0

    def _bring_lists(self, count: int) -> int:
        """Pull all lists of this round; those that lie side by side in one copy."""
        at = self.lists
        start = 0
        run = 0
        for lane in range(count):
            if self.flags[lane] & LIST:
                address = self.places[lane] & ADDRESS
                if run and address != start + run:
                    self.bring(start, at, run)
                    at += run
                    run = 0
                if run == 0:
                    start = address
                run += self.places[lane] >> ADDRESS_BITS
        self.bring(start, at, run)
        self.flush()
        at = self.lists
        for lane in range(count):
            if self.flags[lane] & LIST:
                length = self.places[lane] >> ADDRESS_BITS
                self.walk.through(self.heads[lane], at, length // DESCRIPTOR)
                at += length
        return 0

    def _finish(self, lane: int) -> int:
        head = self.heads[lane]
        if self.flags[lane] & TAIL:
            self.chains.segment(head, 0, 1, SEGMENT_WRITE)
        return self.enqueue(head)

    # --- a request's bytes ---

    def pull(self, head: int, skip: int, length: int, at: int) -> int:
        have = self.inlined[head]
        if skip < have:
            if skip == 0 and length >= INLINED_MOST and have == INLINED_MOST:
                self.port.store64(at, self.inlines[2 * head])
                self.port.store64(at + 8, self.inlines[2 * head + 1])
                skip = INLINED_MOST
                at += INLINED_MOST
                length -= INLINED_MOST
            while length and skip < have:
                self.port.store8(at, (self.inlines[2 * head + (skip >> 3)] >> (8 * (skip & 7))) & 0xFF)
                skip += 1
                at += 1
                length -= 1
        if length == 0:
            return 0
        first = head * SEGMENTS
        return self._scatter(head, first, first + self.chains.readables[head], skip, length, at, 0)

    def push(self, head: int, skip: int, length: int, at: int) -> int:
        if self.tails[head] and length and skip + length == self.chains.writable[head]:
            length -= 1
            self.tails[head] = ASKED | WRITTEN | self.port.load8(at + length)
        if length == 0:
            return 0
        first = head * SEGMENTS
        last = first + self.chains.segments[head]
        return self._scatter(head, first + self.chains.readables[head], last, skip, length, at, 1)

    def carried(self, head: int) -> int:
        found = HEADER_INLINE if self.inlined[head] else 0
        return found | STATUS_INLINE if self.tails[head] & WRITTEN else found

    # --- completing ---

    def take(self) -> int:
        # What is due is told of before more is served: the driver works on it meanwhile, and its credit goes along.
        return -1 if self._due() else self.next()

    def _due(self) -> int:
        """Whether completions are to be shown now.

        Nobody looks at those that are not announced, so they wait for the right to announce, and go together. While
        there is more in hand they wait until they are `enough`, or half of what is in flight: the driver works on one
        half of it while the other is served.
        """
        count = (self.completed - self.published) & MASK
        if not self.used_credit or count == 0:
            return 0
        if not self.waiting or count >= self.enough:
            return 1
        return 0 if 2 * count < ((self.fetched - self.published) & MASK) else 1

    def use(self, head: int, written: int) -> int:
        at = self.completions + self.completion * (self.completed & (self.size - 1))
        tail = self.tails[head]
        flags = TAIL if tail & WRITTEN else 0
        self.port.store64(at, MARKER | flags << 8 | head << 16 | self.name << 32)
        self.port.store64(at + 8, written | (tail & 0xFF) << 32 if flags else written)
        self.completed = (self.completed + 1) & MASK
        self.chains.release(head)
        return 0

    def publish(self) -> int:
        if not self._due():
            self.flush()
            return 0
        # Data was staged before, so it travels first.
        self.show()
        self.flush()
        self.notice = 1
        return 1

    def show(self) -> int:
        """Send the completions that were not: in two stretches, where their slots wrap. How many went."""
        count = (self.completed - self.published) & MASK
        start = self.published & (self.size - 1)
        first = self.size - start
        if first > count:
            first = count
        went = self.send(start, first)
        if went == first and count > first:
            went += self.send(0, count - first)
        self.published = self.signalled = (self.published + went) & MASK
        return went
