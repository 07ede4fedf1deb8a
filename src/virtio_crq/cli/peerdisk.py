# SPDX-License-Identifier: Apache-2.0
"""A back-end's disk under the driver that the CRQ's disks have: its queues, in memory that the back-end maps."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from virtio_crq.client.memory import Memory, whole_pages
from virtio_crq.dataplane import blockdriver
from virtio_crq.dataplane.blockdriver import BlockDriver
from virtio_crq.dataplane.sharedfront import SharedFront
from virtio_crq.dataplane.sharedslots import SharedSlots
from virtio_crq.dataplane.splitdriverring import SplitDriverRing, footprint
from virtio_crq.vhostuser.backend import Backend, RingPlace
from virtio_crq.vhostuser.channel import KickChannel
from virtio_crq.vhostuser.conversation import PATIENCE
from virtio_crq.vhostuser.memory import SharedMemory

QUEUE_SIZE_MAX = 256  # as our own disks have


@dataclass(frozen=True)
class PeerQueue:
    """One queue. All of them tell of completions by the first one's eventfd."""

    channel: KickChannel
    front: SharedFront
    driver: BlockDriver


@dataclass(frozen=True)
class PeerDisk:
    """Up until its context ends."""

    backend: Backend
    queues: tuple[PeerQueue, ...]

    @property
    def channel(self) -> KickChannel:
        return self.queues[0].channel

    @property
    def front(self) -> SharedFront:
        return self.queues[0].front

    @property
    def driver(self) -> BlockDriver:
        return self.queues[0].driver


@contextmanager
def peer_disk(
    path: Path, depth: int, transfer: int, asks: bool, patience: float = PATIENCE, queues: int = 1
) -> Iterator[PeerDisk]:
    """The disk that listens at `path`; `asks`: its driver sleeps and wishes to be told of completions.

    The depth is spread over so many queues, or as many as the back-end has.
    """
    with ExitStack() as stack:
        backend = Backend(path, patience)
        stack.callback(backend.close)
        count = min(queues, backend.request_queues, depth)
        share = -(-depth // count)
        size = 1 << (min(QUEUE_SIZE_MAX, 4 * share).bit_length() - 1)
        _available, _used, length = footprint(size)
        ram, _window = SharedSlots.footprint(share, blockdriver.HEAD, transfer)
        shared = SharedMemory(count * (whole_pages(length) + ram))
        stack.callback(shared.close)
        memory = Memory(shared.arena)
        made = []
        for index in range(count):
            channel = KickChannel()
            stack.callback(channel.close)
            place = memory.take(length, length, "a queue").offset
            slots = memory.take(ram, ram, "the requests")
            ring = SplitDriverRing(shared.port, place, size, False, backend.event_idx, 0, index)
            mapping = SharedSlots(shared.port, share, blockdriver.HEAD, transfer, slots.offset, slots.bus)
            driver = BlockDriver(ring, mapping, backend.capacity, backend.size_max, backend.seg_max)
            made.append((RingPlace(size, ring.descriptors, ring.available, ring.used), channel, driver, ring))
        backend.share(shared)
        found = []
        for index, (where, channel, driver, ring) in enumerate(made):
            found.append(PeerQueue(channel, SharedFront(ring, asks), driver))
            backend.start_ring(index, where, shared, channel.kick, made[0][1].call)
        yield PeerDisk(backend, tuple(found))
        # Reached only when nothing went wrong: a back-end that is gone is not asked to stop.
        for index in range(count):
            backend.stop_ring(index)
