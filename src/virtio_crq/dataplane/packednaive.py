# SPDX-License-Identifier: Apache-2.0
"""`fetch=naive` of a packed ring: flags, then the descriptor, one after the other, as for shared memory."""

from virtio_crq.dataplane.packeddevice import PackedRing
from virtio_crq.dataplane.ringterms import RingTerms
from virtio_crq.dataplane.staging import Staging
from virtio_crq.platform.port import Port
from virtio_crq.virtio import packedring

NEXT = packedring.DESC_F_NEXT


class PackedNaiveRing(PackedRing):
    """Looks at a chain's first flags before the rest of it, and still stops at the announced position."""

    def __init__(self, port: Port, staging: Staging, terms: RingTerms, max_copy: int) -> None:
        super().__init__(port, staging, terms, max_copy)
        self.planner.joining = 0

    def fetch(self) -> int:
        if self.fetched == self.announced:
            return 0
        while self.fetched == self.brought or self._goes_on():
            position = self.brought
            slot = position & (self.size - 1)
            at = self.snapshot + 16 * slot
            if position == self.fetched:
                self.bring(self.descriptors + 16 * slot + 14, at + 14, 2)
                self.flush()
                self.check_mark(position, self.port.load16(at + 14))
                self.bring(self.descriptors + 16 * slot, at, 14)
            else:
                self.bring(self.descriptors + 16 * slot, at, 16)
            self.flush()
            self.brought = (position + 1) & 0xFFFF
        if self.next_chain(0):
            self.flush()
            self.go_through(0)
        self.enqueue(self.heads[0])
        return 1

    def _goes_on(self) -> int:
        """Whether what was brought ends in the middle of a chain, and more was announced."""
        last = (self.brought - 1) & (self.size - 1)
        return 1 if self.brought != self.announced and self.port.load16(self.snapshot + 16 * last + 14) & NEXT else 0
