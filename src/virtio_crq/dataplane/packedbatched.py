# SPDX-License-Identifier: Apache-2.0
"""`fetch=batched` of a packed ring: all that was announced by one copy, two where the ring turns."""

from array import array

from virtio_crq.dataplane.limits import LANES
from virtio_crq.dataplane.packeddevice import PackedRing
from virtio_crq.dataplane.ringterms import RingTerms
from virtio_crq.dataplane.staging import Staging
from virtio_crq.platform.port import Port


class PackedBatchedRing(PackedRing):
    """The announced position says how far descriptors are complete: no flags are polled."""

    def __init__(self, port: Port, staging: Staging, terms: RingTerms, max_copy: int) -> None:
        super().__init__(port, staging, terms, max_copy)
        self.aside = array("B", bytes(LANES))

    def fetch(self) -> int:
        if self.fetched == self.announced:
            return 0
        if self.brought != self.announced:
            self.bring_ring(self.announced)
            self.flush()
        count = 0
        tables = 0
        while count < LANES and self.fetched != self.brought:
            self.aside[count] = self.next_chain(count)
            tables += self.aside[count]
            count += 1
        if tables:
            self.flush()
        for lane in range(count):
            if self.aside[lane]:
                self.go_through(lane)
            self.enqueue(self.heads[lane])
        return count
