# SPDX-License-Identifier: Apache-2.0
"""One connection to a server: brings devices up, keeps them through the server's loss, and resumes them.

AWAY ──session──▶ STARTING ──all up──▶ UP
 ▲                    │                 │
 └───── lost ─────────┴────── lost ─────┘      a device that was up is resumed, never started again
"""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from functools import partial

from virtio_crq import axes
from virtio_crq.client.console import Console
from virtio_crq.client.device import PUSH_ROOM, Device, Options, Site
from virtio_crq.client.disk import Disk
from virtio_crq.client.entropy import Entropy
from virtio_crq.client.memory import Memory
from virtio_crq.client.transfer import Transfer
from virtio_crq.errors import DeviceFault, DriverFault, PartnerLost, VirtioCrqError
from virtio_crq.message import conversations
from virtio_crq.message.bus import Bus, Terms
from virtio_crq.message.frontend import Conversation, FrontEnd, Outcome
from virtio_crq.message.session import PAIR, PUSH
from virtio_crq.platform.channel import CREDIT, USED
from virtio_crq.platform.endpoint import Endpoint
from virtio_crq.virtio import records
from virtio_crq.virtio import status as device_status
from virtio_crq.virtio.deviceid import DeviceId

Connect = Callable[[Callable[[Bus], FrontEnd]], Endpoint]  # makes the endpoint around the front-end it is given


class State(Enum):
    AWAY = "away"
    STARTING = "starting"
    UP = "up"


class Connection:
    """Driven by one thread, which calls `pump` whenever the endpoint's descriptor says so and now and then besides."""

    def __init__(self, connect: Connect, options: Options, wait: Callable[[Transfer[bytes]], None]) -> None:
        self.options = options
        self.state = State.AWAY
        self.devices: dict[int, Device] = {}
        self.unusable: dict[int, VirtioCrqError] = {}  # devices of this session that said nothing one can build on
        self.refusals: Counter[str] = Counter()
        self.failure: Exception | None = None  # the session cannot be: another revision, a refused HELLO
        self.losses = 0
        self.on_submitted: Callable[[], None] = lambda: None
        self._wait = wait
        self._dirty: set[int] = set()
        self._returned: set[int] = set()  # devices that this session took over or started
        self._doubted: set[int] = set()  # devices that are asked why their records are refused
        self._rereading: dict[int, bool] = {}  # devices whose configuration is being read; whether it changed since
        self._site: Site | None = None
        self._mark = 0
        self._pairs = False
        self._records = self._heard = 0  # times that completions had come which no announcement tells of
        self._front_end: FrontEnd
        self._bus: Bus
        self.endpoint = connect(self._make_front_end)
        self.endpoint.on_lost = self._lost
        self.endpoint.on_announced = self._announced
        self._front_end.offers = self._offered()

    def _make_front_end(self, bus: Bus) -> FrontEnd:
        self._bus = bus
        self._front_end = FrontEnd(
            bus,
            ready=self._ready,
            config_changed=self._config_changed,
            device_changed=self._device_changed,
            failed=self._failed,
        )
        return self._front_end

    def _offered(self) -> int:
        """The transport features of the next HELLO: what the devices there are were set up with, if there are any."""
        if self.devices:
            return PUSH | PAIR if self._mark else 0
        arena = self.endpoint.arena
        fits = arena.size >= PUSH_ROOM and arena.bus + arena.size <= 1 << records.ADDRESS_BITS
        return PUSH | PAIR if fits and self.options.fetch == axes.PUSH else 0

    @property
    def busy(self) -> bool:
        """Something waits for time to pass, not for an entry."""
        return any(device.busy for device in self.devices.values())

    def start(self) -> None:
        self.endpoint.start()

    def pump(self) -> int:
        """Take what waits and serve the devices concerned; 0 when nothing had come."""
        taken = self.endpoint.pump()
        arrived = {number for number, device in self.devices.items() if device.arrived}
        dirty = {number for number, device in self.devices.items() if self._eager(device)} | arrived | self._dirty
        self._dirty = set()
        for number in sorted(dirty):
            if number in self.devices:
                self._serve(self.devices[number])
        self._records += len(arrived)
        return taken + len(arrived)

    def _eager(self, device: Device) -> bool:
        """Its ring could not announce, or the platform was busy: try at each turn."""
        return device.blocked or device.busy

    @property
    def arrived(self) -> bool:
        """Completions came that no announcement tells of."""
        return any(device.arrived for device in self.devices.values())

    def arm(self) -> bool:
        """Before sleeping on the endpoint's descriptor: False when something waits."""
        ready = self.endpoint.arm()
        for device in self.devices.values():
            device.listen(True)
        return ready and not self.arrived

    def disarm(self, wholly: bool = False) -> None:
        """After sleeping. With one record for each sleep the interrupt stays on, as the endpoint's does."""
        if wholly or self._records - self._heard > 1:
            for device in self.devices.values():
                device.listen(False)
        self._heard = self._records
        self.endpoint.disarm(wholly)

    def _serve(self, device: Device) -> None:
        before = device.broken
        device.serve()
        if device.broken is not before:
            self._broke(device)
        elif device.denied and device.number not in self._doubted:
            self._doubted.add(device.number)
            self.run(self._ask_why(device))

    def _ask_why(self, device: Device) -> Conversation[None]:
        """Records are refused (CRQ-F-86). That a device stopped, or has gone, is heard before its answer."""
        try:
            state: int = device_status.DRIVER_OK
            with suppress(DriverFault):
                state = yield from conversations.get_status(device.number)
            if state & device_status.DEVICE_NEEDS_RESET:
                self._config_changed(device.number, state)
            self._serve(device)
            if device.denied:
                self._bus.reset(device.distrust())  # all is resumed in the next session, this without a pair
        finally:
            self._doubted.discard(device.number)

    def _submitted(self, device: Device) -> None:
        self._dirty.add(device.number)
        self.on_submitted()

    def _announced(self, kind: int, device: int, queue: int, position: int, credit: int) -> None:
        known = self.devices.get(device)
        if known is None or queue not in known.queues or kind not in (USED, CREDIT):
            self.refusals["announcement-queue"] += 1
            return
        self._dirty.add(device)
        try:
            known.announced(kind, queue, position, credit)
        except DeviceFault as fault:
            # CRQ-F-19: the connection cannot be trusted, the data can: all devices are resumed in the next session.
            self.refusals[fault.rule] += 1
            self._bus.reset(fault.rule)

    def _ready(self, terms: Terms) -> None:
        self._mark = terms.session & 0xFF if terms.features & PUSH else 0
        self._pairs = bool(self._mark and terms.features & PAIR)
        self.state = State.STARTING
        self.failure = None
        self.unusable = {}
        self._returned = set()
        self.run(self._start_devices())

    def _failed(self, error: Exception) -> None:
        self.failure = error

    def _lost(self, _reason: str) -> None:
        if self.state is not State.AWAY:
            self.losses += 1
        self.state = State.AWAY
        self._front_end.offers = self._offered()
        for device in self.devices.values():
            before = device.broken
            device.suspend()
            if device.broken is not before:
                self._broke(device)

    def _start_devices(self) -> Conversation[None]:
        numbers = yield from conversations.list_devices()
        for device in [device for number, device in self.devices.items() if number not in numbers]:
            device.gone = True
            self._give_up(device, DeviceFault("device-missing", f"device {device.number} did not come back"))
        for number in [number for number in numbers if number in self.devices and self.devices[number].gone]:
            del self.devices[number]  # what has this number now is another device
        fresh = [number for number in numbers if number not in self.devices]
        if self._site is None or not self.devices:  # nothing was brought up yet: all memory is free again
            memory = Memory(self.endpoint.arena)
            self._site = Site(self.endpoint.port, self.endpoint.channel, memory, self.options)
        self._site.mark = self._mark
        self._site.pairs = self._pairs
        self._site.devices = max(1, len(fresh))
        for number in numbers:
            yield from self._start_device(number)
        self._identify()
        if self.unusable and not self.devices:
            self.failure = next(iter(self.unusable.values()))  # whoever waits for a device learns why there is none
        elif not self._unnamed():
            self.state = State.UP

    def _identify(self) -> None:
        for device in list(self.devices.values()):
            if isinstance(device, Disk) and not device.named and device.broken is None:
                device.start_identify().when_done(partial(self._named, device))

    def _start_late(self, number: int) -> Conversation[None]:
        """A device that appeared during a session."""
        assert self._site is not None
        self._site.devices = 2  # leave as much memory again for the next one
        yield from self._start_device(number)
        self._identify()

    def _start_device(self, number: int) -> Conversation[None]:
        """Start a new device or resume a known one; what is wrong with one is no reason to leave the others."""
        device = self.devices.get(number)
        try:
            if device is not None:
                if device.broken is None:
                    if device.pushed != bool(self._mark):
                        how = "does not take" if device.pushed else "only takes"
                        raise DeviceFault("resume-push", f"the server {how} pushed requests, unlike before (CRQ-F-69)")
                    yield from device.resume()
            else:
                device = self._driver_for((yield from conversations.describe(number)))
                if device is not None:
                    yield from device.bring_up()
                    self.devices[number] = device
        except PartnerLost:
            raise
        except VirtioCrqError as error:
            if device is None:
                self.refusals[_rule(error)] += 1
                self.unusable[number] = error
            else:
                self.devices[number] = device
                self._give_up(device, error)

    def _driver_for(self, description: conversations.DeviceDescription) -> Device | None:
        assert self._site is not None
        if description.device_id == DeviceId.BLOCK:
            return Disk(self._site, description, self._submitted, self._wait)
        if description.device_id == DeviceId.ENTROPY:
            return Entropy(self._site, description, self._submitted, self._wait)
        if description.device_id == DeviceId.CONSOLE:
            return Console(self._site, description, self._submitted, self._wait)
        return None

    def _unnamed(self) -> list[Disk]:
        disks = [device for device in self.devices.values() if isinstance(device, Disk)]
        return [disk for disk in disks if not disk.named and disk.broken is None]

    def _named(self, disk: Disk, transfer: Transfer[bytes]) -> None:
        try:
            text = transfer.result().rstrip(b"\0").decode("ascii", "replace")
        except (OSError, VirtioCrqError):
            text = ""  # GET_ID is optional; the number will do
        disk.name = text or disk.name
        disk.named = True
        if self.state is State.STARTING and not self._unnamed():
            self.state = State.UP

    def _config_changed(self, number: int, status: int) -> None:
        device = self.devices.get(number)
        if device is None:
            return
        if status & device_status.DEVICE_NEEDS_RESET:
            self._give_up(device, DeviceFault("device-needs-reset", f"device {number} stopped and asks for a reset"))
        elif device.broken is None:
            if number in self._rereading:
                self._rereading[number] = True  # once more after the reading under way, however often it changed
            else:
                self.run(self._reread(device))

    def _reread(self, device: Device) -> Conversation[None]:
        try:
            self._rereading[device.number] = True
            while self._rereading[device.number]:
                self._rereading[device.number] = False
                yield from device.config_changed()
        finally:
            del self._rereading[device.number]

    def _device_changed(self, number: int, present: bool) -> None:
        known = self.devices.get(number)
        if not present and known is not None:
            known.gone = True
            self._give_up(known, DeviceFault("device-removed", f"device {number} was taken away"))
        elif present and self.state is State.UP and (known is None or known.gone):
            self.devices.pop(number, None)
            self.run(self._start_late(number))

    def _give_up(self, device: Device, error: VirtioCrqError) -> None:
        before = device.broken
        device.break_off(error)
        if before is None:
            self._broke(device)

    def _broke(self, device: Device) -> None:
        """The server must let go of a broken device's memory, too."""
        error = device.broken
        self.refusals[_rule(error)] += 1
        self.run(device.let_go())

    def run(self, conversation: Conversation[None]) -> None:
        """Have a conversation with the server; what it raises is in `failure`."""
        self._front_end.start(conversation).when_done(self._ran)

    def _ran(self, outcome: Outcome[None]) -> None:
        try:
            outcome.result()
        except PartnerLost:
            pass  # the next session starts anew
        except VirtioCrqError as error:
            self.refusals[_rule(error)] += 1
            self.failure = error

    def close(self) -> None:
        self.endpoint.close()


def _rule(error: Exception | None) -> str:
    """The name under which an error is counted."""
    return str(getattr(error, "rule", "platform"))
