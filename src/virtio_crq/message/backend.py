# SPDX-License-Identifier: Apache-2.0
"""The device half of a connection: answers one front-end on behalf of many device models."""

from collections import Counter

from virtio_crq.errors import DeviceFault, DriverFault
from virtio_crq.message import codec
from virtio_crq.message import message as messages
from virtio_crq.message.bus import Bus, Terms
from virtio_crq.message.codec import body_of, message_of
from virtio_crq.message.device import DeviceModel
from virtio_crq.message.layout import Body, Malformed
from virtio_crq.message.machine import Machine
from virtio_crq.message.message import Message
from virtio_crq.message.refusal import code_of, is_answered
from virtio_crq.message.served import ServedDevice
from virtio_crq.message.session import (
    BACK_TRANSITIONS,
    BackEvent,
    BackState,
    check_hello,
    choose_revision,
    next_session,
    terms_of,
    welcome,
)
from virtio_crq.message.status import State

DEVICE_NUMBERS = 1 << 16
RING_RESERVE = 16  # entries beyond 2 per queue and 1 per device (CRQ-F-18)
# Announcements that got past the bus's channel: nobody can act on them here.
_ANNOUNCEMENTS = {(False, codec.EVENT_AVAIL), (True, codec.CREDIT)}


class BackEnd:
    """Sans-I/O: fed by its bus, answers through its bus, calls its device models. One thread at a time.

    `refused` counts refusals that belong to no device; `refused_by(number)` those of one device.
    """

    def __init__(
        self, bus: Bus, devices: dict[int, DeviceModel], *, revision: int = codec.REVISION, features: int = 0
    ) -> None:
        """`features`: the transport features that it agrees to."""
        self._bus = bus
        self._revision = revision
        self._features = features
        self._machine: Machine[BackState, BackEvent] = Machine(BACK_TRANSITIONS, BackState.CLOSED)
        self._served: dict[int, ServedDevice] = {}
        self._leaving: set[ServedDevice] = set()  # removed, but still touching the driver's memory
        self._waiting: dict[int, Message] = {}  # requests whose answer waits for the model to let go
        self._held_hello: tuple[Message, codec.Hello] | None = None
        self._last_session = 0
        self._terms: Terms | None = None
        self.refused: Counter[str] = Counter()
        for number, model in devices.items():
            self._adopt(number, model)

    @property
    def terms(self) -> Terms | None:
        """What HELLO agreed; None without a session."""
        return self._terms

    @property
    def state(self) -> BackState:
        return self._machine.state

    # The bus's side -------------------------------------------------------------------------------------------------

    def opened(self) -> None:
        """The bus is initialised; a HELLO may come. A second initialization without a loss between is one."""
        if self._machine.state is not BackState.CLOSED:
            self.lost("initialised again")
        self._machine.fire(BackEvent.OPENED)

    def lost(self, reason: str) -> None:
        """The partner is gone: the session is over and every device is reset."""
        self._machine.fire(BackEvent.LOST)
        self._terms = None
        self._held_hello = None
        self._waiting.clear()
        for served in self._served.values():
            served.drop()

    def receive(self, message: Message) -> None:
        """Handle one control message. Never raises for what the driver sent: refusals are counted and answered.

        So is what the device side cannot do for want of something of its own: a driver that waits learns of it.
        """
        if self._machine.state is BackState.CLOSED:
            self.count(None, "session-none")
            return
        try:
            self._dispatch(message)
        except (DriverFault, DeviceFault) as fault:
            self.count(None if message.bus else message.device, fault.rule)
            if not message.event and not message.response and is_answered(fault.rule):
                self._refuse(message, fault.rule)

    def _dispatch(self, message: Message) -> None:
        hello = message.bus and message.msg_id == codec.HELLO and not message.response
        if not hello:
            if self._terms is None:
                raise DriverFault("session-none", f"message {message.msg_id:#04x} before HELLO")
            if not message.event and message.session_byte != self._terms.session & 0xFF:
                self.count(None, "session-stale")
                return
        body = self._decode(message)
        if isinstance(body, codec.Hello):
            self._hello(message, body)
        elif message.bus:
            self._answer(message, self._bus_request(body))
        else:
            self._device_request(message, body)

    def _decode(self, message: Message) -> Body:
        """The body of a request; everything else that a driver may say was taken out by the channel."""
        if (message.bus, message.msg_id) in _ANNOUNCEMENTS:
            raise DriverFault("announcement-queue", f"device {message.device}")
        layout = codec.layout_of(message)
        if layout is None:
            raise DriverFault("message-unknown", f"message {message.msg_id:#04x}")
        if message.response or message.event:
            raise DriverFault("message-direction", f"{layout.NAME} comes from devices only")
        if not message.bus and message.device not in self._served:
            raise DriverFault("device-unknown", f"no device {message.device}")
        try:
            return body_of(message)
        except Malformed as error:
            raise DriverFault("message-size", str(error)) from error

    # Sessions -------------------------------------------------------------------------------------------------------

    def _hello(self, message: Message, asked: codec.Hello) -> None:
        if self._machine.state is not BackState.OPEN:
            raise DriverFault("hello-repeated", f"session {self._last_session} stands")
        check_hello(asked, self._bus.limits)
        if not choose_revision(asked, self._revision):
            self.count(None, "hello-revision")
            self._machine.fire(BackEvent.HELLO_REFUSED)
            self._answer(message, welcome(asked, self._bus.limits, 0, 0, self._revision))
        elif self._settling():
            self._machine.fire(BackEvent.HELLO_HELD)
            self._held_hello = (message, asked)
        else:
            self._machine.fire(BackEvent.HELLO_ACCEPTED)
            self._begin(message, asked)

    def _settling(self) -> bool:
        return bool(self._leaving) or any(served.settling for served in self._served.values())

    def _begin(self, message: Message, asked: codec.Hello) -> None:
        self._last_session = next_session(self._last_session, asked.session)
        revision = choose_revision(asked, self._revision)
        answer = welcome(asked, self._bus.limits, self._last_session, revision, self._revision, self._features)
        self._terms = terms_of(asked, answer)
        for served in self._served.values():
            served.agreed(self._terms)
        self._answer(message, answer)
        self._bus.agreed(self._terms)

    # Requests -------------------------------------------------------------------------------------------------------

    def _bus_request(self, body: Body) -> Body:
        if isinstance(body, codec.Ping):
            return codec.Pong(body.data)
        assert isinstance(body, codec.GetDevices), body
        return self._devices(body)

    def _devices(self, asked: codec.GetDevices) -> codec.Devices:
        if asked.offset % 8 or asked.count % 8 or asked.offset + asked.count > DEVICE_NUMBERS:
            raise DriverFault("devices-window", f"{asked.count} from {asked.offset}")
        assert self._terms is not None
        room = 8 * (self._terms.max_message - messages.HEADER_SIZE - codec.Devices.fixed_size())
        count = min(asked.count, room)
        bitmap = bytearray(count // 8)
        for number in self._served:
            if asked.offset <= number < asked.offset + count:
                bitmap[(number - asked.offset) // 8] |= 1 << number % 8
        end = asked.offset + count
        more = any(number >= end for number in self._served)
        return codec.Devices(asked.offset, count, end if more else 0, bytes(bitmap))

    def _device_request(self, message: Message, body: Body) -> None:
        if message.device in self._waiting:
            raise DriverFault("request-outstanding", f"device {message.device}")
        served = self._served[message.device]
        answer = served.handle(body)
        if answer is None:
            self._waiting[message.device] = message
        else:
            self._answer(message, answer)

    def _answer(self, request: Message, body: Body) -> None:
        self._bus.send(message_of(body, request.device, request.token))

    def _refuse(self, request: Message, rule: str) -> None:
        body = codec.Refused(request.msg_id, int(request.bus), code_of(rule))
        self._bus.send(message_of(body, request.device, request.token))

    # The models' side -----------------------------------------------------------------------------------------------

    def settled(self, device: int) -> None:
        """A model's pending `reset()` or `disable_queue()` is through: nothing touches the driver's memory now."""
        if any(served.number == device for served in self._leaving):
            self._leaving = {served for served in self._leaving if served.number != device}
            self._event(codec.EventDevice(device, codec.DeviceBusState.REMOVED))
        served = self._served.get(device)
        answer = None if served is None else served.settled()
        request = self._waiting.pop(device, None)
        if request is not None and answer is not None:
            self._answer(request, answer)
        if self._machine.state is BackState.SETTLING and not self._settling():
            assert self._held_hello is not None
            (message, asked), self._held_hello = self._held_hello, None
            self._machine.fire(BackEvent.SETTLED)
            self._begin(message, asked)

    def config_changed(self, device: int) -> None:
        """The configuration space changed: the generation moves on and a running driver is told."""
        served = self._served[device]
        served.generation = served.generation + 1 & 0xFFFF_FFFF
        if served.machine.running:
            self._tell(served)

    def needs_reset(self, device: int, reason: str | None) -> None:
        """A queue of `device` broke rule `reason`: count it, stop its queues, tell a running driver.

        None counts nothing: whose doing it is will only be known afterwards.
        """
        served = self._served[device]
        if reason is not None:
            served.refused[reason] += 1
        was_running = served.machine.running
        # A fault that arrives after the driver's reset belongs to the past.
        if served.machine.state is not State.RESET and served.fault() and was_running:
            self._tell(served)

    def _tell(self, served: ServedDevice) -> None:
        self._event(codec.EventConfig(served.machine.bits, served.generation), served.number)

    def _event(self, body: Body, device: int = 0) -> None:
        if self._terms is not None:
            self._bus.send(message_of(body, device, messages.token(self._terms.session, 0)))

    # Looking and changing -------------------------------------------------------------------------------------------

    def count(self, device: int | None, rule: str) -> None:
        """Count a refusal; also for those that the data plane or the bus made."""
        served = None if device is None else self._served.get(device)
        (self.refused if served is None else served.refused)[rule] += 1

    def refused_by(self, device: int) -> Counter[str]:
        return self._served[device].refused

    def status(self, device: int) -> int:
        """The device status bits."""
        return self._served[device].machine.bits

    def driver_features(self, device: int) -> int:
        """What the driver accepted; final once FEATURES_OK is set."""
        return self._served[device].features

    def queue_enabled(self, device: int, queue: int) -> bool:
        """Whether announcements on `queue` mean something now (CRQ-D-30)."""
        served = self._served.get(device)
        return served is not None and served.machine.running and queue in served.queues

    def devices(self) -> tuple[int, ...]:
        return tuple(sorted(self._served))

    def add(self, device: int, model: DeviceModel) -> None:
        """A device appears."""
        if device in self._served or any(served.number == device for served in self._leaving):
            raise ValueError(f"device {device} exists")
        self._adopt(device, model)
        self._event(codec.EventDevice(device, codec.DeviceBusState.READY))

    def remove(self, device: int) -> None:
        """A device disappears. A request of its driver that still waits stays unanswered, as the device is gone.

        The driver is told once nothing touches its memory any more (CRQ-D-110).
        """
        served = self._served.pop(device)
        self._waiting.pop(device, None)
        served.drop()
        if served.settling:
            self._leaving.add(served)
        else:
            self._event(codec.EventDevice(device, codec.DeviceBusState.REMOVED))

    def _adopt(self, number: int, model: DeviceModel) -> None:
        served = ServedDevice(number, model)
        served.ring_budget = self._room_for_a_queue
        if self._terms is not None:
            served.agreed(self._terms)
        self._served[number] = served

    def _room_for_a_queue(self) -> bool:
        queues = 1 + sum(len(served.queues) for served in self._served.values())
        assert self._terms is not None
        return 2 * queues + len(self._served) + RING_RESERVE <= self._terms.ring_entries
