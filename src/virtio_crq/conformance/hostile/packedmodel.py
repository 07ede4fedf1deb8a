# SPDX-License-Identifier: Apache-2.0
"""A disk of the hostile server with a packed ring: slow, obvious, correct as long as nobody interferes."""

import struct
from dataclasses import dataclass, field

from virtio_crq.conformance.hostile.model import BLOCK_FEATURES, Buffer, Chain, Disk
from virtio_crq.message.device import QueueResume, QueueSetup
from virtio_crq.virtio import features as bits
from virtio_crq.virtio import packedring, splitring
from virtio_crq.virtio.features import Features
from virtio_crq.virtio.splitring import QueueIndex

PACKED_FEATURES = Features(BLOCK_FEATURES | bits.feature_set(bits.RING_PACKED))
_DESCRIPTOR = struct.Struct("<QIHH")


@dataclass(eq=False)
class PackedDisk(Disk):
    """Positions count descriptors. Without RING_PACKED in the negotiation it is of no use."""

    features: Features = PACKED_FEATURES
    spans: dict[int, int] = field(default_factory=dict)  # descriptors of each request, by buffer id

    def enable_queue(self, index: QueueIndex, setup: QueueSetup, resume: QueueResume | None) -> None:
        super().enable_queue(index, setup, resume)
        self.fetched = self.used  # a resumed ring shows what is in flight from the used position on

    def fetch(self) -> None:
        while self.fetched != self.seen:
            self.pending.append(self._next_chain())

    def _next_chain(self) -> Chain:
        buffers: list[Buffer] = []
        start, more = self.fetched, True
        while more:
            address, length, name, flags = _DESCRIPTOR.unpack(self.look(self.place(self.fetched), 16))
            if flags & packedring.DESC_F_INDIRECT:
                for at, size, _, flag in _DESCRIPTOR.iter_unpack(self.look(address, length)):
                    buffers.append(Buffer(at, size, bool(flag & packedring.DESC_F_WRITE)))
            else:
                buffers.append(Buffer(address, length, bool(flags & packedring.DESC_F_WRITE)))
            more = bool(flags & packedring.DESC_F_NEXT) and self.fetched != self.seen
            self.fetched = splitring.advance(self.fetched, 1)
        self.spans[name] = splitring.distance(self.fetched, start)
        return Chain(name, tuple(buffers))

    def _wish(self) -> None:
        if self.setup is not None:
            self.put(self.setup.device_area, bytes(packedring.EVENT_SIZE))

    def complete(self, chain: Chain, length: int) -> None:
        self.put_used(self.used, chain.head, length)
        self.used = splitring.advance(self.used, self.spans.pop(chain.head))
        self.served += 1

    # -- for acts

    def place(self, position: int) -> int:
        assert self.setup is not None
        return self.setup.descriptors + packedring.DESCRIPTOR_SIZE * packedring.slot(position, self.setup.size)

    def put_used(self, position: int, head: int, length: int) -> None:
        """A used descriptor: its body, then its flags."""
        assert self.setup is not None
        at = self.place(position)
        self.put(at + packedring.DESCRIPTOR_LENGTH, struct.pack("<IH", length & 0xFFFFFFFF, head & 0xFFFF))
        flags = packedring.used_mark(position, self.setup.size) | (packedring.DESC_F_WRITE if length else 0)
        self.put(at + packedring.DESCRIPTOR_FLAGS, flags.to_bytes(2, "little"))
