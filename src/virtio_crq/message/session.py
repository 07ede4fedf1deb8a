# SPDX-License-Identifier: Apache-2.0
"""The session machines of both halves as tables, and the terms that HELLO agrees."""

from enum import Enum

from virtio_crq.errors import DeviceFault, DriverFault
from virtio_crq.message.bus import BusLimits, Terms
from virtio_crq.message.codec import HELLO_MAGIC, MAX_MESSAGE_MIN, REVISION, Hello, Welcome
from virtio_crq.message.message import SessionNumber

RING_ENTRIES_MIN = 18  # 2 x 0 queues + 1 device + 16, and one for HELLO itself
PUSH = 1 << 0  # transport feature: every queue of the session is pushed (CRQ-D-140)
PAIR = 1 << 1  # transport feature: pushed queues may be paired with side queues (CRQ-D-160)
TRANSPORT_FEATURES = PUSH | PAIR  # all that revision 1 defines


class BackState(Enum):
    CLOSED = "Closed"
    OPEN = "Open"
    SETTLING = "Settling"
    ACTIVE = "Active"


class BackEvent(Enum):
    OPENED = "connection initialised"
    HELLO_REFUSED = "HELLO refused"
    HELLO_HELD = "HELLO, old copies still run"
    HELLO_ACCEPTED = "HELLO"
    SETTLED = "old copies ended"
    LOST = "loss or reset"


BACK_TRANSITIONS: dict[tuple[BackState, BackEvent], BackState] = {
    (BackState.CLOSED, BackEvent.OPENED): BackState.OPEN,
    (BackState.OPEN, BackEvent.HELLO_REFUSED): BackState.OPEN,
    (BackState.OPEN, BackEvent.HELLO_HELD): BackState.SETTLING,
    (BackState.OPEN, BackEvent.HELLO_ACCEPTED): BackState.ACTIVE,
    (BackState.SETTLING, BackEvent.SETTLED): BackState.ACTIVE,
    **{(state, BackEvent.LOST): BackState.CLOSED for state in BackState},
}


class FrontState(Enum):
    CLOSED = "Closed"
    GREETING = "Greeting"
    ACTIVE = "Active"
    UNUSABLE = "Unusable"


class FrontEvent(Enum):
    OPENED = "connection initialised, HELLO sent"
    WELCOMED = "answer accepted"
    TURNED_AWAY = "refused, or answer not acceptable"
    LOST = "loss or reset"


FRONT_TRANSITIONS: dict[tuple[FrontState, FrontEvent], FrontState] = {
    (FrontState.CLOSED, FrontEvent.OPENED): FrontState.GREETING,
    (FrontState.GREETING, FrontEvent.WELCOMED): FrontState.ACTIVE,
    (FrontState.GREETING, FrontEvent.TURNED_AWAY): FrontState.UNUSABLE,
    **{(state, FrontEvent.LOST): FrontState.CLOSED for state in FrontState},
}


def hello(limits: BusLimits, lost_session: int, revision: int = REVISION, features: int = 0) -> Hello:
    """What a front-end says first."""
    return Hello(
        magic=HELLO_MAGIC,
        revision=revision,
        lowest_revision=min(revision, REVISION),
        features=features,
        session=lost_session,
        max_message=limits.max_message,
        ring_entries=limits.ring_entries,
        max_devices=0xFFFF,
        copy_granularity=limits.copy_granularity,
        area_address=limits.area_address,
        area_slots=limits.area_slots,
        area_slot_size=limits.area_slot_size,
    )


def check_hello(asked: Hello, limits: BusLimits) -> None:
    """Raises `DriverFault` for a HELLO that cannot open a session of any revision."""
    if asked.magic != HELLO_MAGIC or asked.reserved:
        raise DriverFault("hello-magic", f"magic {asked.magic:#x}, reserved {asked.reserved:#x}")
    agreed = min(asked.max_message, limits.max_message)
    if (
        asked.max_message < MAX_MESSAGE_MIN
        or asked.ring_entries < RING_ENTRIES_MIN
        or asked.copy_granularity > limits.copy_granularity
        or (asked.area_slots and asked.area_slot_size < agreed - 8)
    ):
        raise DriverFault(
            "hello-limits",
            f"message {asked.max_message}, ring {asked.ring_entries}, granularity {asked.copy_granularity}, "
            f"slots {asked.area_slots} of {asked.area_slot_size}",
        )


def choose_revision(asked: Hello, highest: int = REVISION, lowest: int = REVISION) -> int:
    """The highest revision in both ranges, 0 for none."""
    revision = min(asked.revision, highest)
    return revision if revision >= max(asked.lowest_revision, lowest) else 0


def next_session(last: int, lost: int) -> SessionNumber:
    """A number whose low byte is neither 0 nor that of the session the front-end lost."""
    number = last + 1 & 0xFFFF_FFFF
    while number & 0xFF == 0 or number & 0xFF == lost & 0xFF:
        number = number + 1 & 0xFFFF_FFFF
    return SessionNumber(number)


def welcome(
    asked: Hello, limits: BusLimits, session: int, revision: int, highest: int = REVISION, features: int = 0
) -> Welcome:
    """What a device side answers."""
    return Welcome(
        magic=HELLO_MAGIC,
        revision=revision,
        highest_revision=highest,
        features=asked.features & features,
        session=session,
        max_message=min(asked.max_message, limits.max_message),
        ring_entries=limits.ring_entries,
        max_devices=asked.max_devices,
        copy_granularity=limits.copy_granularity,
        copy_max=limits.copy_max,
    )


def check_welcome(answer: Welcome, asked: Hello) -> None:
    """Raises `DeviceFault` for an answer that a front-end must not build on (CRQ-F-5)."""
    if answer.magic != HELLO_MAGIC:
        raise DeviceFault("welcome", f"magic {answer.magic:#x}")
    if answer.revision == 0:
        raise DeviceFault(
            "hello-revision",
            f"the device side speaks revisions up to {answer.highest_revision}, "
            f"this front-end {asked.lowest_revision} to {asked.revision}",
        )
    low = answer.session & 0xFF
    if (
        not asked.lowest_revision <= answer.revision <= asked.revision
        or answer.features & ~asked.features
        or low == 0
        or low == asked.session & 0xFF
        or not MAX_MESSAGE_MIN <= answer.max_message <= asked.max_message
        or answer.copy_granularity < asked.copy_granularity
        or answer.ring_entries < RING_ENTRIES_MIN
        or answer.copy_max == 0
    ):
        raise DeviceFault("welcome", f"{answer}")


def terms_of(asked: Hello, answer: Welcome) -> Terms:
    """What both sides hold to from here on."""
    return Terms(
        session=SessionNumber(answer.session),
        revision=answer.revision,
        features=answer.features,
        max_message=answer.max_message,
        ring_entries=min(asked.ring_entries, answer.ring_entries),
        max_devices=min(asked.max_devices, answer.max_devices),
        copy_granularity=answer.copy_granularity,
        copy_max=answer.copy_max,
        area_address=asked.area_address,
        area_slots=asked.area_slots,
        area_slot_size=asked.area_slot_size,
    )
