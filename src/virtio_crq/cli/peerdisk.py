# SPDX-License-Identifier: Apache-2.0
"""A back-end's disk under the driver that the CRQ's disks have: one queue, in memory that the back-end maps."""

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

QUEUE = 0
QUEUE_SIZE_MAX = 256  # as our own disks have


@dataclass(frozen=True)
class PeerDisk:
    """Up until its context ends."""

    backend: Backend
    channel: KickChannel
    front: SharedFront
    driver: BlockDriver


@contextmanager
def peer_disk(path: Path, depth: int, transfer: int, asks: bool, patience: float = PATIENCE) -> Iterator[PeerDisk]:
    """The disk that listens at `path`; `asks`: its driver sleeps and wishes to be told of completions."""
    size = 1 << (min(QUEUE_SIZE_MAX, 4 * depth).bit_length() - 1)
    _available, _used, length = footprint(size)
    ram, _window = SharedSlots.footprint(depth, blockdriver.HEAD, transfer)
    with ExitStack() as stack:
        backend = Backend(path, patience)
        stack.callback(backend.close)
        shared = SharedMemory(whole_pages(length) + ram)
        stack.callback(shared.close)
        channel = KickChannel()
        stack.callback(channel.close)
        memory = Memory(shared.arena)
        place = memory.take(length, length, "the queue").offset
        slots = memory.take(ram, ram, "the requests")
        ring = SplitDriverRing(shared.port, place, size, False, backend.event_idx, 0, QUEUE)
        mapping = SharedSlots(shared.port, depth, blockdriver.HEAD, transfer, slots.offset, slots.bus)
        driver = BlockDriver(ring, mapping, backend.capacity, backend.size_max, backend.seg_max)
        front = SharedFront(ring, asks)
        backend.share(shared)
        where = RingPlace(size, ring.descriptors, ring.available, ring.used)
        backend.start_ring(QUEUE, where, shared, channel.kick, channel.call)
        yield PeerDisk(backend, channel, front, driver)
        # Reached only when nothing went wrong: a back-end that is gone is not asked to stop.
        backend.stop_ring(QUEUE)
