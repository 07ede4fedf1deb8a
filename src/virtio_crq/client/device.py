# SPDX-License-Identifier: Apache-2.0
"""A device as its driver keeps it through the life, loss and return of its server."""

from contextlib import suppress
from dataclasses import dataclass, field

from virtio_crq.client.memory import Memory
from virtio_crq.dataplane.driverring import DriverRing, footprint
from virtio_crq.errors import DeviceFault, PartnerLost, PlatformError, VirtioCrqError
from virtio_crq.message import conversations
from virtio_crq.message.conversations import DeviceDescription
from virtio_crq.message.device import QueueResume, QueueSetup
from virtio_crq.message.frontend import Conversation
from virtio_crq.platform.channel import USED, Channel
from virtio_crq.platform.port import Port
from virtio_crq.virtio import features as bits
from virtio_crq.virtio.splitring import DescriptorIndex, QueueSize, RingPosition

RING_ACCESS = 3  # the device reads descriptors and available ring, and writes the used ring
BUSY_TRIES = 1000
REQUEST_QUEUE = 0


@dataclass(frozen=True)
class Options:
    """How the client uses what devices offer."""

    depth: int = 64  # requests in flight per disk, at most
    transfer: int = 128 * 1024  # data bytes per request, at most
    indirect: bool = False  # off: a table per request costs the server one more copy
    event_idx: bool = True


@dataclass
class Site:
    """Where a device's driver works: its connection's port, channel and memory, shared fairly by `devices`."""

    port: Port
    channel: Channel
    memory: Memory
    options: Options = field(default_factory=Options)
    devices: int = 1


class Device:
    """Common to all device types: one request queue, negotiation, announcements, suspend and resume.

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
        self.ring: DriverRing | None = None
        self.setup: QueueSetup | None = None
        self._letting_go = False

    def bring_up(self) -> Conversation[None]:
        """From reset to DRIVER_OK (virtio 1.4 §3.1.1)."""
        options = self.site.options
        wanted = self.wanted | bits.MANDATORY | bits.feature_set(bits.RING_RESET)
        wanted |= bits.feature_set(bits.INDIRECT_DESC) if options.indirect else 0
        wanted |= bits.feature_set(bits.EVENT_IDX) if options.event_idx else 0
        self.features = yield from conversations.negotiate(self.number, wanted)
        yield from self.configure()
        self.ring, self.setup = self._build_ring()
        self.build(self.ring)
        yield from conversations.start_queues(self.number, {REQUEST_QUEUE: self.setup})

    def configure(self) -> Conversation[None]:
        """Read the configuration; between FEATURES_OK and the queues."""
        yield from ()

    def build(self, ring: DriverRing) -> None:
        """Make the driver over its ring."""

    def _build_ring(self) -> tuple[DriverRing, QueueSetup]:
        offered = self.description.queue_sizes[REQUEST_QUEUE] if self.description.queue_sizes else 0
        if offered < 1:
            raise DeviceFault("queue-missing", f"device {self.number} offers no request queue")
        options = self.site.options
        size = 1 << (min(offered, 4 * options.depth).bit_length() - 1)
        available, used, length = footprint(size)
        area = self.site.memory.take(length, length, f"the queue of device {self.number}")
        for _try in range(BUSY_TRIES):
            code = self.site.port.map(area.bus, area.offset, (length + 4095) // 4096 * 4096, RING_ACCESS)
            if code <= 0:
                break
        if code:
            raise PlatformError("map", code, f"the queue of device {self.number}")
        indirect = bits.has(self.features, bits.INDIRECT_DESC)
        event_idx = bits.has(self.features, bits.EVENT_IDX)
        ring = DriverRing(self.site.port, area.offset, size, indirect, event_idx, self.number, REQUEST_QUEUE)
        return ring, QueueSetup(QueueSize(size), area.bus, area.bus + available, area.bus + used)

    def announced(self, kind: int, position: int, credit: int) -> None:
        """An announcement for the request queue came. DeviceFault when it breaks the rules of announcements."""
        if self.ring is None or self.broken is not None:
            return
        if kind == USED:
            self.ring.used_told(position, credit)
        else:
            self.ring.credit_returned()

    def serve(self) -> None:
        """Complete what has ended, start what waits, announce what is due."""
        if self.broken is not None and self._letting_go:
            self._letting_go = not self.take_back()
        if self.ring is None or self.broken is not None:
            return
        try:
            while True:
                self.reap()
                self.fill()
                self.ring.publish()
                if not self.ring.rearm():
                    break
            self.ring.settle(self.site.channel)
        except (DeviceFault, PlatformError) as fault:
            self.break_off(fault)

    def reap(self) -> None: ...

    def fill(self) -> None: ...

    def suspend(self) -> None:
        """The server is gone. Requests in flight stay; what it had completed is taken now."""
        if self.ring is None or self.broken is not None:
            return
        try:
            self.reap()
            self.ring.suspend()
        except (DeviceFault, PlatformError) as fault:
            self.break_off(fault)

    def resume(self) -> Conversation[None]:
        """The server is back: the same device must take over the queue and the requests in flight."""
        if self.ring is None or self.setup is None or self.broken is not None:
            return
        position, used, heads = self.ring.suspend()
        state = QueueResume(RingPosition(position), RingPosition(used), tuple(DescriptorIndex(head) for head in heads))
        yield from conversations.resume(
            self.number,
            self.description.device_id,
            self.identity,
            self.features,
            {REQUEST_QUEUE: (self.setup, state)},
        )
        self.ring.resume()
        yield from self.config_changed()
        self.serve()

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
        with suppress(PartnerLost):
            yield from conversations.reset_device(self.number)
        if self.ring is not None:
            self.ring.reset()
            self.forget()
            self._letting_go = True
            self.serve()

    def forget(self) -> None:
        """The device will never answer the requests it has."""

    def take_back(self) -> bool:
        """Unmap what is left; False when the platform was too busy for some of it."""
        return True

    @property
    def busy(self) -> bool:
        """Something waits for the platform rather than for the device: look again soon."""
        return self._letting_go
