# SPDX-License-Identifier: Apache-2.0
"""Acts against a session's beginning, a device's bring-up and a device's return: answers that contradict."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from virtio_crq.conformance.hostile.act import Outcome, Stage, act
from virtio_crq.conformance.hostile.server import HostileServer
from virtio_crq.message import codec
from virtio_crq.message.layout import Body
from virtio_crq.message.message import Message
from virtio_crq.virtio import features as bits
from virtio_crq.virtio.features import to_blocks

Answer = Callable[[Any], Body | None]


def answering(kind: type[Body], device: int | None, change: Answer) -> Callable[[Message, Body], Body | None]:
    """A twist that changes answers of one kind, of one device or of all."""

    def twist(message: Message, body: Body) -> Body | None:
        if isinstance(body, kind) and device in (None, message.device):
            return change(body)
        return body

    return twist


# --- HELLO ---


def _welcome(name: str, rules: str = "welcome", **change: int) -> None:
    @act(f"welcome-{name}", rules, "CRQ-F-5", Stage.GREETING, Outcome.FAILED)
    def lie(it: HostileServer, device: int) -> None:
        it.twist_body = answering(codec.Welcome, None, lambda body: replace(body, **change))


_welcome("magic", magic=1)
_welcome("revision", revision=2)
_welcome("revision-none", "hello-revision welcome", revision=0)
_welcome("feature", features=1 << 63)
_welcome("session-zero", session=0)
_welcome("session-low-byte", session=0x100)
_welcome("message-small", max_message=263)
_welcome("message-large", max_message=1 << 20)
_welcome("ring", ring_entries=3)
_welcome("granularity", copy_granularity=1)
_welcome("copy-most", copy_max=0)


@act("welcome-session-lost", "welcome", "CRQ-F-5", Stage.GREETING, Outcome.FAILED)
def the_lost_session_again(it: HostileServer, device: int) -> None:
    lost = it.end.session
    it.twist_body = answering(codec.Welcome, None, lambda body: replace(body, session=lost))


@act("hello-refused", "", "CRQ-F-4", Stage.GREETING, Outcome.FAILED)
def hello_refused(it: HostileServer, device: int) -> None:
    refused = codec.Refused(codec.HELLO, 1, 9)
    it.twist_body = answering(codec.Welcome, None, lambda body: refused)


@act("hello-unanswered", "", "CRQ-F-4", Stage.GREETING, Outcome.FAILED)
def hello_without_an_answer(it: HostileServer, device: int) -> None:
    it.twist_body = answering(codec.Welcome, None, lambda body: None)


@act("welcome-elsewhere", "response-stale area-slot", "CRQ-F-8", Stage.GREETING)
def welcome_at_another_place(it: HostileServer, device: int) -> None:
    def twist(entry: bytes) -> tuple[bytes, ...]:
        if entry[1] == 0x0B and entry[2] == codec.HELLO:
            return bytes(entry[:8]) + b"\0\0\0\x7f" + entry[12:], entry
        return (entry,)

    it.twist_entry = twist


@act("welcome-short", "message-size welcome", "CRQ-F-10", Stage.GREETING, Outcome.FAILED)
def welcome_cut_short(it: HostileServer, device: int) -> None:
    def twist(entry: bytes) -> tuple[bytes, ...]:
        if entry[1] == 0x0B and entry[2] == codec.HELLO:
            return bytes(entry[:12]) + b"\x08\0" + entry[14:], entry
        return (entry,)

    it.twist_entry = twist


# --- the list of devices ---


def _devices(name: str, change: Answer) -> None:
    @act(f"devices-{name}", "devices-window message-size", "CRQ-F-40", Stage.GREETING, Outcome.FAILED)
    def lie(it: HostileServer, device: int) -> None:
        it.twist_body = answering(codec.Devices, None, change)


_devices("offset", lambda body: replace(body, offset=8))
_devices("bitmap-short", lambda body: replace(body, bitmap=body.bitmap[:-1]))
_devices("next-odd", lambda body: replace(body, next_offset=4))
_devices("next-backwards", lambda body: replace(body, next_offset=8))


# --- bring-up ---


def _bring_up(
    name: str, rules: str, clauses: str, kind: type[Body], change: Answer, outcome: Outcome = Outcome.STOPPED
) -> None:
    @act(f"bring-up-{name}", rules, clauses, Stage.BRING_UP, outcome)
    def lie(it: HostileServer, device: int) -> None:
        it.twist_body = answering(kind, device, change)


def _without(bit: int) -> Answer:
    def change(body: codec.DeviceFeatures) -> Body:
        offered = bits.from_blocks(body.features, body.block_index) & ~(1 << bit)
        return replace(body, features=to_blocks(offered)[body.block_index :][: body.num_blocks])

    return change


_bring_up("version-1", "features-mandatory", "CRQ-F-22", codec.DeviceFeatures, _without(bits.VERSION_1))
_bring_up("access-platform", "features-mandatory", "CRQ-F-22", codec.DeviceFeatures, _without(bits.ACCESS_PLATFORM))
_bring_up(
    "features-block",
    "feature-block",
    "CRQ-F-40",
    codec.DeviceFeatures,
    lambda body: replace(body, block_index=body.block_index + 1),
)
_bring_up(
    "features-few",
    "feature-block message-size",
    "CRQ-F-40",
    codec.DeviceFeatures,
    lambda body: replace(body, num_blocks=0, features=()),
)
_bring_up(
    "queues-most", "queue-count", "CRQ-F-40", codec.DeviceInfo, lambda body: replace(body, max_virtqueues=0xFFFFFFFF)
)


@act("bring-up-queues-none", "queue-missing", "CRQ-F-40", Stage.BRING_UP, Outcome.STOPPED, type_counts=True)
def device_without_queues(it: HostileServer, device: int) -> None:
    it.twist_body = answering(codec.DeviceInfo, device, lambda body: replace(body, max_virtqueues=0))


_bring_up("queue-index", "queue-size", "CRQ-F-40", codec.Vqueue, lambda body: replace(body, index=body.index + 1))
for _size in (0, 3, 0x10000, 0xFFFFFFFF):

    def _sized(body: codec.Vqueue, size: int = _size) -> Body:
        return replace(body, max_size=size)

    _bring_up(f"queue-size-{_size:x}", "queue-size", "CRQ-F-40", codec.Vqueue, _sized)
_bring_up(
    "config-offset", "config-answer", "CRQ-F-40", codec.Config, lambda body: replace(body, offset=body.offset + 1)
)
_bring_up(
    "config-short",
    "config-answer message-size",
    "CRQ-F-40",
    codec.Config,
    lambda body: replace(body, length=body.length - 1, data=body.data[:-1]),
)
_bring_up(
    "config-long",
    "config-answer message-size",
    "CRQ-F-40",
    codec.Config,
    lambda body: replace(body, length=body.length + 8, data=body.data + bytes(8)),
)
_bring_up("status", "status-answer", "CRQ-F-24", codec.StatusSet, lambda body: replace(body, status=body.status ^ 0x80))


@act("bring-up-features-ok", "status-answer", "CRQ-F-24", Stage.BRING_UP, Outcome.STOPPED)
def features_not_accepted(it: HostileServer, device: int) -> None:
    it.twist_body = answering(codec.StatusSet, device, lambda body: replace(body, status=body.status & ~8))


@act("bring-up-no-reset", "status-answer", "CRQ-F-40", Stage.BRING_UP, Outcome.STOPPED)
def reset_that_is_none(it: HostileServer, device: int) -> None:
    it.twist_body = answering(codec.StatusSet, device, lambda body: replace(body, status=body.status or 15))


def _refusing(name: str, kind: type[Body], msg_id: int, rules: str) -> None:
    """Refusing a device's requests is no breach by itself: the device cannot be used, the others can."""
    _bring_up(f"refused-{name}", rules, "CRQ-F-40", kind, lambda body: codec.Refused(msg_id, 0, 20))


_refusing("info", codec.DeviceInfo, codec.GET_DEVICE_INFO, "")
_refusing("features", codec.DriverFeaturesSet, codec.SET_DRIVER_FEATURES, "")
_refusing("queue", codec.VqueueSet, codec.SET_VQUEUE, "")


def _odd(name: str, kind: type[Body], change: Answer) -> None:
    _bring_up(f"odd-{name}", "", "CRQ-F-40", kind, change, Outcome.SURVIVED)


_odd("type", codec.DeviceInfo, lambda body: replace(body, device_id=0xFFFFFFFF))
_odd("type-none", codec.DeviceInfo, lambda body: replace(body, device_id=0))
_odd("config-size", codec.DeviceInfo, lambda body: replace(body, config_size=0xFFFFFFFF))
_odd("feature-bits", codec.DeviceInfo, lambda body: replace(body, num_feature_bits=0xFFFFFFFF))
_odd("admin-queues", codec.DeviceInfo, lambda body: replace(body, admin_vq_start=0xFFFF, admin_vq_count=0xFFFF))
_odd(
    "all-features",
    codec.DeviceFeatures,
    lambda body: replace(body, features=(0xFFFFFFFF,) * body.num_blocks),
)
_odd("config-ones", codec.Config, lambda body: replace(body, data=b"\xff" * body.length))
_odd("config-zero", codec.Config, lambda body: replace(body, data=bytes(body.length)))


@act("bring-up-generation", "", "CRQ-F-26", Stage.BRING_UP, Outcome.SURVIVED)
def configuration_that_never_stands_still(it: HostileServer, device: int) -> None:
    numbers = iter(range(1, 1 << 32))
    it.twist_body = answering(codec.Config, device, lambda body: replace(body, generation=next(numbers)))


# --- return ---


def _returning(name: str, rules: str, kind: type[Body], change: Answer, clauses: str = "CRQ-F-34") -> None:
    @act(f"resume-{name}", rules, clauses, Stage.RESUMING, Outcome.STOPPED, held=2)
    def lie(it: HostileServer, device: int) -> None:
        it.twist_body = answering(kind, device, change)


_NEEDS_RESET = 0x40
for _outcome in (1, 2, 3):
    _name = codec.ResumeOutcome(_outcome).name.lower()

    def _denied(body: codec.DeviceResumed, outcome: int = _outcome) -> Body:
        return codec.DeviceResumed(_NEEDS_RESET, outcome)

    _returning(_name, f"resume-{_name}", codec.DeviceResumed, _denied)
_returning(
    "undefined",
    "resume-other",
    codec.DeviceResumed,
    lambda body: codec.DeviceResumed(body.status, 0xFFFFFFFF),
)
_returning("queue", "resume-queue", codec.VqueueResumed, lambda body: codec.VqueueResumed(_NEEDS_RESET, 4))
_returning(
    "positions",
    "resume-positions",
    codec.VqueueResumed,
    lambda body: codec.VqueueResumed(_NEEDS_RESET, 5),
)
_returning("status", "status-answer", codec.StatusSet, lambda body: codec.StatusSet(0), "CRQ-F-40")
_returning("refused", "", codec.DeviceResumed, lambda body: codec.Refused(codec.RESUME_DEVICE, 0, 1))


@act("resume-missing", "device-missing", "CRQ-F-41", Stage.RESUMING, Outcome.STOPPED, held=2)
def device_that_does_not_come_back(it: HostileServer, device: int) -> None:
    it.unplug(device, quietly=True)
