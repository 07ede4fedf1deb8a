# SPDX-License-Identifier: Apache-2.0
"""Acts by single entries in a running session: framing, stale and unasked messages, wrong directions, floods."""

from collections.abc import Callable, Iterable
from struct import pack

from virtio_crq.conformance.hostile.act import Do, Outcome, Stage, act
from virtio_crq.conformance.hostile.server import HostileServer
from virtio_crq.crq import framing
from virtio_crq.crq.framing import RESPONSE_BIT, AreaSlot
from virtio_crq.message import codec
from virtio_crq.message.message import Message, token

FLOOD = 3000
STORM = 300
NOWHERE = 4711  # a device that is not there


def _entry(name: str, rules: str, clauses: str, *raw: int) -> None:
    """Bytes 0 to 5 and 7 to 15 of an entry; byte 6 is the session's."""

    @act(name, rules, clauses)
    def single(it: HostileServer, device: int) -> None:
        data = bytearray(bytes(raw).ljust(16, b"\0"))
        data[6] = it.end.session & 0xFF
        it.raw(bytes(data))


_PONG = (0x80, 3, codec.PING)
_entry("frame-flags", "frame", "CRQ-F-2", 0x80, 0x83, codec.PING, 4)
_entry("frame-form", "frame", "CRQ-F-2", 0x80, 0x0C, codec.GET_CONFIG)
_entry("frame-length", "frame", "CRQ-F-2", *_PONG, 9)
_entry("frame-length-most", "frame", "CRQ-F-2", *_PONG, 255)
_entry("frame-padding", "frame", "CRQ-F-2", *_PONG, 4, 0, 0, 0, 0, 1, 0, 0, 0, 0xFF)
_entry("frame-area-reserved", "frame", "CRQ-F-2", 0x80, 5, codec.GET_CONFIG, 0, 0, 0, 0, 0, 0, 0, 8, 0, 1)
_entry("frame-area-inline", "frame", "CRQ-F-2", 0x80, 5, codec.GET_CONFIG, 4)
_entry("frame-event-in-area", "frame", "CRQ-F-2", 0x80, 4, codec.EVENT_CONFIG)
_entry("frame-event-response", "frame", "CRQ-F-2", 0x80, 1, codec.EVENT_CONFIG, 8)
_entry("frame-hello-body", "frame", "CRQ-F-2", 0x80, 9, codec.GET_CONFIG, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8)
_entry("frame-hello-long", "frame response-stale", "CRQ-F-2", 0x80, 11, codec.HELLO, 0, 0, 0, 0, 0, 0, 0, 0, 0, 200)
_entry("frame-used-flags", "frame message-direction", "CRQ-F-2", 0x80, 0, codec.EVENT_USED, 8, 0, 0, 0, 2)
_entry("header-unknown", "frame-header", "CRQ-F-2", 0x81, 0, codec.EVENT_CONFIG)
_entry("header-most", "frame-header", "CRQ-F-2", 0xFE, 0xFF, 0xFF, 0xFF)
_entry("init-code", "init-code", "CRQ-F-38", 0xC0, 3)
_entry("init-stale", "init-stale", "CRQ-F-37", 0xC0, 2, 0, 0, 0, 0, 0, 0, 1, 2, 3)


@act("leave-and-return", "", "CRQ-F-29 CRQ-F-32 CRQ-F-33", outcome=Outcome.RESTARTED, held=2)
def leave_and_return(it: HostileServer, device: int) -> None:
    """Nothing hostile: what the other acts are held against."""
    it.bounce()


# --- messages nobody asked for ---


def _message(name: str, rules: str, clauses: str, message: Message) -> None:
    @act(name, rules, clauses)
    def single(it: HostileServer, device: int) -> None:
        it.message(message.msg_id, message.payload, device, response=message.response, bus=message.bus)


_CONFIG = codec.EventConfig(0, 1)
_message("answer-unasked", "response-stale", "CRQ-F-8", Message(codec.GET_DEVICE_STATUS, 0, bytes(4), response=True))
_message("refusal-unasked", "response-stale", "CRQ-F-8", Message(codec.REFUSED, 0, pack("<HHI", 5, 0, 1)))
_message(
    "answer-unknown",
    "message-size message-unknown message-direction response-stale",
    "CRQ-F-10",
    Message(0x3F, 0, response=True),
)
_message("event-unknown", "message-size message-unknown message-direction", "CRQ-F-10", Message(0x7D, 0, bytes(8)))
_message("event-c0", "message-size message-unknown message-direction", "CRQ-F-10", Message(0xC0, 0, bytes(8)))
_message("event-c2", "message-size message-unknown message-direction", "CRQ-F-10", Message(0xC2, 0, bytes(8)))
_message("event-config-short", "message-size", "CRQ-F-10", Message(codec.EVENT_CONFIG, 0, bytes(4)))
_message("event-used-short", "message-size message-direction", "CRQ-F-10", Message(codec.EVENT_USED, 0, bytes(4)))
_message(
    "event-used-wide",
    "message-size message-direction",
    "CRQ-F-10",
    Message(codec.EVENT_USED, 0, pack("<II", 0, 0x10000)),
)
_message("refusal-short", "message-size", "CRQ-F-10", Message(codec.REFUSED, 0, bytes(3)))
_message("request-info", "message-direction", "CRQ-F-10", Message(codec.GET_DEVICE_INFO, 0))
_message("request-reset", "message-direction", "CRQ-F-10", Message(codec.SET_DEVICE_STATUS, 0, bytes(4)))
_message("event-avail", "message-direction", "CRQ-F-10", Message(codec.EVENT_AVAIL, 0, bytes(8)))


def _bus_message(name: str, rules: str, clauses: str, msg_id: int, payload: bytes, response: bool = False) -> None:
    @act(name, rules, clauses)
    def single(it: HostileServer, device: int) -> None:
        it.message(msg_id, payload, bus=True, response=response)


_bus_message("pong-unasked", "response-stale", "CRQ-F-8", codec.PING, bytes(4), response=True)
_bus_message("bus-event-c1", "message-size message-unknown message-direction", "CRQ-F-10", 0xC1, bytes(8))
_bus_message("request-devices", "message-direction", "CRQ-F-10", codec.GET_DEVICES, bytes(4))
_bus_message("event-device-short", "message-size", "CRQ-F-10", codec.EVENT_DEVICE, bytes(2))
_bus_message("device-state", "device-state", "CRQ-F-40", codec.EVENT_DEVICE, pack("<HH", 1, 77))
_bus_message("device-gone-unknown", "", "CRQ-F-41", codec.EVENT_DEVICE, pack("<HH", NOWHERE, 2))
_bus_message("device-gone-twice", "", "CRQ-F-41", codec.EVENT_DEVICE, pack("<HH", 0xFFFF, 2))


@act("credit-which", "message-size message-direction", "CRQ-F-10")
def credit_for_what(it: HostileServer, device: int) -> None:
    it.message(codec.CREDIT, pack("<II", 0, 7), device, bus=True, token=token(it.end.session, 1))


@act("credit-direction", "message-direction", "CRQ-F-10")
def credit_the_wrong_way(it: HostileServer, device: int) -> None:
    it.message(codec.CREDIT, pack("<II", 0, codec.CREDIT_USED), device, bus=True, token=token(it.end.session, 1))


@act("config-unknown-device", "", "CRQ-F-40")
def configuration_of_nobody(it: HostileServer, device: int) -> None:
    it.say(_CONFIG, NOWHERE)


# --- other sessions ---


@act("session-stale-answer", "session-stale", "CRQ-F-7")
def answer_of_another_session(it: HostileServer, device: int) -> None:
    it.message(codec.PING, bytes(4), bus=True, response=True, token=token(it.end.session + 1, 1))


@act("session-stale-zero", "session-stale", "CRQ-F-7")
def message_of_no_session(it: HostileServer, device: int) -> None:
    it.say(_CONFIG, device, session=0)


@act("session-stale-used", "session-stale", "CRQ-F-7", held=1)
def announcement_of_another_session(it: HostileServer, device: int) -> None:
    it.say(codec.EventUsed(0, 1), device, session=it.end.session + 1)


@act("session-stale-removal", "session-stale", "CRQ-F-7")
def removal_of_another_session(it: HostileServer, device: int) -> None:
    it.say(codec.EventDevice(device, codec.DeviceBusState.REMOVED), session=it.end.session - 1)


# --- announcements for what there is not ---


def _announcement(name: str, device: int | None, queue: int) -> None:
    @act(f"announcement-{name}", "announcement-queue", "CRQ-F-39")
    def elsewhere(it: HostileServer, own: int) -> None:
        it.say(codec.EventUsed(queue, 1), own if device is None else device)


_announcement("device", NOWHERE, 0)
_announcement("device-most", 0xFFFF, 0)
_announcement("queue", None, 5)
_announcement("queue-most", None, 0xFFFFFFFF)


@act("credit-queue", "announcement-queue", "CRQ-F-39")
def credit_elsewhere(it: HostileServer, device: int) -> None:
    it.message(codec.CREDIT, pack("<II", 9, codec.CREDIT_AVAIL), device, bus=True, token=token(it.end.session, 1))


# --- answers that are asked for, and what is added to them ---


Change = Callable[[bytearray], Iterable[bytes]]


def _answer(name: str, rules: str, clauses: str) -> Callable[[Change], Do]:
    """The configuration is asked for; the decorated function makes entries out of the answer's."""

    def enter(change: Change) -> Do:
        @act(name, rules, clauses)
        def spoil(it: HostileServer, device: int) -> None:
            def twist(entry: bytes) -> Iterable[bytes]:
                answers = entry[0] == 0x80 and entry[1] & RESPONSE_BIT and entry[2] == codec.GET_CONFIG
                return change(bytearray(entry)) if answers else (entry,)

            it.twist_entry = twist
            it.config_changed(device)

        return spoil

    return enter


def _changed(entry: bytearray, place: int, value: int) -> bytes:
    return bytes(entry[:place]) + bytes([entry[place] ^ value]) + bytes(entry[place + 1 :])


def _spoiled(name: str, rules: str, clauses: str, place: int, value: int) -> None:
    """A byte of the answer is wrong; the right one follows."""
    _answer(name, rules, clauses)(lambda entry: (_changed(entry, place, value), bytes(entry)))


_spoiled("answer-sequence", "response-stale", "CRQ-F-8", 7, 0x10)
_spoiled("answer-device", "response-stale", "CRQ-F-8", 5, 0x40)
_spoiled("answer-identifier", "response-stale message-size", "CRQ-F-8", 2, codec.GET_CONFIG ^ codec.SET_CONFIG)
_spoiled("answer-session", "session-stale", "CRQ-F-7", 6, 0x80)
_spoiled("answer-slot", "response-stale area-slot", "CRQ-F-8 CRQ-F-12", 8, 0x02)
_spoiled("answer-slot-outside", "response-stale area-slot", "CRQ-F-8 CRQ-F-12", 9, 0x40)
_spoiled("answer-long", "area-slot message-size", "CRQ-F-10", 11, 0x40)
_answer("answer-twice", "response-stale", "CRQ-F-8")(lambda entry: (bytes(entry), bytes(entry)))


@act("answer-slot-unused", "response-stale", "CRQ-F-8 CRQ-F-12")
def answer_in_a_slot_nobody_uses(it: HostileServer, device: int) -> None:
    message = Message(codec.GET_CONFIG, device, response=True, token=int(token(it.end.session, 9)))
    it.raw(framing.build(message, AreaSlot(0, 64)))


# --- floods and storms ---


def _flood(name: str, rules: str, clauses: str, outcome: Outcome = Outcome.IGNORED) -> Callable[[Do], Do]:
    def enter(once: Do) -> Do:
        @act(name, rules, clauses, outcome=outcome)
        def many(it: HostileServer, device: int) -> None:
            for _ in range(FLOOD):
                once(it, device)

        return many

    return enter


@_flood("flood-answers", "response-stale", "CRQ-F-8")
def unasked_answers(it: HostileServer, device: int) -> None:
    it.message(codec.PING, bytes(4), bus=True, response=True)


@_flood("flood-garbage", "frame", "CRQ-F-2")
def garbage(it: HostileServer, device: int) -> None:
    it.raw(b"\x80" + b"\xff" * 15)


@act("storm-config", "", "CRQ-F-40")
def configuration_storm(it: HostileServer, device: int) -> None:
    for generation in range(STORM):
        it.say(codec.EventConfig(0, generation), device)


@act("storm-initialization", "", "CRQ-F-37", outcome=Outcome.RESTARTED, held=1)
def initialization_storm(it: HostileServer, device: int) -> None:
    for number in range(40):
        it.raw(b"\xc0\x01" + bytes(6) + number.to_bytes(7, "big") + b"\1")
    it.bounce()


@act("storm-arrivals", "", "CRQ-F-40", outcome=Outcome.SURVIVED)
def arrivals_of_nobody(it: HostileServer, device: int) -> None:
    for number in range(0xFFFF, 0xFFFF - STORM, -1):
        it.say(codec.EventDevice(number, codec.DeviceBusState.READY))


@act("early-messages", "session-none response-stale session-stale", "CRQ-F-4", Stage.GREETING)
def messages_before_initialization(it: HostileServer, device: int) -> None:
    def prelude() -> None:
        it.prelude = None
        it.say(_CONFIG, device, session=1)
        it.say(codec.EventUsed(0, 1), device, session=1)
        it.message(codec.PING, bytes(4), bus=True, response=True, token=1)

    it.prelude = prelude
