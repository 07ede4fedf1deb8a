# SPDX-License-Identifier: Apache-2.0
"""`fetch=naive` and `batched`: the device is told how far the ring has come, and fetches from the ring itself."""

from virtio_crq.dataplane.front import Front


class DirectFront(Front):
    """Positions are the ring's own."""

    def publish(self) -> int:
        old = self.ring.published
        # `unasked`: what stands in the ring as the device's wish is the wish of a device that is gone.
        if self.ring.publish() or (self.unasked and self.ring.published != old):
            self.pending = 1
        self.position = self.ring.published
        return 1 if self.pending and self.credit else 0

    def rearm(self) -> int:
        return self.ring.rearm()

    def confirm(self, position: int) -> int:
        return self.ring.confirm(self.told, position)

    def deliver(self) -> int:
        return 0

    def sent(self) -> int:
        self.known = self.ring.shown
        return 0

    def suspend(self) -> None:
        self.publish()
        self.pending = 0
        self.credit = 0
        self.owed = 0
        self.ring.halt()
        self.told = self.ring.last_used

    def standing(self, mark: int) -> tuple[int, int, list[int]]:
        self.suspend()
        return int(self.announced), int(self.ring.last_used), self.ring.listed(self.known)
