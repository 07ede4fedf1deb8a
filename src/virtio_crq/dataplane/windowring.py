# SPDX-License-Identifier: Apache-2.0
"""The carrier that every platform has: records stand in the client's window, and announcements say how many."""

from virtio_crq.dataplane.faults import refuse
from virtio_crq.dataplane.pushring import PushRing
from virtio_crq.dataplane.ringterms import RingTerms
from virtio_crq.dataplane.staging import Staging
from virtio_crq.platform.port import Port
from virtio_crq.virtio import records

REQUEST = records.REQUEST
COMPLETION = records.COMPLETION


class WindowRing(PushRing):
    """Announced requests come by one copy, two where the ring wraps; completions go likewise."""

    def __init__(self, port: Port, staging: Staging, terms: RingTerms, max_copy: int) -> None:
        for address, alignment, entry in (
            (terms.descriptors, records.REQUEST_ALIGNMENT, REQUEST),
            (terms.device_area, records.COMPLETION_ALIGNMENT, COMPLETION),
        ):
            if address % alignment:
                refuse("queue-address", address, alignment)
            if address + entry * terms.size >= 1 << 64:
                refuse("address-wrap", address, entry * terms.size)
        super().__init__(port, staging, terms, max_copy, COMPLETION)
        self.requests = terms.descriptors
        self.answers = terms.device_area

    def receive(self, count: int) -> int:
        start = self.fetched & (self.size - 1)
        first = self.size - start
        if first > count:
            first = count
        self.bring(self.requests + REQUEST * start, self.records, REQUEST * first)
        if count > first:
            self.bring(self.requests, self.records + REQUEST * first, REQUEST * (count - first))
        return self.flush()

    def send(self, start: int, count: int) -> int:
        self.carry(self.completions + COMPLETION * start, self.answers + COMPLETION * start, COMPLETION * count)
        return count
