# SPDX-License-Identifier: Apache-2.0
"""The carrier that every platform has: records stand in the client's window, and announcements say how many."""

from virtio_crq.dataplane.pushfront import PushFront, list_entries
from virtio_crq.dataplane.splitdriverring import SplitDriverRing
from virtio_crq.virtio import records, splitring

MASK = splitring.POSITION_MASK
REQUEST = records.REQUEST
COMPLETION = records.COMPLETION


def footprint(size: int) -> tuple[int, int, int]:
    """Offsets of the completions and of the lists behind the requests, and the bytes of all three."""
    completions = REQUEST * size
    lists = completions + COMPLETION * size
    return completions, lists, lists + splitring.DESCRIPTOR_SIZE * list_entries(size)


class WindowFront(PushFront):
    """`offset` and `bus` are where its `footprint` lies in own RAM and in the window."""

    def __init__(self, ring: SplitDriverRing, offset: int, bus: int, mark: int) -> None:
        completions, lists, length = footprint(ring.size)
        super().__init__(ring, offset + lists, bus + lists, mark)
        self.requests = offset
        self.completions = offset + completions
        self.port.write(offset, bytes(length))

    def put(self, first: int, second: int, third: int, fourth: int) -> int:
        at = self.requests + REQUEST * (self.position & (self.size - 1))
        self.port.store64(at, first)
        self.port.store64(at + 8, second)
        self.port.store64(at + 16, third)
        return self.port.store64(at + 24, fourth)

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
