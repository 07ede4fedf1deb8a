# SPDX-License-Identifier: Apache-2.0
"""Which class serves a queue: by the ring's layout and by how it is fetched."""

from typing import Protocol

from virtio_crq.axes import BATCHED, NAIVE, PACKED, PUSH, SPLIT
from virtio_crq.dataplane.batched import BatchedRing
from virtio_crq.dataplane.naive import NaiveRing
from virtio_crq.dataplane.packedbatched import PackedBatchedRing
from virtio_crq.dataplane.packednaive import PackedNaiveRing
from virtio_crq.dataplane.ring import DeviceRing
from virtio_crq.dataplane.ringterms import PAIRED, RECORDS, RingTerms
from virtio_crq.dataplane.sidering import SideRing
from virtio_crq.dataplane.staging import Staging
from virtio_crq.dataplane.windowring import WindowRing
from virtio_crq.platform.port import Port


class Strategy(Protocol):
    """A class over `DeviceRing`; making one raises DriverFault for terms that cannot be."""

    def __call__(self, port: Port, staging: Staging, terms: RingTerms, max_copy: int) -> DeviceRing: ...


STRATEGIES: dict[tuple[str, str], Strategy] = {
    (PACKED, BATCHED): PackedBatchedRing,
    (PACKED, NAIVE): PackedNaiveRing,
    (SPLIT, BATCHED): BatchedRing,
    (SPLIT, NAIVE): NaiveRing,
    (RECORDS, PUSH): WindowRing,
    (PAIRED, PUSH): SideRing,
}
