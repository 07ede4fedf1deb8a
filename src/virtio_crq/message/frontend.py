# SPDX-License-Identifier: Apache-2.0
"""The driver half of a connection: conversations with the device side, written as generators.

def identify(device):
    info = yield device, GetDeviceInfo()       # -> DeviceInfo; DriverFault is raised here when it was refused
    return info.device_id

outcome = front_end.start(identify(3))         # feed the bus until outcome.done, then outcome.result()
"""

from collections import Counter, deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from virtio_crq.errors import DeviceFault, DriverFault, PartnerLost, VirtioCrqError
from virtio_crq.message import codec
from virtio_crq.message.bus import Bus, Terms
from virtio_crq.message.codec import body_of, message_of
from virtio_crq.message.layout import Body, Malformed
from virtio_crq.message.machine import Machine
from virtio_crq.message.message import Message, token
from virtio_crq.message.refusal import name_of
from virtio_crq.message.session import (
    FRONT_TRANSITIONS,
    FrontEvent,
    FrontState,
    check_welcome,
    hello,
    terms_of,
)

T = TypeVar("T")
Conversation = Generator[tuple[int | None, Body], Any, T]  # yields (device, or None for the bus; request)


class Outcome(Generic[T]):
    """What a conversation comes to. It ends in `PartnerLost` when the session ends under it."""

    def __init__(self) -> None:
        self.done = False
        self._value: T | None = None
        self._error: Exception | None = None
        self._callbacks: list[Callable[[Outcome[T]], None]] = []

    def result(self) -> T:
        """The value returned, or raises what the conversation raised; only once `done`."""
        if not self.done:
            raise RuntimeError("the conversation is not over")
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # T may itself be None

    def when_done(self, callback: Callable[["Outcome[T]"], None]) -> None:
        """Call back once; at once when already done."""
        if self.done:
            callback(self)
        else:
            self._callbacks.append(callback)

    def finish(self, value: T | None, error: Exception | None) -> None:
        self.done, self._value, self._error = True, value, error
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self)


@dataclass
class _Talk:
    """A conversation under way, and the request it waits with."""

    conversation: Conversation[Any]
    outcome: Outcome[Any]
    request: Body | None = None
    sequence: int = -1


class FrontEnd:
    """Sans-I/O: fed by its bus, asks through its bus. One request per device is outstanding (CRQ-F-9); others wait."""

    def __init__(
        self,
        bus: Bus,
        *,
        revision: int = codec.REVISION,
        ready: Callable[[Terms], None] | None = None,
        config_changed: Callable[[int, int], None] | None = None,
        device_changed: Callable[[int, bool], None] | None = None,
        failed: Callable[[Exception], None] | None = None,
    ) -> None:
        """`ready(terms)`: HELLO is through. `config_changed(device, status)` and
        `device_changed(device, present)`: events. `failed(error)`: HELLO was turned away."""
        self._bus = bus
        self._revision = revision
        self.offers = 0  # transport features that the next HELLO names
        self._ready = ready
        self._config_changed = config_changed
        self._device_changed = device_changed
        self._failed = failed
        self._machine: Machine[FrontState, FrontEvent] = Machine(FRONT_TRANSITIONS, FrontState.CLOSED)
        self._terms: Terms | None = None
        self._last_session = 0
        self._sequence = 0
        self._hello: tuple[codec.Hello, int] | None = None
        self._current: dict[int | None, _Talk] = {}
        self._queued: dict[int | None, deque[_Talk]] = {}
        self.refused: Counter[str] = Counter()

    @property
    def terms(self) -> Terms | None:
        return self._terms

    @property
    def state(self) -> FrontState:
        return self._machine.state

    # The bus's side -------------------------------------------------------------------------------------------------

    def opened(self) -> None:
        """The bus is initialised: HELLO goes out."""
        if self._machine.state is not FrontState.CLOSED:
            self.lost("initialised again")
        self._machine.fire(FrontEvent.OPENED)
        asked = hello(self._bus.limits, self._last_session, self._revision, self.offers)
        self._hello = (asked, self._next_sequence())
        self._bus.send(message_of(asked, 0, token(0, self._sequence)))

    def lost(self, reason: str) -> None:
        """The partner is gone: conversations under way end with PartnerLost."""
        self._machine.fire(FrontEvent.LOST)
        if self._terms is not None:
            self._last_session = self._terms.session
        self._terms = None
        self._hello = None
        talks = [*self._current.values(), *(talk for queue in self._queued.values() for talk in queue)]
        self._current.clear()
        self._queued.clear()
        for talk in talks:
            self._step(talk, error=PartnerLost(reason))

    def receive(self, message: Message) -> bool:
        """Handle one control message; what does not fit the session is counted in `refused` and dropped: False."""
        try:
            if self._machine.state is FrontState.GREETING:
                self._greeting(message)
            elif self._terms is None:
                raise DeviceFault("session-none", f"message {message.msg_id:#04x}")
            else:
                self._dispatch(message, self._terms)
        except DeviceFault as fault:
            self.refused[fault.rule] += 1
            return False
        return True

    # HELLO ----------------------------------------------------------------------------------------------------------

    def _greeting(self, message: Message) -> None:
        assert self._hello is not None
        asked, sequence = self._hello
        body = self._decode(message)
        if message.token != token(0, sequence):
            raise DeviceFault("response-stale", f"token {message.token:#06x} while HELLO is out")
        if isinstance(body, codec.Refused) and body.msg_id == codec.HELLO and body.flags == 1:
            self._turned_away(DriverFault(name_of(body.reason), "the device side refused HELLO"))
            return
        if not isinstance(body, codec.Welcome):
            raise DeviceFault("response-stale", f"{body.NAME} while HELLO is out")
        try:
            check_welcome(body, asked)
        except DeviceFault as fault:
            self.refused[fault.rule] += 1
            self._turned_away(fault)
            return
        self._machine.fire(FrontEvent.WELCOMED)
        self._terms = terms_of(asked, body)
        self._last_session = self._terms.session
        self._bus.agreed(self._terms)
        if self._ready is not None:
            self._ready(self._terms)

    def _turned_away(self, error: VirtioCrqError) -> None:
        self._machine.fire(FrontEvent.TURNED_AWAY)
        if self._failed is not None:
            self._failed(error)

    # Messages of a session ------------------------------------------------------------------------------------------

    def _dispatch(self, message: Message, terms: Terms) -> None:
        if message.session_byte != terms.session & 0xFF:
            raise DeviceFault("session-stale", f"session byte {message.session_byte:#04x}")
        body = self._decode(message)
        if isinstance(body, codec.Refused):
            self._refused(message, body)
        elif message.response:
            self._answered(message, body)
        elif isinstance(body, codec.EventConfig):
            if self._config_changed is not None:
                self._config_changed(message.device, body.status)
        elif isinstance(body, codec.EventDevice):
            self._device_event(body)
        else:
            raise DeviceFault("message-direction", f"{body.NAME} does not come from a device side")

    def _decode(self, message: Message) -> Body:
        try:
            return body_of(message)
        except Malformed as error:
            raise DeviceFault("message-size", str(error)) from error

    def _device_event(self, body: codec.EventDevice) -> None:
        if body.state not in (codec.DeviceBusState.READY, codec.DeviceBusState.REMOVED):
            raise DeviceFault("device-state", f"state {body.state} of device {body.device}")
        if self._device_changed is not None:
            self._device_changed(body.device, body.state == codec.DeviceBusState.READY)

    def _answered(self, message: Message, body: Body) -> None:
        self._continue(None if message.bus else message.device, message, message.msg_id, value=body)

    def _refused(self, message: Message, body: codec.Refused) -> None:
        rule = name_of(body.reason)
        error = DriverFault(rule, f"the device side refused message {body.msg_id:#04x}")
        self._continue(None if body.flags & 1 else message.device, message, body.msg_id, error=error)

    def _continue(
        self, key: int | None, message: Message, msg_id: int, value: Body | None = None, error: Exception | None = None
    ) -> None:
        talk = self._current.get(key)
        if (
            talk is None
            or talk.request is None
            or msg_id != talk.request.MSG_ID
            or talk.sequence != message.sequence
            or (message.bus and message.device != 0)
        ):
            raise DeviceFault("response-stale", f"nobody waits for message {msg_id:#04x} of {key}")
        del self._current[key]
        self._step(talk, value, error)
        self._next_in_line(key)

    # Conversations --------------------------------------------------------------------------------------------------

    def start(self, conversation: Conversation[T]) -> Outcome[T]:
        """Run `conversation` until it needs an answer; it goes on in `receive()`."""
        outcome: Outcome[T] = Outcome()
        self._step(_Talk(conversation, outcome))
        return outcome

    def _step(self, talk: _Talk, value: Body | None = None, error: Exception | None = None) -> None:
        """Give the conversation its answer and send, or queue, what it asks next."""
        try:
            key, request = talk.conversation.send(value) if error is None else talk.conversation.throw(error)
        except StopIteration as stop:
            talk.outcome.finish(stop.value, None)
            return
        except Exception as failure:  # the conversation's own; whoever asks for the result gets it
            talk.outcome.finish(None, failure)
            return
        talk.request = request
        if self._terms is None:
            self._step(talk, error=PartnerLost("no session"))
        elif (key is None) != request.BUS:
            self._step(talk, error=TypeError(f"{request.NAME} for {key}"))
        elif key in self._current:
            self._queued.setdefault(key, deque()).append(talk)
        else:
            self._ask(key, talk)

    def _ask(self, key: int | None, talk: _Talk) -> None:
        assert self._terms is not None
        assert talk.request is not None
        talk.sequence = self._next_sequence()
        self._current[key] = talk
        self._bus.send(message_of(talk.request, key or 0, token(self._terms.session, talk.sequence)))

    def _next_in_line(self, key: int | None) -> None:
        queue = self._queued.get(key)
        if queue and key not in self._current and self._terms is not None:
            self._ask(key, queue.popleft())

    def _next_sequence(self) -> int:
        self._sequence = self._sequence + 1 & 0xFF
        return self._sequence
