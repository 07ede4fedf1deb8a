# SPDX-License-Identifier: Apache-2.0
"""The carrier that every platform has: records stand in the client's window, and announcements say how many."""

from virtio_crq.dataplane.pushfront import PushFront
from virtio_crq.virtio import records, splitring

MASK = splitring.POSITION_MASK
COMPLETION = records.COMPLETION


class WindowFront(PushFront):
    """One queue's."""

    def publish(self) -> int:
        if self.ring.publish() or self.stalled:
            self.forward()
        return 1 if self.pending and self.credit else 0

    def rearm(self) -> int:
        return self.ring.rearm()

    def deliver(self) -> int:
        moved = 0
        while self.delivered != self.told:
            at = self.completions + COMPLETION * (self.delivered & (self.size - 1))
            self.accept(self.port.load64(at), self.port.load64(at + 8))
            self.delivered = (self.delivered + 1) & MASK
            moved += 1
        if moved:
            self.drain.show()
        return moved
