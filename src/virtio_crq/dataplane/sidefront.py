# SPDX-License-Identifier: Apache-2.0
"""The carrier that some platforms have, at the driver's end: records go and come by a pair of side queues.

Records are sent from where they are made; the platform copies them, so that a slot is made again at once. A completion
is there when it can be read: nothing is announced, and no credit is kept. What credits tell elsewhere, that lists were
read, completions tell here: a list is kept until all requests are done that were in flight with it.
"""

from virtio_crq.dataplane.pushfront import RULES, PushFront
from virtio_crq.dataplane.sidequeue import SideQueue
from virtio_crq.dataplane.splitdriverring import SplitDriverRing
from virtio_crq.virtio import records, splitring

MASK = splitring.POSITION_MASK
RECORD = records.REQUEST
NAME_SHIFT = records.NAME_SHIFT
WITHOUT_SESSION = (1 << records.SESSION_SHIFT) - 1
NO_ROOM = -12  # the partner's ring is full, which cannot be
ENDED = 0  # and what is below: there is no such ring, or none any more

COMPLETION_FORM = 0  # all in `pushfront.RULES`
FULL_CARRIER = 5
ANNOUNCED = 6
GONE_CARRIER = 7


class SideFront(PushFront):
    """`side` is open and paired with the device's; `stale` counts completions of sessions that are over.

    `denied` is why the platform takes no record: a rule, if the device says that it works, and 0 when all is well.
    """

    def __init__(self, ring: SplitDriverRing, offset: int, bus: int, mark: int, side: SideQueue) -> None:
        self.side = side
        self.stale = self.strays = 0
        self.trusted = 1
        super().__init__(ring, offset, bus, mark)

    def _begin(self) -> None:
        super()._begin()
        self.posted = 0
        self.denied = 0

    def _forget_lists(self) -> None:
        super()._forget_lists()
        self.list_left = self.list_before = 0

    def publish(self) -> int:
        if self.ring.publish() or self.stalled:
            self.forward()
        self.pending = 0  # nothing of this is announced
        self.held = 0
        if self.credit and self.posted != self.position:
            self._post()
        return 0

    def rearm(self) -> int:
        return 1 if self.ring.rearm() or self.side.waits() else 0

    def _post(self) -> int:
        """Send all records that were not sent. What is not taken now waits: for a platform that was busy, or for the
        news that the partner has gone or stopped (CRQ-F-86).
        """
        self.denied = 0
        while self.posted != self.position:
            start = self.posted & (self.size - 1)
            count = (self.position - self.posted) & MASK
            if count > self.size - start:
                count = self.size - start
            code = self.side.send(self.requests + RECORD * start, self.requests_bus + RECORD * start, count)
            self.posted = (self.posted + self.side.sent) & MASK
            self.known += self.side.sent
            if code != 0:
                self.held = 1
                if code < ENDED:
                    self.denied = FULL_CARRIER if code == NO_ROOM else GONE_CARRIER
                return 0
        self.announced = self.posted
        return self._mark_lists()

    def _mark_lists(self) -> int:
        """The lists that there are now are free again when nothing of what is in flight now is in flight any more."""
        if self.in_flight == 0:
            self.list_used = self.list_marked = self.list_left = 0
        if self.list_left == 0 and self.list_used:
            self.list_marked = self.list_used
            self.list_before = self.made
            self.list_left = self.in_flight
        return 0

    def confirm(self, position: int) -> int:
        return self._deny(ANNOUNCED, position, self.position)

    def arrived(self) -> int:
        return self.side.waits()

    def listen(self, enabled: int) -> int:
        # Nothing completes where nothing is in flight: a call to hear of it would be for nothing.
        return self.side.listen(enabled) if self.in_flight or not enabled else 0

    def deliver(self) -> int:
        moved = 0
        while self.side.waits():
            at = self.side.slot()
            word = self.port.load64(at)
            value = self.port.load64(at + 8)
            # The slot goes first: once the driver saw the completion, another may take its place.
            self.side.free()
            other = (word >> NAME_SHIFT) ^ self.name
            if other and other & WITHOUT_SESSION == 0:
                self.stale += 1
                self.strays += 1
                if self.strays > self.side.slots:  # more than any session can have left behind
                    return self._deny(COMPLETION_FORM, word, value)
                continue
            head = (word >> 16) & 0xFFFF
            issue = self.issues[head] if head < self.size else 0
            self.accept(word, value)
            if self.list_left and issue < self.list_before:
                self.list_left -= 1
                if self.list_left == 0:
                    self.list_used -= self.list_marked
                    self.list_marked = 0
                    self._mark_lists()
            moved += 1
        if moved:
            self.drain.show()
        return moved

    def standing(self, mark: int) -> tuple[int, int, list[int]]:
        found = super().standing(mark)
        self.posted = self.announced = 0
        self.known = 0
        self.denied = self.strays = 0
        return found

    def resume(self) -> None:
        self.credit = 1

    def distrust(self) -> str:
        """The device works, as it says, and takes no record: its ring carries nothing any more. The rule's name."""
        self.trusted = 0
        name, _ = RULES[self.denied]
        self.refusals[name] = self.refusals.get(name, 0) + 1
        return name
