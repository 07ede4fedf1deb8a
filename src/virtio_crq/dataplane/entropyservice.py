# SPDX-License-Identifier: Apache-2.0
"""Entropy requests of one queue (virtio 1.4 §5.4)."""

from virtio_crq.dataplane.faults import refuse
from virtio_crq.dataplane.kernel import random
from virtio_crq.dataplane.service import Service

LIMIT = 65536


class EntropyService(Service):
    """Fills each writable chain from the kernel's generator, up to 64 KiB a request."""

    def run(self, count: int) -> int:
        for index in range(count):
            self.advance(self.batch[index])
        return 0

    def advance(self, head: int) -> int:
        # §5.4.6.1: the driver places no readable buffers; the device writes one byte or more.
        if self.ring.chains.readable[head]:
            refuse("entropy-readable", head, self.ring.chains.readable[head])
        if self.weight >= self.share:
            return self.park(head)
        length = self.ring.chains.writable[head]
        if length > LIMIT:
            length = LIMIT
        at = self.staging.take(length)
        if at < 0 and self.spent_count:
            self.ring.flush()
            self.release()
            at = self.staging.take(length)
        if at < 0:
            return self.park(head)
        random(self.port, at, length)
        self.ring.push(head, 0, length, at)
        self.spend(at, length)
        self.weight += length
        self.requests += 1
        self.bytes_in += length
        self.note(head, length)
        return self.ring.complete(head, length)
