# SPDX-License-Identifier: Apache-2.0
"""`fetch=push`: the transport reads the driver's ring itself, and sends the device a record for each request.

It plays the device towards its own driver (`splitdrain`) and alone writes the used ring. A small request is whole in
its record: up to 16 leading bytes and the place of one segment; the last byte that the device writes comes back in the
completion. Both need to know where the driver's addresses are in own RAM. Without that, and for longer chains, the
record names a list of descriptors, which is kept until the device must have read it.

Nothing of the driver's is reachable for the device but the buffers. What the device says it completed is held against
the records of this object before the driver sees any of it.

A record is made at its position in own RAM. How it travels from there is the business of a carrier, which subclasses
this (see `windowfront`): each completion that came is given to `accept`, and `delivered` counts them.
"""

from array import array

from virtio_crq.dataplane.front import Front
from virtio_crq.dataplane.mapping import SlotMapping
from virtio_crq.dataplane.splitdrain import SplitDrain
from virtio_crq.dataplane.splitdriverring import SplitDriverRing
from virtio_crq.errors import DeviceFault
from virtio_crq.virtio import records, splitring

MASK = splitring.POSITION_MASK
DESCRIPTOR = splitring.DESCRIPTOR_SIZE
DESC_NEXT = splitring.DESC_F_NEXT
DESC_WRITE = splitring.DESC_F_WRITE
REQUEST = records.REQUEST
COMPLETION = records.COMPLETION
MARKER = records.MARKER
INLINED = records.INLINED
INLINED_MOST = records.INLINED_MOST
TAIL = records.TAIL
WRITE = records.WRITE
LIST = records.LIST
ADDRESS_BITS = records.ADDRESS_BITS
LENGTH_BITS = records.LENGTH_BITS
LOW32 = 0xFFFFFFFF

FULL = -1

COMPLETION_FORM = 0
COMPLETION_TAIL = 1
USED_UNKNOWN = 2
USED_LENGTH = 3
USED_AHEAD = 4
RULES = (
    ("completion-form", "a completion begins with {0:#x} and says {1:#x}"),
    ("completion-tail", "the completion of head {0} brings a last byte ({1:#x}) that was not asked for"),
    ("used-unknown", "a completion names head {0}, which is not in flight (queue size {1})"),
    ("used-length", "a completion says {0} bytes were written, but the request has room for {1}"),
    ("used-ahead", "announced position moved by {0}, but {1} requests are in flight"),
    ("carrier-full", "no room for the record at {0} of {1}, though the device's ring has room for all in flight"),
    ("record-announced", "an announcement ({0}) of a paired queue, whose records announce themselves (made {1})"),
    ("carrier-gone", "no ring for the record at {0} of {1}, though the device says that it works"),
)


def list_entries(size: int) -> int:
    """Descriptors that lists of a queue have room for: what is announced, and as much again that comes after."""
    return 2 * size


def footprint(size: int) -> tuple[int, int, int]:
    """Offsets of the completions and of the lists behind the requests, and the bytes of all three."""
    completions = REQUEST * size
    lists = completions + COMPLETION * size
    return completions, lists, lists + DESCRIPTOR * list_entries(size)


class PushFront(Front):
    """One queue's; a carrier subclasses it. `offset` and `bus` are where its `footprint` lies in own RAM and in the
    window; `mark` is the low byte of the session's number.
    """

    def __init__(self, ring: SplitDriverRing, offset: int, bus: int, mark: int) -> None:
        completions, lists, length = footprint(ring.size)
        self.port = ring.port
        self.size = ring.size
        self.requests = offset
        self.requests_bus = bus
        self.completions = offset + completions
        self.lists = offset + lists
        self.lists_bus = bus + lists
        self.drain = SplitDrain(ring)
        self.name = records.name_of(ring.device, ring.queue, mark)
        empty = bytes(8 * ring.size)
        self.flying = array("Q", empty)
        self.issues = array("Q", empty)
        self.rooms = array("Q", empty)
        self.tails = array("Q", empty)
        self.inlines = array("Q", bytes(16 * ring.size))
        self.kept = array("Q", empty)
        self.places = array("Q", empty)
        self.first = self.last = self.listed = 0
        self.port.write(offset, bytes(length))
        super().__init__(ring)

    def _begin(self) -> None:
        super()._begin()
        for head in range(self.size):
            self.flying[head] = 0
        self.in_flight = 0
        self.stalled = 0
        self.made = 0  # records since the session began, all of which have a number: `issues`
        self.delivered = 0
        self.drain.reset()
        self._forget_lists()

    def _forget_lists(self) -> None:
        self.list_next = self.list_used = self.list_marked = 0

    def translate(self, mapping: SlotMapping) -> None:
        self.drain.translate(mapping)

    # --- requests ---

    def forward(self) -> int:
        """Make a record of each request that the driver made available, as far as there is room for lists."""
        while True:
            while self.drain.waits():
                if self._push(self.drain.peek()) < 0:
                    self.stalled = 1  # until the device has read the lists before it: `regained`
                    return FULL
                self.drain.advance()
            if not self.drain.rearm():
                self.stalled = 0
                return 0

    def _push(self, head: int) -> int:
        if self._make(head) < 0:
            return FULL
        self.flying[head] = 1
        self.issues[head] = self.made
        self.made += 1
        self.in_flight += 1
        self.position = (self.position + 1) & MASK
        self.pending = 1
        return 0

    def _make(self, head: int) -> int:
        """Make the record of the request at this head; FULL when its list has no room."""
        self.drain.gather(head)
        flags = self._look_inside(head)
        first = self.first
        count = self.last - first
        place = 0
        if self.drain.table and (self.drain.count == 0 or count > 1):
            # The driver's own table is the list.
            self.tails[head] = 0
            flags = LIST
            place = self.drain.table_address | self.drain.table << ADDRESS_BITS
        elif count == 1 and self._fits(first):
            place = self.drain.addresses[first] | self.drain.lengths[first] << ADDRESS_BITS
            if self.drain.writable[first]:
                flags = flags | WRITE
        elif count:
            flags = flags | LIST
            if self._list(first, count) < 0:
                return FULL
            place = self.listed | DESCRIPTOR * count << ADDRESS_BITS
        self.rooms[head] = self.drain.room
        self.kept[head] = flags
        self.places[head] = place
        return self._put(head)

    def _put(self, head: int) -> int:
        flags = self.kept[head]
        inlined = flags & INLINED
        at = self.requests + REQUEST * (self.position & (self.size - 1))
        self.port.store64(at, MARKER | flags << 8 | head << 16 | self.name << 32)
        self.port.store64(at + 8, self.places[head])
        self.port.store64(at + 16, self.inlines[2 * head] if inlined else 0)
        return self.port.store64(at + 24, self.inlines[2 * head + 1] if inlined > 8 else 0)

    def _look_inside(self, head: int) -> int:
        """What of the gathered chain goes inside records, as flags; `first` to `last` of its segments are the rest.

        What is inlined is kept: a returning device is given the same bytes, whatever became of the driver's.
        """
        self.first = 0
        self.last = self.drain.count
        self.tails[head] = 0
        flags = 0
        if self.last and self.drain.writable[0] == 0 and 0 < self.drain.lengths[0] <= INLINED_MOST:
            found = self.drain.find(self.drain.addresses[0], self.drain.lengths[0])
            if found >= 0:
                flags = self.drain.lengths[0]
                self.inlines[2 * head] = self._word(found, flags)
                self.inlines[2 * head + 1] = self._word(found + 8, flags - 8) if flags > 8 else 0
                self.first = 1
        if self.first < self.last and self.drain.writable[self.last - 1] and self.drain.lengths[self.last - 1] == 1:
            found = self.drain.find(self.drain.addresses[self.last - 1], 1)
            if found >= 0:
                flags = flags | TAIL
                self.tails[head] = found + 1
                self.last -= 1
        return flags

    def _fits(self, index: int) -> int:
        """Whether a record has room for this segment's address and length."""
        wide = self.drain.addresses[index] >> ADDRESS_BITS or self.drain.lengths[index] >> LENGTH_BITS
        return 0 if wide or self.drain.lengths[index] == 0 else 1

    def _make_again(self, head: int) -> int:
        """The same record, under another session's name; its list, which may be overwritten, is made anew."""
        if self.kept[head] & LIST:
            self.drain.gather(head)
            if self.drain.table == 0:
                first = 1 if self.kept[head] & INLINED else 0
                count = self.drain.count - first - (1 if self.kept[head] & TAIL else 0)
                # There is room: the lists of all that is in flight have no more entries than the queue.
                self._list(first, count)
                self.places[head] = self.listed | DESCRIPTOR * count << ADDRESS_BITS
        return self._put(head)

    def _word(self, at: int, length: int) -> int:
        """Up to 8 bytes of own RAM."""
        if length >= 8:
            return self.port.load64(at)
        value = 0
        for index in range(length):
            value = value | self.port.load8(at + index) << (8 * index)
        return value

    def _list(self, first: int, count: int) -> int:
        """Write that many segments as a list, which the device finds at `listed`; FULL when there is no room.

        Room is a ring: what an announcement told of is free again when its credit came back (CRQ-D-27).
        """
        whole = 2 * self.size
        if self.list_used == 0:
            self.list_next = 0
        start = self.list_next
        skipped = 0
        if start + count > whole:  # no list goes over the end: what is left there stays empty
            skipped = whole - start
            start = 0
        if self.list_used + skipped + count > whole:
            return FULL
        for index in range(count):
            at = self.lists + DESCRIPTOR * (start + index)
            flags = DESC_WRITE if self.drain.writable[first + index] else 0
            if index + 1 < count:
                flags = flags | DESC_NEXT
            self.port.store64(at, self.drain.addresses[first + index])
            self.port.store64(at + 8, self.drain.lengths[first + index] | flags << 32 | (index + 1) << 48)
        self.list_next = start + count
        self.list_used += skipped + count
        self.listed = self.lists_bus + DESCRIPTOR * start
        return 0

    def sent(self) -> int:
        self.known = self.made
        self.list_marked = self.list_used
        return 0

    def regained(self) -> int:
        self.list_used -= self.list_marked
        self.list_marked = 0
        return 0

    # --- completions ---

    def confirm(self, position: int) -> int:
        moved = (position - self.told) & MASK
        most = self.in_flight - ((self.position - self.announced) & MASK) - ((self.told - self.delivered) & MASK)
        if moved > most:
            return self._deny(USED_AHEAD, moved, most)
        return 0

    def accept(self, word: int, value: int) -> int:
        """Take a completion, whose two words were read once: the driver finds it after `show`."""
        head = (word >> 16) & 0xFFFF
        flags = (word >> 8) & 0xFF
        written = value & LOW32
        if word & 0xFF != MARKER or word >> 32 != self.name or flags & ~TAIL or (value >> 32) & ~0xFF:
            return self._deny(COMPLETION_FORM, word, value)
        # A head that was not announced yet the device has no business with.
        if head >= self.size or self.flying[head] == 0 or self.issues[head] >= self.known:
            return self._deny(USED_UNKNOWN, head, self.size)
        if written > self.rooms[head]:
            return self._deny(USED_LENGTH, written, self.rooms[head])
        if flags & TAIL:
            if self.tails[head] == 0:
                return self._deny(COMPLETION_TAIL, head, value >> 32)
            self.port.store8(self.tails[head] - 1, value >> 32)
        elif value >> 32:
            return self._deny(COMPLETION_FORM, word, value)
        self.drain.use(head, written)
        self.flying[head] = 0
        self.in_flight -= 1
        return 0

    # --- loss and return ---

    def inherit(self, other: "PushFront") -> int:
        """Take over the requests of a queue that had another carrier; what they stand in is made by `standing`."""
        self.drain = other.drain
        self.flying = other.flying
        self.issues = other.issues
        self.rooms = other.rooms
        self.tails = other.tails
        self.inlines = other.inlines
        self.kept = other.kept
        self.places = other.places
        self.in_flight = other.in_flight
        self.made = other.made
        self.known = other.known
        self.stalled = other.stalled
        return 0

    def suspend(self) -> None:
        self.pending = 0
        self.credit = 0
        self.owed = 0

    def standing(self, mark: int) -> tuple[int, int, list[int]]:
        """The records in flight stand again from position 0, those that were announced first."""
        self.suspend()
        heads = sorted((head for head in range(self.size) if self.flying[head]), key=self._issue)
        announced = [head for head in heads if self._issue(head) < self.known]
        self.name = records.name_of(self.ring.device, self.ring.queue, mark)
        self._forget_lists()
        self.position = self.told = self.delivered = 0
        for number, head in enumerate(heads):
            self._make_again(head)
            self.issues[head] = number
            self.position += 1
        self.made = len(heads)
        self.announced = self.known = len(announced)
        return len(announced), 0, announced

    def _issue(self, head: int) -> int:
        return int(self.issues[head])

    def _deny(self, rule: int, first: int, second: int) -> int:
        name, text = RULES[rule]
        self.refusals[name] = self.refusals.get(name, 0) + 1
        raise DeviceFault(name, f"queue {self.ring.queue} of device {self.ring.device}: {text.format(first, second)}")
