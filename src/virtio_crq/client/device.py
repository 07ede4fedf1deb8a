# SPDX-License-Identifier: Apache-2.0
"""A device as its driver keeps it through the life, loss and return of its server."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from virtio_crq.axes import CLIENT, FETCH, MAP, PACKED, PER_REQUEST, POOL, RING, SPLIT, SUB_CRQ, WINDOW
from virtio_crq.client.memory import Area, Memory, whole_pages
from virtio_crq.dataplane import pushfront
from virtio_crq.dataplane.directfront import DirectFront
from virtio_crq.dataplane.driverring import DriverRing
from virtio_crq.dataplane.front import Front, arrived, listen
from virtio_crq.dataplane.mapping import SlotMapping
from virtio_crq.dataplane.packeddriverring import PackedDriverRing
from virtio_crq.dataplane.perrequest import PerRequest
from virtio_crq.dataplane.pool import Pool
from virtio_crq.dataplane.pushfront import PushFront
from virtio_crq.dataplane.sidefront import SideFront
from virtio_crq.dataplane.sidequeue import SideQueue
from virtio_crq.dataplane.splitdriverring import SplitDriverRing
from virtio_crq.dataplane.windowfront import WindowFront
from virtio_crq.errors import DeviceFault, PartnerLost, PlatformError, UsageError, VirtioCrqError
from virtio_crq.message import conversations
from virtio_crq.message.conversations import DeviceDescription
from virtio_crq.message.device import QueueResume, QueueSetup
from virtio_crq.message.frontend import Conversation
from virtio_crq.platform.channel import USED, Channel
from virtio_crq.platform.port import Port
from virtio_crq.virtio import features as bits
from virtio_crq.virtio import records
from virtio_crq.virtio.ringareas import placed
from virtio_crq.virtio.splitring import DescriptorIndex, QueueSize, RingPosition

RING_ACCESS = 3  # the device reads descriptors and available ring, and writes the used ring
BUSY_TRIES = 1000
REQUEST_QUEUE = 0
# The driver's side of the axes, where a value is a class of its own.
MAPPINGS: dict[str, type[SlotMapping]] = {POOL: Pool, PER_REQUEST: PerRequest}
CARRIERS: dict[str, type[PushFront]] = {WINDOW: WindowFront, SUB_CRQ: SideFront}
POOL_LIMIT = 16 * 1024
# What the most queues that a connection can have take when they are pushed; a narrower window keeps its room.
PUSH_ROOM = 4 << 20


@dataclass(frozen=True)
class Options:
    """How the client uses what devices offer."""

    depth: int = 64  # requests in flight per disk, at most
    queues: int = 16  # request queues of a disk that are used, at most
    transfer: int = 128 * 1024  # data bytes per request, at most
    indirect: bool = False  # off: a table per request costs the server one more copy
    event_idx: bool = True
    fetch: str = FETCH.client[0]  # pushed where the server agrees; else it reads rings, and chooses how
    ring: str = RING.client[0]  # of what is not pushed: packed where it is offered
    in_order: bool = False  # with a packed ring: one used descriptor may end many requests
    polling: int = 32  # microseconds of looking for an answer before sleeping, at most (see dataplane.patience)
    map: str = MAP.client[0]  # how request slots become reachable: see MAPPINGS
    pool_limit: int = POOL_LIMIT  # with a pool: longer data is mapped for its request alone

    def __post_init__(self) -> None:
        for key, known in CLIENT.items():
            if getattr(self, key) not in known:
                raise UsageError(f"{key} {getattr(self, key)!r} of a client is not one of {', '.join(known)}")
        if self.queues < 1:
            raise UsageError(f"queues {self.queues} of a client is less than 1")
        if self.pool_limit < 0:
            raise UsageError(f"pool_limit {self.pool_limit} of a client is negative")

    @property
    def mapping(self) -> type[SlotMapping]:
        return MAPPINGS[self.map]


@dataclass
class Site:
    """Where a device's driver works: its connection's port, channel and memory, shared fairly by `devices`."""

    port: Port
    channel: Channel
    memory: Memory
    options: Options = field(default_factory=Options)
    devices: int = 1
    mark: int = 0  # the low byte of the session's number where its queues are pushed
    pairs: bool = False  # and may go by side queues


class Device:
    """Common to all device types: queues, negotiation, announcements, suspend and resume. Most have one queue.

    `broken` is the end: whatever was and will be asked of the device fails with it, and its ring is never used again.
    """

    wanted = 0  # features of the device type that the driver understands

    def __init__(self, site: Site, description: DeviceDescription) -> None:
        self.site = site
        self.number = description.number
        self.identity = description.identity
        self.description = description
        self.features = 0
        self.broken: VirtioCrqError | None = None
        self.front: Front | None = None  # of the first queue
        self.queues: dict[int, tuple[Front, QueueSetup]] = {}
        self.sides: dict[int, SideFront] = {}  # those of the queues that have a side queue
        self.leaving: list[SideQueue] = []  # given back, and perhaps still sent into: their memory stays as it is
        self.pushed = bool(site.mark)
        self._letting_go = False
        self.gone = False  # the server has it no more: another may come in its place

    def bring_up(self) -> Conversation[None]:
        """From reset to DRIVER_OK (virtio 1.4 §3.1.1)."""
        yield from self.negotiate()
        self.front, setup = self.build_queue(REQUEST_QUEUE)
        self.build(self.front)
        self.queues[REQUEST_QUEUE] = self.front, setup
        yield from self.start()

    def negotiate(self) -> Conversation[None]:
        """From reset to FEATURES_OK, with the configuration read."""
        options = self.site.options
        wanted = self.wanted | bits.MANDATORY | bits.feature_set(bits.RING_RESET)
        wanted |= bits.feature_set(bits.INDIRECT_DESC) if options.indirect else 0
        wanted |= bits.feature_set(bits.EVENT_IDX) if options.event_idx else 0
        if options.ring == PACKED and not self.pushed and bits.has(self.description.features, bits.RING_PACKED):
            wanted |= bits.feature_set(bits.RING_PACKED)
            wanted |= bits.feature_set(bits.IN_ORDER) if options.in_order else 0
        self.features = yield from conversations.negotiate(self.number, wanted)
        yield from self.configure()

    def start(self) -> Conversation[None]:
        """Enable the queues and say DRIVER_OK."""
        yield from self._pair_queues()
        yield from conversations.start_queues(self.number, {index: setup for index, (_, setup) in self.queues.items()})

    def _pair_queues(self) -> Conversation[None]:
        """A queue that cannot be paired, or not any more, goes by the window from now on."""
        for index, front in list(self.sides.items()):
            if not (yield from self._pair(index, front)):
                self._by_window(index, self.sides.pop(index))

    def _pair(self, index: int, front: SideFront) -> Conversation[bool]:
        """Have both ends of a queue know each other's side queue; False where there is none, or none to be trusted."""
        side = front.side
        if side.close() == 0 and self.site.pairs and front.trusted and side.open() == 0:
            try:
                side.partner = yield from conversations.pair_queue(self.number, index, front.ring.size, side.handle)
            finally:
                if not side.partner:
                    side.close()
        return bool(side.partner)

    def _by_window(self, index: int, front: SideFront) -> None:
        """The platform has no side queue for this queue, here or there: records stand in the window instead."""
        ring = front.ring
        assert isinstance(ring, SplitDriverRing)
        window = WindowFront(ring, front.requests, front.requests_bus, self.site.mark)
        window.inherit(front)
        self.queues[index] = window, self.queues[index][1]
        self.leaving.append(front.side)
        if self.front is front:
            self.front = window

    def configure(self) -> Conversation[None]:
        """Read the configuration; between FEATURES_OK and the queues."""
        yield from ()

    def build(self, front: Front) -> None:
        """Make the driver over its queue."""

    def queue_size(self, index: int, depth: int) -> int:
        """Entries of one of the device's queues, for so many requests in flight."""
        offered = self.description.queue_sizes
        if index >= len(offered):
            raise DeviceFault("queue-missing", f"device {self.number} offers no queue {index}")
        return 1 << (min(offered[index], 4 * depth).bit_length() - 1)

    def build_queue(self, index: int, depth: int = 0) -> tuple[Front, QueueSetup]:
        """An empty ring for one of the device's queues, mapped; for so many requests, or for as many as options say."""
        size = self.queue_size(index, depth or self.site.options.depth)
        driver_area, device_area, length = placed(size, self.ring_layout == PACKED)
        purpose = f"a queue of device {self.number}"
        if self.pushed:
            # A ring that the transport reads itself is nobody else's business: it is not mapped.
            return self._pushed(self.site.memory.take(length, length, purpose).offset, size, index)
        area = self.mapped(length, purpose)
        ring = self._make_ring(area.offset, size, index)
        setup = QueueSetup(QueueSize(size), area.bus, area.bus + driver_area, area.bus + device_area)
        return DirectFront(ring), setup

    @property
    def ring_layout(self) -> str:
        """What was negotiated, whatever was asked for."""
        return PACKED if bits.has(self.features, bits.RING_PACKED) else SPLIT

    @property
    def carrier(self) -> str:
        """What became the carrier of its queues' records, each that any of them has; empty where rings are read."""
        kinds = {
            name for name, kind in CARRIERS.items() for front, _ in self.queues.values() if isinstance(front, kind)
        }
        return "+".join(name for name in CARRIERS if name in kinds)

    def _make_ring(self, offset: int, size: int, index: int) -> DriverRing:
        port = self.site.port
        indirect = bits.has(self.features, bits.INDIRECT_DESC)
        event_idx = bits.has(self.features, bits.EVENT_IDX)
        if self.ring_layout == SPLIT:
            return SplitDriverRing(port, offset, size, indirect, event_idx, self.number, index)
        in_order = bits.has(self.features, bits.IN_ORDER)
        return PackedDriverRing(port, offset, size, indirect, event_idx, self.number, index, in_order)

    def _pushed(self, offset: int, size: int, index: int) -> tuple[Front, QueueSetup]:
        """Below a ring at `offset`, records of its requests in memory that the device reaches."""
        indirect = bits.has(self.features, bits.INDIRECT_DESC)
        event_idx = bits.has(self.features, bits.EVENT_IDX)
        ring = SplitDriverRing(self.site.port, offset, size, indirect, event_idx, self.number, index)
        completions, _lists, length = pushfront.footprint(size)
        area = self.mapped(length, f"the records of a queue of device {self.number}")
        setup = QueueSetup(QueueSize(size), area.bus, 0, area.bus + completions, self.site.mark)
        if not self.site.pairs:
            return WindowFront(ring, area.offset, area.bus, self.site.mark), setup
        slots = self.mapped(SideQueue.footprint(size), f"the completions of a queue of device {self.number}")
        side = SideQueue(self.site.port, slots.offset, slots.bus, SideQueue.footprint(size) // records.REQUEST)
        self.sides[index] = SideFront(ring, area.offset, area.bus, self.site.mark, side)
        return self.sides[index], setup

    def mapped(self, length: int, purpose: str) -> Area:
        """Memory that the device may read and write from now on."""
        area = self.site.memory.take(length, length, purpose)
        _patiently(lambda: self.site.port.map(area.bus, area.offset, whole_pages(length), RING_ACCESS), purpose)
        return area

    def slots(self, front: Front, count: int, head: int, data: int, purpose: str) -> SlotMapping:
        """Request slots of a queue, as reachable as the client's way of mapping has them before the first request."""
        kind = self.site.options.mapping
        kept = self.site.options.pool_limit
        area = self.site.memory.take(*kind.footprint(count, head, data, kept), purpose)
        mapping = kind(self.site.port, count, head, data, area.offset, area.bus, kept)
        _patiently(mapping.begin, purpose)
        if kind.stays:
            front.translate(mapping)
        return mapping

    def announced(self, kind: int, queue: int, position: int, credit: int) -> None:
        """An announcement for one of the queues came. DeviceFault when it breaks the rules of announcements."""
        if queue not in self.queues or self.broken is not None:
            return
        front, _ = self.queues[queue]
        if kind == USED:
            front.used_told(position, credit)
        else:
            front.credit_returned()

    def serve(self) -> None:
        """Complete what has ended, start what waits, announce what is due."""
        if self.broken is not None and self._letting_go:
            self.leaving = [side for side in self.leaving if side.close(tries=1) != 0]
            self._letting_go = bool(self.leaving) or not self.take_back()
        if not self.queues or self.broken is not None:
            return
        fronts = [front for front, _ in self.queues.values()]
        try:
            while True:
                for front in fronts:
                    front.deliver()
                self.reap()
                self.fill()
                for front in fronts:
                    front.publish()
                if not sum(front.rearm() for front in fronts):
                    break
            for front in fronts:
                front.settle(self.site.channel)
        except (DeviceFault, PlatformError) as fault:
            self.break_off(fault)

    def reap(self) -> None: ...

    def fill(self) -> None: ...

    def suspend(self) -> None:
        """The server is gone. Requests in flight stay; what it had completed is taken now."""
        if not self.queues or self.broken is not None:
            return
        try:
            for front, _ in self.queues.values():
                front.deliver()
            self.reap()
            for front, _ in self.queues.values():
                front.suspend()
        except (DeviceFault, PlatformError) as fault:
            self.break_off(fault)

    def resume(self) -> Conversation[None]:
        """The server is back: the same device must take over the queues and the requests in flight."""
        if not self.queues or self.broken is not None:
            return
        yield from conversations.resume_device(self.number, self.description.device_id, self.identity, self.features)
        yield from self._pair_queues()
        yield from conversations.resume_queues(self.number, self._standing())
        for front, _ in self.queues.values():
            front.resume()
        yield from self.config_changed()
        self.serve()

    def _standing(self) -> dict[int, tuple[QueueSetup, QueueResume]]:
        """How far each queue had come."""
        found = {}
        for index, (front, setup) in self.queues.items():
            position, used, heads = front.standing(self.site.mark)
            in_flight = tuple(DescriptorIndex(head) for head in heads)
            found[index] = (
                replace(setup, mark=self.site.mark),
                QueueResume(RingPosition(position), RingPosition(used), in_flight),
            )
        return found

    def config_changed(self) -> Conversation[None]:
        """The configuration may be another one."""
        yield from ()

    def break_off(self, error: VirtioCrqError) -> None:
        """No I/O from here on."""
        if self.broken is None:
            self.broken = error
            self.abandon(error)

    def abandon(self, error: VirtioCrqError) -> None:
        """Fail whatever is in flight or waits."""

    def let_go(self) -> Conversation[None]:
        """Reset a broken device, and only then take back the memory that its requests were shown (CRQ-F-21)."""
        # Without a session the server has reset it already: what remains is done here (CRQ-F-25).
        if not self.gone:  # a device that was removed touches nothing any more (CRQ-D-110)
            with suppress(PartnerLost):
                yield from conversations.reset_device(self.number)
        if self.queues:
            for front, _ in self.queues.values():
                front.reset()
            self.leaving += [front.side for front in self.sides.values()]
            self.forget()
            self._letting_go = True
            self.serve()

    def forget(self) -> None:
        """The device will never answer the requests it has."""

    def take_back(self) -> bool:
        """Unmap what is left; False when the platform was too busy for some of it."""
        return True

    def listen(self, enabled: bool) -> None:
        """Have the interrupt tell of completions that no announcement tells of, or not."""
        for front, _ in self.queues.values():
            listen(front, 1 if enabled else 0)

    @property
    def arrived(self) -> bool:
        """Completions came that no announcement tells of."""
        return self.broken is None and any(arrived(front) for front, _ in self.queues.values())

    @property
    def blocked(self) -> bool:
        """A ring could not announce what is due, or not send it."""
        return any((front.pending and front.credit) or front.held for front, _ in self.queues.values())

    @property
    def denied(self) -> bool:
        """Records of a queue are refused, which is no rule broken by a device that stopped or is going."""
        return self.broken is None and any(front.denied for front in self.sides.values())

    def distrust(self) -> str:
        """The device works, as it says: queues whose records are refused are not paired again. The first's rule."""
        rules = [front.distrust() for front in self.sides.values() if front.denied]
        return rules[0]

    @property
    def busy(self) -> bool:
        """Something waits for the platform rather than for the device: look again soon."""
        return self._letting_go


def _patiently(mapped: Callable[[], int], purpose: str) -> None:
    """Map, however busy the platform is at first."""
    for _try in range(BUSY_TRIES):
        code = mapped()
        if code <= 0:
            break
    if code:
        raise PlatformError("map", code, purpose)
