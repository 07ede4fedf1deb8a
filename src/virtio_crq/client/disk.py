# SPDX-License-Identifier: Apache-2.0
"""A block device of the client: reads, writes and flushes of any length, split into requests the device takes.

Methods named after an act block until it is done; the same name with `start_` answers a `Transfer` at once, which can
be awaited in the loop the client is attached to.
"""

import errno
from collections import deque
from collections.abc import Callable

from virtio_crq.client.device import REQUEST_QUEUE, Device, Site
from virtio_crq.client.memory import whole_pages
from virtio_crq.client.requestqueue import Pieces, Request, RequestQueue
from virtio_crq.client.transfer import Transfer
from virtio_crq.dataplane import blockdriver, pushfront
from virtio_crq.dataplane.blockdriver import BlockDriver
from virtio_crq.dataplane.driverring import DriverRing
from virtio_crq.dataplane.front import Front
from virtio_crq.dataplane.perrequest import PerRequest
from virtio_crq.dataplane.sidequeue import SideQueue
from virtio_crq.dataplane.splitdriverring import footprint
from virtio_crq.errors import DeviceFault, UsageError, VirtioCrqError
from virtio_crq.message import conversations
from virtio_crq.message.conversations import DeviceDescription
from virtio_crq.message.frontend import Conversation
from virtio_crq.virtio import block
from virtio_crq.virtio import features as bits
from virtio_crq.virtio.block import BlockConfig

WANTED = bits.feature_set(
    *(block.SIZE_MAX, block.SEG_MAX, block.RO, block.BLK_SIZE, block.FLUSH, block.TOPOLOGY, block.CONFIG_WCE),
    block.MQ,
)
MOST_SECTORS = (1 << 63) // block.SECTOR_SIZE - 1  # offsets in bytes are signed 64-bit numbers everywhere
SMALLEST = 4096  # the least data that a request slot is worth having for
Wait = Callable[[Transfer[bytes]], None]


class Disk(Device):
    """`name` is what the server calls it (GET_ID); `capacity` and `block_size` are in bytes."""

    wanted = WANTED

    def __init__(
        self, site: Site, description: DeviceDescription, submitted: Callable[[Device], None], wait: Wait
    ) -> None:
        super().__init__(site, description)
        self.name = f"disk{self.number}"
        self.named = False
        self.config = BlockConfig(capacity=0)
        self.on_capacity: Callable[[int], None] = lambda _capacity: None
        self.request_queues: list[RequestQueue] = []
        self.answered = 0  # requests, since the disk came up
        self._submitted = submitted
        self._wait = wait
        self._waiting: deque[Request] = deque()
        self._turn = 0  # whose turn it is among the queues

    @property
    def driver(self) -> BlockDriver | None:
        """Of the first queue."""
        return self.request_queues[0].driver if self.request_queues else None

    @property
    def lanes(self) -> list[tuple[BlockDriver, Front]]:
        """Driver and front of each queue."""
        return [(queue.driver, self.queues[index][0]) for index, queue in enumerate(self.request_queues)]

    @property
    def capacity(self) -> int:
        return self.config.capacity * block.SECTOR_SIZE

    @property
    def readonly(self) -> bool:
        return bits.has(self.features, block.RO)

    @property
    def block_size(self) -> int:
        """What offsets and lengths must be multiples of."""
        known = bits.has(self.features, block.BLK_SIZE) and self.config.blk_size >= block.SECTOR_SIZE
        return self.config.blk_size if known else block.SECTOR_SIZE

    @property
    def can_flush(self) -> bool:
        return bits.has(self.features, block.FLUSH)

    @property
    def outstanding(self) -> int:
        """Requests that somebody waits for."""
        return sum(queue.outstanding for queue in self.request_queues) + len(self._waiting)

    @property
    def busy(self) -> bool:
        """Something waits for the platform rather than for the device: look again soon."""
        return super().busy or any(
            queue.driver.lingering > 0 or (queue.held is not None and not queue.running)
            for queue in self.request_queues
        )

    def read(self, offset: int, length: int) -> bytes:
        return self._finished(self.start_read(offset, length))

    def write(self, offset: int, data: bytes | memoryview) -> None:
        self._finished(self.start_write(offset, data))

    def flush(self) -> None:
        self._finished(self.start_flush())

    def _finished(self, transfer: Transfer[bytes]) -> bytes:
        self._wait(transfer)
        return transfer.result()

    def start_read(self, offset: int, length: int) -> Transfer[bytes]:
        return self._start(block.T_IN, offset, length, None)

    def start_write(self, offset: int, data: bytes | memoryview) -> Transfer[bytes]:
        if self.readonly:
            return failed(OSError(errno.EROFS, f"disk {self.name} is read-only"))
        return self._start(block.T_OUT, offset, len(data), memoryview(data))

    def start_flush(self) -> Transfer[bytes]:
        """Completes when every write that was answered before is on stable storage; at once without FLUSH."""
        transfer: Transfer[bytes] = Transfer()
        if not self.can_flush:
            transfer.finish(b"")
            return transfer
        return self._queue([(block.T_FLUSH, 0, 0, 0, None)], None)

    def start_identify(self) -> Transfer[bytes]:
        """The name the server gave it, zero-padded (GET_ID)."""
        return self._queue([(block.T_GET_ID, 0, block.ID_BYTES, 0, None)], bytearray(block.ID_BYTES))

    def _start(self, kind: int, offset: int, length: int, data: memoryview | None) -> Transfer[bytes]:
        grain = self.block_size
        if offset % grain or length % grain:
            return failed(OSError(errno.EINVAL, f"{length} bytes at {offset} are not whole blocks of {grain}"))
        if offset < 0 or length < 0 or offset + length > self.capacity:
            text = f"{length} bytes at {offset} are beyond the end of disk {self.name} at {self.capacity}"
            return failed(OSError(errno.ENOSPC if kind == block.T_OUT else errno.EINVAL, text))
        if self.driver is None:
            return failed(self.broken or OSError(errno.ENODEV, f"disk {self.name} is not up"))
        step = self.driver.transfer // grain * grain or grain
        plan = []
        for at in range(0, length, step):
            size = min(step, length - at)
            piece = None if data is None else data[at : at + size]
            plan.append((kind, (offset + at) // block.SECTOR_SIZE, size, at, piece))
        return self._queue(plan, bytearray(length) if kind == block.T_IN else None)

    def _queue(
        self, plan: list[tuple[int, int, int, int, memoryview | None]], buffer: bytearray | None
    ) -> Transfer[bytes]:
        transfer: Transfer[bytes] = Transfer()
        if self.broken is not None:
            transfer.fail(self.broken)
            return transfer
        if not plan:
            transfer.finish(b"")
            return transfer
        pieces = Pieces(transfer, buffer, len(plan))
        self._waiting.extend(Request(*step, pieces) for step in plan)
        self._submitted(self)
        return transfer

    def configure(self) -> Conversation[None]:
        data = yield from conversations.read_config(
            self.number, 0, min(self.description.config_size, block.CONFIG_SIZE)
        )
        self.config = self._checked(BlockConfig.decode(data))

    def _checked(self, config: BlockConfig) -> BlockConfig:
        """What a device says of itself is input, too: no number of it may lead to other sectors than were asked for."""
        grain = config.blk_size if bits.has(self.features, block.BLK_SIZE) else 0
        if config.capacity > MOST_SECTORS:
            raise DeviceFault("config-answer", f"disk {self.number} claims {config.capacity} sectors")
        if grain and (grain < block.SECTOR_SIZE or grain & (grain - 1)):
            raise DeviceFault("config-answer", f"disk {self.number} claims blocks of {grain} bytes")
        return config

    def config_changed(self) -> Conversation[None]:
        before = self.capacity
        yield from self.configure()
        if self.request_queues and self.capacity != before:
            for queue in self.request_queues:
                queue.driver.resize(self.capacity)
            self.on_capacity(self.capacity)

    def bring_up(self) -> Conversation[None]:
        yield from self.negotiate()
        count = self._queue_count()
        for index in range(count):
            self.queues[index] = self.build_queue(index, -(-self.site.options.depth // count))
        self.front = self.queues[REQUEST_QUEUE][0]
        room = self._room(self.front.ring, count)
        for front, _ in self.queues.values():
            self.request_queues.append(RequestQueue(self._driver(front, *room)))
        yield from self.start()

    def _queue_count(self) -> int:
        """As many as the device has, unless they are more than are wanted, or than may take half of its memory."""
        options = self.site.options
        offered = self.config.num_queues if bits.has(self.features, block.MQ) else 1
        there = len(self.description.queue_sizes)
        if not there:
            raise DeviceFault("queue-missing", f"disk {self.number} offers no queue")
        if not 1 <= offered <= there:
            raise DeviceFault("config-answer", f"disk {self.number} claims {offered} queues and has {there}")
        most = max(1, min(offered, options.queues, options.depth))
        needed = queue_room(self.queue_size(REQUEST_QUEUE, -(-options.depth // most)), self.pushed, self.site.pairs)
        return max(1, min(most, self.site.memory.left // max(1, self.site.devices) // 2 // needed))

    def _driver(self, front: Front, depth: int, transfer: int) -> BlockDriver:
        size_max = self.config.size_max if bits.has(self.features, block.SIZE_MAX) else 0
        seg_max = self.config.seg_max if bits.has(self.features, block.SEG_MAX) else 0
        mapping = self.slots(front, depth, blockdriver.HEAD, transfer, f"disk {self.name}")
        driver = BlockDriver(front.ring, mapping, self.capacity, size_max, seg_max)
        if driver.transfer < self.block_size:
            what = f"a request carries {driver.transfer} bytes, a block of disk {self.number} has {self.block_size}"
            raise DeviceFault("config-answer", what)
        return driver

    def _room(self, ring: DriverRing, queues: int) -> tuple[int, int]:
        """Requests at a time in a queue and bytes each: as the options ask, or as much as the device's share holds."""
        options = self.site.options
        devices = max(1, self.site.devices)
        share = (
            self.site.memory.left - (devices - 1) * queue_room(ring.size, self.pushed, self.site.pairs)
        ) // devices  # each later one has a queue
        self.site.devices -= 1
        transfer = options.transfer
        wanted = -(-options.depth // queues)
        while True:
            _ram, window = options.mapping.footprint(1, blockdriver.HEAD, transfer, options.pool_limit)
            depth = min(wanted, ring.size // (1 if ring.indirect else 3), share // queues // window)
            if depth >= min(8, wanted) or (depth and transfer == SMALLEST):
                return depth, transfer
            if transfer == SMALLEST:
                raise UsageError(
                    f"window too small: {share} bytes are left for {self.name}, one request takes {window}; "
                    "give the client's adapter a larger window in the machine file"
                )
            transfer = max(transfer // 2, SMALLEST)

    def reap(self) -> None:
        for queue in self.request_queues:
            for request, error in queue.reap():
                self.answered += 1
                request.pieces.ended(error)

    def fill(self) -> None:
        """Requests go to the queues in turn; one whose platform or ring is busy is passed over."""
        taking = [queue for queue in self._in_turn() if queue.retry()]
        while self._waiting and taking:
            queue = taking[0]
            if queue.start(self._waiting[0]):
                self._waiting.popleft()
                taking.append(queue)
                self._turn += 1
            taking.pop(0)

    def _in_turn(self) -> list[RequestQueue]:
        first = self._turn % len(self.request_queues) if self.request_queues else 0
        return self.request_queues[first:] + self.request_queues[:first]

    def abandon(self, error: VirtioCrqError) -> None:
        requests = [request for queue in self.request_queues for request in queue.abandon()]
        requests += self._waiting
        self._waiting.clear()
        for request in requests:
            request.pieces.ended(error)

    def forget(self) -> None:
        for queue in self.request_queues:
            queue.driver.abandon()

    def take_back(self) -> bool:
        return sum(queue.take_back() for queue in self.request_queues) == len(self.request_queues)


def queue_room(size: int, pushed: bool, paired: bool = False) -> int:
    """Bytes that a queue of this size takes: its ring, and the records of a pushed one."""
    records = whole_pages(pushfront.footprint(size)[2]) if pushed else 0
    side = SideQueue.footprint(size) if paired else 0
    return whole_pages(footprint(size)[2]) + records + side


def smallest_disk(queue_size: int, pushed: bool = False) -> int:
    """Bytes of the window that a disk takes at the least: its queue, and one request of the smallest transfer."""
    return queue_room(queue_size, pushed) + PerRequest.footprint(1, blockdriver.HEAD, SMALLEST)[1]


def failed(error: Exception) -> Transfer[bytes]:
    """A transfer that never began."""
    transfer: Transfer[bytes] = Transfer()
    transfer.fail(error)
    return transfer
