# SPDX-License-Identifier: Apache-2.0
"""A front for a device that sees the memory itself: it reads the ring when it likes, and the driver sees what it used.

To announce is to wake, whenever the device's wish in the ring says so: the right to is always here, and nothing comes
back for it. A driver that polls does not ask to be told of completions. Neither does such a device announce anything,
nor return after it was lost: what a front `confirm`s then, and what is `standing`, is never asked.
"""

from virtio_crq.dataplane.front import Front
from virtio_crq.dataplane.splitdriverring import SplitDriverRing
from virtio_crq.virtio import splitring


class SharedFront(Front):
    """`asks`: the driver sleeps, and wishes to be told of completions."""

    def __init__(self, ring: SplitDriverRing, asks: bool) -> None:
        super().__init__(ring)
        self.asks = 1 if asks else 0
        if not asks and not ring.event_idx:
            ring.port.store16(ring.available, splitring.AVAIL_F_NO_INTERRUPT)

    def publish(self) -> int:
        if self.ring.publish():
            self.pending = 1
        self.position = self.ring.published
        self.credit = 1
        return self.pending

    def rearm(self) -> int:
        # With EVENT_IDX and nothing stored, a device tells once in 65,536 completions: it costs nothing to bear.
        return self.ring.rearm() if self.asks else 0
