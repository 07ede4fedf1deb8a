# SPDX-License-Identifier: Apache-2.0
"""Hostile acts: one row for each clause that says what a device must refuse, stop on or survive.

`stage` is how far a well-behaved client goes before the act; `ends` what the act leads to, apart from being counted.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from intruder import DATA, HEADERS, PAGE, QUEUE_SIZE, SPARE, TABLE, Descriptor, Intruder

from virtio_crq.crq import framing
from virtio_crq.message import codec
from virtio_crq.message.message import Message, token
from virtio_crq.virtio import console, status
from virtio_crq.virtio.deviceid import DeviceId
from virtio_crq.virtio.features import FEATURE_BLOCKS, INDIRECT_DESC, MANDATORY, RING_RESET, feature_set, to_blocks

CONNECTED, SESSION, RUNNING = "connected", "session", "running"
IGNORED, STOPPED, LOST = "ignored", "needs reset", "connection lost"
NEXT, WRITE, INDIRECT = 1, 2, 4
SEGMENTS = 130  # descriptors that a request may have (CRQ-D-69)
UP = status.ACKNOWLEDGE | status.DRIVER | status.FEATURES_OK | status.DRIVER_OK
WITH_INDIRECT = MANDATORY | feature_set(RING_RESET, INDIRECT_DESC)


@dataclass(frozen=True)
class Act:
    rule: str
    clauses: tuple[str, ...]
    stage: str
    ends: str
    do: Callable[[Intruder], None]
    name: str = ""
    features: int = MANDATORY | feature_set(RING_RESET)
    device: int = 0
    queue: int = 0
    pushes: bool = False  # over a session with PUSH
    pairs: bool = False  # and with PAIR, by a client that has sub-CRQs

    def __str__(self) -> str:
        return f"{self.rule}{'-' + self.name if self.name else ''}"


ACTS: list[Act] = []


def act(
    rule: str, *clauses: str, stage: str = SESSION, ends: str = IGNORED, name: str = "", features: int | None = None
) -> Callable[[Callable[[Intruder], None]], Callable[[Intruder], None]]:
    def enter(do: Callable[[Intruder], None]) -> Callable[[Intruder], None]:
        row = Act(rule, clauses, stage, ends, do, name)
        ACTS.append(row if features is None else replace(row, features=features))
        return do

    return enter


def refused(answer: object) -> None:
    assert isinstance(answer, codec.Refused), f"answered with {answer}"


# --- entries and sessions ---


@act("frame", "CRQ-D-2", name="flags")
def reserved_flag(it: Intruder) -> None:
    it.entry(0x80, 0x80, codec.GET_DEVICE_STATUS, 0, 0, 0, it.end.session & 0xFF)


@act("frame", "CRQ-D-2", name="length")
def inline_length(it: Intruder) -> None:
    it.entry(0x80, 0, codec.GET_DEVICE_STATUS, 9, 0, 0, it.end.session & 0xFF)


@act("frame-header", "CRQ-D-3")
def foreign_format(it: Intruder) -> None:
    it.entry(0x81, 0, codec.GET_DEVICE_STATUS)


@act("init-code", "CRQ-D-100", stage=CONNECTED)
def initialization_of_no_kind(it: Intruder) -> None:
    it.entry(0xC0, 3)


@act("init-stale", "CRQ-D-99", stage=CONNECTED)
def completion_that_nobody_asked_for(it: Intruder) -> None:
    it.entry(0xC0, 2, 0, 0, 0, 0, 0, 0, 1)


@act("answer-room", "CRQ-D-101")
def long_answer_without_a_slot(it: Intruder) -> None:
    mark = int(token(it.end.session, 1))
    it.end.transmit(framing.build(Message(codec.GET_DEVICE_INFO, 0, token=mark)))


@act("session-none", "CRQ-D-5", stage=CONNECTED)
def request_before_hello(it: Intruder) -> None:
    it.tell(codec.GetDevices(0, 64))


@act("hello-repeated", "CRQ-D-6")
def second_hello(it: Intruder) -> None:
    refused(it.hello(session=3))
    assert it.status() == 0 or it.status() & status.ACKNOWLEDGE


@act("hello-magic", "CRQ-D-7", stage=CONNECTED)
def wrong_magic(it: Intruder) -> None:
    refused(it.hello(magic=0))


@act("hello-limits", "CRQ-D-8", stage=CONNECTED, name="message")
def small_message(it: Intruder) -> None:
    refused(it.hello(max_message=40))


@act("hello-limits", "CRQ-D-8", stage=CONNECTED, name="ring")
def small_ring(it: Intruder) -> None:
    refused(it.hello(ring_entries=17))


@act("hello-limits", "CRQ-D-8", stage=CONNECTED, name="granularity")
def fine_granularity(it: Intruder) -> None:
    refused(it.hello(copy_granularity=4096))


@act("hello-revision", "CRQ-D-9", stage=CONNECTED)
def another_revision(it: Intruder) -> None:
    assert it.hello(revision=9, lowest_revision=9).revision == 0


@act("session-stale", "CRQ-D-13")
def stale_session(it: Intruder) -> None:
    stale = int(token(it.end.session + 1, 1))
    it.end.transmit(framing.build(codec.message_of(codec.GetDeviceStatus(), 0, stale)))


@act("message-unknown", "CRQ-D-17")
def unknown_message(it: Intruder) -> None:
    it.end.transmit(framing.build(Message(0x3F, 0, token=int(token(it.end.session, 1)))))


@act("message-size", "CRQ-D-18")
def oversized_request(it: Intruder) -> None:
    mark = int(token(it.end.session, 1))
    it.end.transmit(framing.build(Message(codec.GET_DEVICE_STATUS, 0, b"surplus", token=mark)))


@act("message-direction", "CRQ-D-19", name="response")
def response_from_a_driver(it: Intruder) -> None:
    mark = int(token(it.end.session, 1))
    it.end.transmit(framing.build(Message(codec.GET_DEVICE_STATUS, 0, bytes(4), response=True, token=mark)))


@act("message-direction", "CRQ-D-19", name="event")
def device_event_from_a_driver(it: Intruder) -> None:
    mark = int(token(it.end.session, 0))
    it.end.transmit(framing.build(Message(codec.EVENT_DEVICE, 0, bytes(4), bus=True, token=mark)))


@act("device-unknown", "CRQ-D-20")
def no_such_device(it: Intruder) -> None:
    refused(it.ask(codec.GetDeviceStatus(), 77, may_refuse=True))


@act("area-slot", "CRQ-D-21")
def slot_outside_the_area(it: Intruder) -> None:
    message = Message(codec.GET_CONFIG, 0, token=int(token(it.end.session, 1)))
    it.end.transmit(framing.build(message, framing.AreaSlot(999, 8)))


@act("area-copy", "CRQ-D-24", ends=LOST)
def unmapped_area(it: Intruder) -> None:
    it.unmap(it.end.limits.area_address, PAGE)
    message = Message(codec.GET_CONFIG, 0, token=int(token(it.end.session, 1)))
    it.end.transmit(framing.build(message, framing.AreaSlot(0, 8)))


@act("area-copy", "CRQ-D-24", stage=CONNECTED, ends=LOST, name="hello")
def hello_from_nowhere(it: Intruder) -> None:
    message = Message(codec.HELLO, 0, bus=True)
    it.end.transmit(framing.build(message, framing.HelloPlace(it.window - PAGE, 48)))


# --- discovery, negotiation, configuration ---


@act("devices-window", "CRQ-D-44", name="offset")
def uneven_window(it: Intruder) -> None:
    refused(it.ask(codec.GetDevices(4, 8), may_refuse=True))


@act("devices-window", "CRQ-D-44", name="end")
def window_beyond_the_end(it: Intruder) -> None:
    refused(it.ask(codec.GetDevices(65528, 16), may_refuse=True))


@act("feature-block", "CRQ-D-47")
def feature_beyond_128(it: Intruder) -> None:
    it.set_status(0)
    it.set_status(status.ACKNOWLEDGE)
    it.set_status(status.ACKNOWLEDGE | status.DRIVER)
    refused(it.ask(codec.SetDriverFeatures(FEATURE_BLOCKS, 1, (1,)), may_refuse=True))


@act("features-refused", "CRQ-D-48", name="foreign")
def feature_not_offered(it: Intruder) -> None:
    _negotiate_badly(it, MANDATORY | 1 << 99)


@act("features-refused", "CRQ-D-48", name="legacy")
def legacy_driver(it: Intruder) -> None:
    _negotiate_badly(it, 0)


def _negotiate_badly(it: Intruder, features: int) -> None:
    it.set_status(0)
    it.set_status(status.ACKNOWLEDGE)
    it.set_status(status.ACKNOWLEDGE | status.DRIVER)
    it.ask(codec.SetDriverFeatures(0, FEATURE_BLOCKS, to_blocks(features)))
    assert not it.set_status(status.ACKNOWLEDGE | status.DRIVER | status.FEATURES_OK) & status.FEATURES_OK


@act("features-state", "CRQ-D-49", stage=RUNNING)
def late_features(it: Intruder) -> None:
    refused(it.ask(codec.SetDriverFeatures(0, 1, (0,)), may_refuse=True))


@act("status-illegal", "CRQ-D-50")
def leap_to_driver_ok(it: Intruder) -> None:
    it.set_status(0)
    assert it.set_status(UP) == 0


@act("config-range", "CRQ-D-53", name="read")
def read_beyond_configuration(it: Intruder) -> None:
    refused(it.ask(codec.GetConfig(4000, 8), may_refuse=True))


@act("config-range", "CRQ-D-53", name="wrap")
def read_around_configuration(it: Intruder) -> None:
    refused(it.ask(codec.GetConfig(0xFFFF_FFF8, 16), may_refuse=True))


@act("config-state", "CRQ-D-56")
def early_configuration(it: Intruder) -> None:
    it.set_status(0)
    refused(it.ask(codec.SetConfig(0, 32, 1, b"\0"), may_refuse=True))


@act("config-read-only", "CRQ-D-98", stage=RUNNING)
def write_capacity(it: Intruder) -> None:
    refused(it.ask(codec.SetConfig(0, 0, 8, b"\xff" * 8), may_refuse=True))


# --- queues ----------------------------------------------------------------------------------------------------------


def _queue_row(rule: str, clause: str, name: str = "", **changes: int) -> None:
    @act(rule, clause, name=name)
    def bad_queue(it: Intruder) -> None:
        it.negotiate()
        refused(it.ask(it.queue(**changes), may_refuse=True))


_queue_row("queue-unknown", "CRQ-D-57", index=40)
_queue_row("queue-size", "CRQ-D-58", "zero", size=0)
_queue_row("queue-size", "CRQ-D-58", "odd", size=24)
_queue_row("queue-size", "CRQ-D-58", "large", size=1 << 15)
_queue_row("queue-alignment", "CRQ-D-59", "table", descriptors=0x100008)
_queue_row("queue-alignment", "CRQ-D-59", "used", device_area=0x100002)
_queue_row("queue-address", "CRQ-D-60", "window", descriptors=1 << 40)
_queue_row("queue-address", "CRQ-D-60", "wrap", device_area=(1 << 64) - 16)
_queue_row("queue-address", "CRQ-D-60", "overlap", descriptors=0x100000, driver_area=0x100000)
_queue_row("reserved-nonzero", "CRQ-D-66", reserved0=1)


@act("queue-state", "CRQ-D-61", stage=RUNNING)
def queue_enabled_twice(it: Intruder) -> None:
    refused(it.ask(it.queue(), may_refuse=True))


@act("queue-reset", "CRQ-D-62", stage=RUNNING, features=MANDATORY)
def reset_without_the_feature(it: Intruder) -> None:
    refused(it.ask(codec.ResetVqueue(0), may_refuse=True))


@act("ring-budget", "CRQ-D-34", stage=CONNECTED)
def more_queues_than_ring(it: Intruder) -> None:
    it.hello_with(ring_entries=18)
    it.negotiate()
    refused(it.ask(it.queue(), may_refuse=True))


# --- announcements ---


@act("announcement-queue", "CRQ-D-30", name="unknown", stage=RUNNING)
def announce_elsewhere(it: Intruder) -> None:
    it.announce(0, queue=9)


@act("announcement-queue", "CRQ-D-30", name="early")
def announce_early(it: Intruder) -> None:
    it.negotiate()
    it.announce(0)


@act("credit-overrun", "CRQ-D-26", stage=RUNNING, ends=STOPPED)
def announce_without_credit(it: Intruder) -> None:
    it.read_request()
    it.make_available(0)
    with it.server_held():  # or it might give the credit back between the two
        it.announce()
        it.announce()


@act("credit-unowed", "CRQ-D-97", stage=RUNNING, ends=STOPPED)
def credit_never_lent(it: Intruder) -> None:
    it.bring_up()  # no EVENT_USED has come on this queue yet
    it.owed = 1
    it.announce()


@act("avail-overrun", "CRQ-D-29", stage=RUNNING, ends=STOPPED)
def position_beyond_the_queue(it: Intruder) -> None:
    it.make_available(ahead=QUEUE_SIZE + 1)
    it.announce(it.position + QUEUE_SIZE + 1 & 0xFFFF)


# --- rings ---


def _post(it: Intruder, *chain: Descriptor, head: int = 0) -> None:
    it.describe(*chain)
    it.make_available(head)
    it.announce()


def _chain_row(rule: str, clause: str, chain: Callable[[Intruder], list[Descriptor]], name: str = "") -> None:
    @act(rule, clause, stage=RUNNING, ends=STOPPED, name=name)
    def bad_chain(it: Intruder) -> None:
        it.read_request()
        _post(it, *chain(it))


@act("head-range", "CRQ-D-67", stage=RUNNING, ends=STOPPED)
def head_out_of_range(it: Intruder) -> None:
    it.make_available(QUEUE_SIZE)
    it.announce()


@act("head-in-flight", "CRQ-D-68", stage=RUNNING, ends=STOPPED)
def same_head_twice(it: Intruder) -> None:
    it.read_request()
    it.make_available(0, 0)
    it.announce()


def _header(it: Intruder, following: int = 1) -> Descriptor:
    return Descriptor(it.base + HEADERS, 16, NEXT, following)


def _status(it: Intruder) -> Descriptor:
    return Descriptor(it.base + HEADERS + 16, 1, WRITE)


_chain_row("chain-loop", "CRQ-D-69", lambda it: [_header(it), Descriptor(it.base + DATA, 512, NEXT | WRITE, 1)])
_chain_row("chain-loop", "CRQ-D-69", lambda it: [_header(it, 0)], "self")
_chain_row("descriptor-range", "CRQ-D-70", lambda it: [_header(it, QUEUE_SIZE)])
_chain_row(
    "address-wrap",
    "CRQ-D-71",
    lambda it: [_header(it), Descriptor((1 << 64) - 256, 512, NEXT | WRITE, 2), _status(it)],
    "wrap",
)
_chain_row(
    "copy-refused",
    "CRQ-D-71",
    lambda it: [_header(it), Descriptor(it.window - 256, 512, NEXT | WRITE, 2), _status(it)],
    "window",
)
_chain_row(
    "copy-refused",
    "CRQ-D-43",
    lambda it: [_header(it), Descriptor(it.window - PAGE, 512, NEXT | WRITE, 2), _status(it)],
    "unmapped",
)
_chain_row(
    "readable-after-writable",
    "CRQ-D-72",
    lambda it: [_header(it), Descriptor(it.base + DATA, 512, NEXT | WRITE, 2), Descriptor(it.base + DATA, 512)],
)
_chain_row(
    "zero-length",
    "CRQ-D-95",
    lambda it: [_header(it), Descriptor(it.base + DATA, 0, NEXT | WRITE, 2), _status(it)],
)
_chain_row("header-short", "CRQ-D-75", lambda it: [Descriptor(it.base + HEADERS, 8, NEXT, 1), _status(it)], "header")
_chain_row("status-missing", "CRQ-D-75", lambda it: [Descriptor(it.base + HEADERS, 16)], "status")


@act("indirect-refused", "CRQ-D-74", stage=RUNNING, ends=STOPPED)
def indirect_without_the_feature(it: Intruder) -> None:
    _post(it, Descriptor(it.base + DATA, 48, INDIRECT))


def _indirect_row(rule: str, name: str, outer: Callable[[Intruder], Descriptor], inner: int = 0) -> None:
    @act(rule, "CRQ-D-73", stage=RUNNING, ends=STOPPED, name=name, features=WITH_INDIRECT)
    def bad_table(it: Intruder) -> None:
        place = it.memory + DATA
        it.port.store64(place, it.base + HEADERS)
        it.port.store32(place + 8, 16)
        it.port.store16(place + 12, inner)
        it.port.store16(place + 14, 0)
        _post(it, outer(it))


_indirect_row("indirect-size", "empty", lambda it: Descriptor(it.base + DATA, 0, INDIRECT))
_indirect_row("indirect-size", "ragged", lambda it: Descriptor(it.base + DATA, 24, INDIRECT))
_indirect_row("indirect-size", "long", lambda it: Descriptor(it.base + DATA, 16 * (SEGMENTS + 1), INDIRECT))
_indirect_row("indirect-nested", "nested", lambda it: Descriptor(it.base + DATA, 16, INDIRECT), INDIRECT)
_indirect_row("indirect-next", "joined", lambda it: Descriptor(it.base + DATA, 16, INDIRECT | NEXT, 1))


@act("copy-refused", "CRQ-D-43", stage=RUNNING, ends=STOPPED, name="revoked")
def ring_revoked(it: Intruder) -> None:
    it.read_request()
    it.make_available(0)
    it.unmap(it.base + TABLE, PAGE)
    it.announce()


# --- resume with lies ---


def resume_device(it: Intruder, **changes: object) -> codec.DeviceResumed:
    blocks = to_blocks(MANDATORY)
    fields: dict[str, object] = {
        "device_id": int(DeviceId.BLOCK),
        "num_blocks": len(blocks),
        "identity": it.ask(codec.GetIdentity()).identity,
        "features": blocks,
    } | changes
    answer = it.ask(codec.ResumeDevice(**fields))  # type: ignore[arg-type]
    assert isinstance(answer, codec.DeviceResumed)
    return answer


def resume_queue(it: Intruder, **changes: object) -> codec.VqueueResumed:
    good = it.queue()
    fields: dict[str, object] = {
        "index": 0,
        "size": good.size,
        "descriptors": good.descriptors,
        "driver_area": good.driver_area,
        "device_area": good.device_area,
        "avail_position": 0,
        "used_position": 0,
        "num_heads": 0,
        "heads": (),
    } | changes
    answer = it.ask(codec.ResumeVqueue(**fields))  # type: ignore[arg-type]
    assert isinstance(answer, codec.VqueueResumed)
    return answer


@act("resume-state", "CRQ-D-82", stage=RUNNING, ends=STOPPED)
def resume_a_running_device(it: Intruder) -> None:
    assert resume_device(it).outcome


@act("resume-identity", "CRQ-D-82", ends=STOPPED)
def resume_another_disk(it: Intruder) -> None:
    assert resume_device(it, identity=b"not this disk at").outcome


@act("resume-features", "CRQ-D-82", ends=STOPPED)
def resume_with_foreign_features(it: Intruder) -> None:
    assert resume_device(it, features=to_blocks(MANDATORY | 1 << 99)).outcome


@act("resume-queue", "CRQ-D-83", ends=STOPPED)
def resume_a_queue_elsewhere(it: Intruder) -> None:
    assert not resume_device(it).outcome
    assert resume_queue(it, descriptors=1 << 40).outcome


def _positions_row(name: str, **changes: object) -> None:
    @act("resume-positions", "CRQ-D-84", ends=STOPPED, name=name)
    def lie(it: Intruder) -> None:
        assert not resume_device(it).outcome
        assert resume_queue(it, **changes).outcome


_positions_row("count", avail_position=3, num_heads=1, heads=(0,))
_positions_row("range", avail_position=1, num_heads=1, heads=(QUEUE_SIZE,))
_positions_row("repeated", avail_position=2, num_heads=2, heads=(1, 1))
_positions_row("backwards", used_position=1)


# --- a console ---

CONSOLE = 2  # its device number
PORTS = 2
WITH_PORTS = MANDATORY | feature_set(RING_RESET, console.MULTIPORT)


def _console_row(
    rule: str, clause: str, queue: int, chain: Callable[[Intruder], list[Descriptor]], name: str = ""
) -> None:
    def bad_buffer(it: Intruder) -> None:
        it.describe(*chain(it))
        it.make_available(0)
        it.announce(device=CONSOLE, queue=queue)

    ACTS.append(Act(rule, (clause,), RUNNING, STOPPED, bad_buffer, name, WITH_PORTS, CONSOLE, queue))


def _both(it: Intruder) -> list[Descriptor]:
    return [Descriptor(it.base + DATA, 8, NEXT, 1), Descriptor(it.base + DATA, 64, WRITE)]


_console_row("console-readable", "CRQ-D-108", console.RECEIVE, _both)
_console_row("console-readable", "CRQ-D-108", console.CONTROL_RECEIVE, _both, "control")
_console_row("console-writable", "CRQ-D-108", console.TRANSMIT, _both)
_console_row("console-writable", "CRQ-D-108", console.CONTROL_TRANSMIT, _both, "control")
_console_row("console-readable", "CRQ-D-108", console.receive_queue(1), _both, "second-port")


def _control(port: int, event: int, length: int = 8) -> Callable[[Intruder], list[Descriptor]]:
    def message(it: Intruder) -> list[Descriptor]:
        it.port.write(it.memory + DATA, console.Control(port, event, 1).encode())
        return [Descriptor(it.base + DATA, length)]

    return message


_console_row("control-short", "CRQ-D-109", console.CONTROL_TRANSMIT, _control(0, console.Event.DEVICE_READY, 7))
_console_row("control-event", "CRQ-D-109", console.CONTROL_TRANSMIT, _control(0, console.Event.PORT_ADD), "direction")
_console_row("control-event", "CRQ-D-109", console.CONTROL_TRANSMIT, _control(0, 999), "unknown")
_console_row("control-port", "CRQ-D-109", console.CONTROL_TRANSMIT, _control(PORTS, console.Event.PORT_READY), "next")
_console_row("control-port", "CRQ-D-109", console.CONTROL_TRANSMIT, _control(1 << 31, console.Event.PORT_OPEN), "far")
_console_row(
    "copy-refused",
    "CRQ-D-43",
    console.TRANSMIT,
    lambda it: [Descriptor(it.window - PAGE, 8)],
    "console-output",
)


def _small_buffer(it: Intruder) -> None:
    """Four bytes for the messages that DEVICE_READY asks for."""
    table, available, used = (SPARE + page * PAGE for page in range(3))
    it.port.write(it.memory + SPARE, bytes(3 * PAGE))
    mail = console.CONTROL_RECEIVE
    areas = {"descriptors": it.base + table, "driver_area": it.base + available, "device_area": it.base + used}
    it.ask(it.queue(index=mail, **areas), CONSOLE)
    it.port.store64(it.memory + table, it.base + DATA)
    it.port.store32(it.memory + table + 8, 4)
    it.port.store16(it.memory + table + 12, WRITE)
    it.port.release16(it.memory + available + 2, 1)
    it.announce(1, device=CONSOLE, queue=mail)
    it.describe(*_control(0, console.Event.DEVICE_READY)(it))
    it.make_available(0)
    it.announce(device=CONSOLE, queue=console.CONTROL_TRANSMIT)


ACTS.append(
    Act(
        *("control-room", ("CRQ-D-109",), RUNNING, STOPPED, _small_buffer, "", WITH_PORTS),
        *(CONSOLE, console.CONTROL_TRANSMIT),
    )
)


@act("config-read-only", "CRQ-D-107", name="console")
def resize_from_the_driver(it: Intruder) -> None:
    it.negotiate(CONSOLE)
    refused(it.ask(codec.SetConfig(0, 0, 4, b"\xff" * 4), CONSOLE, may_refuse=True))


@act("", "CRQ-D-107", name="emergency")
def emergency_write_before_anything(it: Intruder) -> None:
    it.set_status(0, CONSOLE)
    it.ask(codec.SetConfig(0, console.CONFIG_EMERGENCY_OFFSET, 4, b"!\0\0\0"), CONSOLE)


# --- floods ---


@act("", "CRQ-D-36", "CRQ-D-92", name="flood")
def flood(it: Intruder) -> None:
    for sequence in range(20_000):
        it.entry(0x80, 2, codec.PING, 4, 0, 0, it.end.session & 0xFF, sequence & 0xFF)
