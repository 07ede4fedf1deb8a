# SPDX-License-Identifier: Apache-2.0
"""The carrier that some platforms have: records come and go by a pair of side queues, and announce themselves.

There is nothing to pull and no credit: a record that was sent is in own memory, and a completion is sent like one. The
front-end never has more in flight than the ring has slots, so there is always room (CRQ-F-81).
"""

from virtio_crq.dataplane.faults import refuse
from virtio_crq.dataplane.limits import LANES
from virtio_crq.dataplane.pushring import PushRing
from virtio_crq.dataplane.ringterms import RingResume, RingTerms
from virtio_crq.dataplane.staging import Staging
from virtio_crq.platform.port import Port
from virtio_crq.virtio import records, splitring

MASK = splitring.POSITION_MASK
RECORD = records.REQUEST
NAME_SHIFT = records.NAME_SHIFT
WITHOUT_SESSION = (1 << records.SESSION_SHIFT) - 1
LOW32 = 0xFFFFFFFF
GONE = -4  # the partner has given its side queue back
ENOUGH = 8  # completions, at a mini-batch's end: no credit is waited for, and who is told early is not asleep yet
FULL = -12  # there is no room in it, or no memory behind it. Any other code is the platform's, which is asked again.


class SideRing(PushRing):
    """`terms.side` is the pair, which goes when the ring does."""

    def __init__(self, port: Port, staging: Staging, terms: RingTerms, max_copy: int) -> None:
        super().__init__(port, staging, terms, max_copy, RECORD)
        assert terms.side is not None, "a paired queue has its side queue before it is opened"
        self.side = terms.side
        self.enough = ENOUGH
        port.write(self.completions, bytes(RECORD * terms.size))

    def resume(self, stopped: RingResume) -> None:
        """The requests in flight are sent once more, in the order of the list."""
        super().resume(stopped)
        self.announced = 0

    def hear_avail(self, position: int) -> int:
        return refuse("record-announced", position, self.announced)

    def hear_credit(self) -> int:
        return refuse("record-announced", self.published, self.announced)

    def arrived(self) -> int:
        return self.side.waits()

    def behind(self) -> int:
        # What another server had in flight is sent once more, or never.
        return 1 if self.fetched != self.announced else 0

    def fetch(self) -> int:
        slots = count = 0
        while slots < LANES and self.side.waits():
            at = self.side.slot()
            other = (self.port.load64(at) >> NAME_SHIFT) ^ self.name
            if other and other & WITHOUT_SESSION == 0:
                self.stale += 1
                if self.stale > self.side.slots:  # more than any session can have left behind
                    refuse("record-name", self.port.load64(at) >> NAME_SHIFT, self.name)
            else:
                to = self.records + RECORD * count
                self.port.store64(to, self.port.load64(at))
                self.port.store64(to + 8, self.port.load64(at + 8))
                self.port.store64(to + 16, self.port.load64(at + 16))
                self.port.store64(to + 24, self.port.load64(at + 24))
                count += 1
            self.side.free()
            slots += 1
        self.announced = (self.announced + count) & MASK
        if (self.announced - self.published) & MASK > self.size:
            refuse("avail-overrun", self.announced, (self.announced - self.published) & MASK)
        return PushRing.fetch(self)

    def publish(self) -> int:
        # What was staged before is data: it is there before the record that reports it is sent (CRQ-D-163).
        self.flush()
        if not self._due():
            return 0
        return 1 if self.show() else 0

    def send(self, start: int, count: int) -> int:
        at = self.completions + RECORD * start
        code = self.side.send(at, self.staging.address(at), count)
        if code in (GONE, FULL):
            refuse("record-refused", code & LOW32, self.side.sent)
        self.held = 1 if code else 0
        return self.side.sent
