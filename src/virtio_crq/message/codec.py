# SPDX-License-Identifier: Apache-2.0
"""Every message's payload, as tables. Standard ids and layouts follow virtio-msg draft v31; ours are 0x80 and above.

To follow a newer draft, change the class of the message: its annotations are the wire layout (see `layout`), and the
tables of docs/spec/virtio-over-crq.md are generated from here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, TypeVar

from virtio_crq.message.layout import U16, U32, U64, Body, Identity, Malformed, Tail
from virtio_crq.message.message import HEADER_SIZE, Message

# Transport requests.
GET_DEVICE_INFO = 0x02
GET_DEVICE_FEATURES = 0x03
SET_DRIVER_FEATURES = 0x04
GET_CONFIG = 0x05
SET_CONFIG = 0x06
GET_DEVICE_STATUS = 0x07
SET_DEVICE_STATUS = 0x08
GET_VQUEUE = 0x09
SET_VQUEUE = 0x0A
RESET_VQUEUE = 0x0B
GET_SHM = 0x0C
RESUME_DEVICE = 0x80
RESUME_VQUEUE = 0x81
GET_IDENTITY = 0x82
PAIR_VQUEUE = 0x83
# Transport events.
EVENT_CONFIG = 0x40
EVENT_AVAIL = 0x41
EVENT_USED = 0x42
REFUSED = 0xC1
# Bus requests and events.
GET_DEVICES = 0x02
PING = 0x03
HELLO = 0x80
EVENT_DEVICE = 0x40
CREDIT = 0xC0

MAX_MESSAGE_MIN = 264  # header and payload; every layout but RESUME_VQUEUE fits, configuration goes in pieces
CONFIG_PIECE = MAX_MESSAGE_MIN - 20  # configuration bytes that one message always has room for

HELLO_MAGIC = 0x5143_5256  # "VRCQ" as bytes
REVISION = 1

CREDIT_AVAIL = 0  # `which` of CREDIT: the right to send EVENT_AVAIL on the queue
CREDIT_USED = 1  # the right to send EVENT_USED


class DeviceBusState(IntEnum):
    READY = 1
    REMOVED = 2


class ResumeOutcome(IntEnum):
    """Why a device would not carry on; anything but ACCEPTED comes with DEVICE_NEEDS_RESET."""

    ACCEPTED = 0
    IDENTITY = 1  # another device behind the number
    FEATURES = 2  # a negotiated feature is no longer offered
    STATE = 3  # not freshly reset, or the device itself needs a reset
    QUEUE = 4  # the queue is absent, smaller, or its areas are not acceptable
    POSITIONS = 5  # positions and in-flight list contradict each other
    PUSH = 6  # the queue was set up with the other answer to PUSH


LAYOUTS: dict[tuple[bool, int, bool], type[Body]] = {}
_Class = TypeVar("_Class", bound=type[Body])


def _row(name: str, msg_id: int, *, bus: bool = False, response: bool = False) -> Callable[[_Class], _Class]:
    """Put a body into the table under (bus, id, response)."""

    def enter(body: _Class) -> _Class:
        body.NAME, body.MSG_ID, body.BUS, body.RESPONSE = name, msg_id, bus, response
        LAYOUTS[bus, msg_id, response] = body
        return body

    return enter


# --- transport requests and their responses


@_row("GET_DEVICE_INFO", GET_DEVICE_INFO)
@dataclass(frozen=True)
class GetDeviceInfo(Body):
    pass


@_row("GET_DEVICE_INFO", GET_DEVICE_INFO, response=True)
@dataclass(frozen=True)
class DeviceInfo(Body):
    device_id: U32
    vendor_id: U32
    num_feature_bits: U32
    config_size: U32
    max_virtqueues: U32
    admin_vq_start: U16 = 0
    admin_vq_count: U16 = 0


@_row("GET_DEVICE_FEATURES", GET_DEVICE_FEATURES)
@dataclass(frozen=True)
class GetDeviceFeatures(Body):
    block_index: U32
    num_blocks: U32


@_row("GET_DEVICE_FEATURES", GET_DEVICE_FEATURES, response=True)
@dataclass(frozen=True)
class DeviceFeatures(Body):
    block_index: U32
    num_blocks: U32
    features: Annotated[tuple[int, ...], Tail(4, "num_blocks")]


@_row("SET_DRIVER_FEATURES", SET_DRIVER_FEATURES)
@dataclass(frozen=True)
class SetDriverFeatures(Body):
    block_index: U32
    num_blocks: U32
    features: Annotated[tuple[int, ...], Tail(4, "num_blocks")]


@_row("SET_DRIVER_FEATURES", SET_DRIVER_FEATURES, response=True)
@dataclass(frozen=True)
class DriverFeaturesSet(Body):
    pass


@_row("GET_CONFIG", GET_CONFIG)
@dataclass(frozen=True)
class GetConfig(Body):
    offset: U32
    length: U32


@_row("GET_CONFIG", GET_CONFIG, response=True)
@dataclass(frozen=True)
class Config(Body):
    generation: U32
    offset: U32
    length: U32
    data: Annotated[bytes, Tail(1, "length")]


@_row("SET_CONFIG", SET_CONFIG)
@dataclass(frozen=True)
class SetConfig(Body):
    generation: U32
    offset: U32
    length: U32
    data: Annotated[bytes, Tail(1, "length")]


@_row("SET_CONFIG", SET_CONFIG, response=True)
@dataclass(frozen=True)
class ConfigSet(Body):
    generation: U32
    offset: U32
    length: U32
    data: Annotated[bytes, Tail(1, "length", optional=True)] = b""


@_row("GET_DEVICE_STATUS", GET_DEVICE_STATUS)
@dataclass(frozen=True)
class GetDeviceStatus(Body):
    pass


@_row("GET_DEVICE_STATUS", GET_DEVICE_STATUS, response=True)
@dataclass(frozen=True)
class Status(Body):
    status: U32


@_row("SET_DEVICE_STATUS", SET_DEVICE_STATUS)
@dataclass(frozen=True)
class SetDeviceStatus(Body):
    status: U32


@_row("SET_DEVICE_STATUS", SET_DEVICE_STATUS, response=True)
@dataclass(frozen=True)
class StatusSet(Body):
    status: U32


@_row("GET_VQUEUE", GET_VQUEUE)
@dataclass(frozen=True)
class GetVqueue(Body):
    index: U32


@_row("GET_VQUEUE", GET_VQUEUE, response=True)
@dataclass(frozen=True)
class Vqueue(Body):
    index: U32
    max_size: U32
    cur_size: U32
    reserved: U32
    descriptors: U64
    driver_area: U64
    device_area: U64


@_row("SET_VQUEUE", SET_VQUEUE)
@dataclass(frozen=True)
class SetVqueue(Body):
    index: U32
    reserved0: U32
    size: U32
    reserved1: U32
    descriptors: U64
    driver_area: U64
    device_area: U64


@_row("SET_VQUEUE", SET_VQUEUE, response=True)
@dataclass(frozen=True)
class VqueueSet(Body):
    pass


@_row("RESET_VQUEUE", RESET_VQUEUE)
@dataclass(frozen=True)
class ResetVqueue(Body):
    index: U32


@_row("RESET_VQUEUE", RESET_VQUEUE, response=True)
@dataclass(frozen=True)
class VqueueReset(Body):
    pass


@_row("GET_SHM", GET_SHM)
@dataclass(frozen=True)
class GetShm(Body):
    index: U32


@_row("GET_SHM", GET_SHM, response=True)
@dataclass(frozen=True)
class Shm(Body):
    index: U32
    length: U32
    address: U32


@_row("RESUME_DEVICE", RESUME_DEVICE)
@dataclass(frozen=True)
class ResumeDevice(Body):
    device_id: U32
    num_blocks: U32
    identity: Identity
    features: Annotated[tuple[int, ...], Tail(4, "num_blocks")]


@_row("RESUME_DEVICE", RESUME_DEVICE, response=True)
@dataclass(frozen=True)
class DeviceResumed(Body):
    status: U32
    outcome: U32


@_row("RESUME_VQUEUE", RESUME_VQUEUE)
@dataclass(frozen=True)
class ResumeVqueue(Body):
    index: U32
    size: U32
    descriptors: U64
    driver_area: U64
    device_area: U64
    avail_position: U16
    used_position: U16
    num_heads: U32
    heads: Annotated[tuple[int, ...], Tail(2, "num_heads")]


@_row("RESUME_VQUEUE", RESUME_VQUEUE, response=True)
@dataclass(frozen=True)
class VqueueResumed(Body):
    status: U32
    outcome: U32


@_row("GET_IDENTITY", GET_IDENTITY)
@dataclass(frozen=True)
class GetIdentity(Body):
    pass


@_row("GET_IDENTITY", GET_IDENTITY, response=True)
@dataclass(frozen=True)
class DeviceIdentity(Body):
    identity: Identity


@_row("PAIR_VQUEUE", PAIR_VQUEUE)
@dataclass(frozen=True)
class PairVqueue(Body):
    index: U32
    slots: U32
    handle: U64


@_row("PAIR_VQUEUE", PAIR_VQUEUE, response=True)
@dataclass(frozen=True)
class VqueuePaired(Body):
    index: U32
    reserved: U32
    handle: U64


# --- transport events


@_row("EVENT_CONFIG", EVENT_CONFIG)
@dataclass(frozen=True)
class EventConfig(Body):
    status: U32
    generation: U32
    offset: U32 = 0
    length: U32 = 0  # 0 with offset 0: anything may have changed, read it
    data: Annotated[bytes, Tail(1, "length", optional=True)] = b""


@_row("EVENT_AVAIL", EVENT_AVAIL)
@dataclass(frozen=True)
class EventAvail(Body):
    queue: U32
    position: U32


@_row("EVENT_USED", EVENT_USED)
@dataclass(frozen=True)
class EventUsed(Body):
    queue: U32
    position: U32


@_row("REFUSED", REFUSED)
@dataclass(frozen=True)
class Refused(Body):
    msg_id: U16
    flags: U16  # bit 0: the refused request was a bus message
    reason: U32


# --- bus messages


@_row("GET_DEVICES", GET_DEVICES, bus=True)
@dataclass(frozen=True)
class GetDevices(Body):
    offset: U16
    count: U16


@_row("GET_DEVICES", GET_DEVICES, bus=True, response=True)
@dataclass(frozen=True)
class Devices(Body):
    offset: U16
    count: U16
    next_offset: U16
    bitmap: Annotated[bytes, Tail(1)]


@_row("PING", PING, bus=True)
@dataclass(frozen=True)
class Ping(Body):
    data: U32


@_row("PING", PING, bus=True, response=True)
@dataclass(frozen=True)
class Pong(Body):
    data: U32


@_row("HELLO", HELLO, bus=True)
@dataclass(frozen=True)
class Hello(Body):
    """What the front-end can do and where its message area stands. 48 bytes; a bus may limit it to 72."""

    magic: U32
    revision: U16  # the highest it speaks
    lowest_revision: U16
    features: U64  # transport features
    session: U32  # the session it lost, 0 for none
    max_message: U32
    ring_entries: U32  # entries its own ring holds
    max_devices: U16
    copy_granularity: U16  # the least that its rings need
    area_address: U64
    area_slots: U16
    area_slot_size: U16
    reserved: U32 = 0


@_row("HELLO", HELLO, bus=True, response=True)
@dataclass(frozen=True)
class Welcome(Body):
    """What the device side chose. 40 bytes; a bus may limit it to 48."""

    magic: U32
    revision: U16  # chosen; 0 when there is none in common
    highest_revision: U16
    features: U64  # the common transport features
    session: U32  # never 0; its low byte differs from that of the session lost
    max_message: U32
    ring_entries: U32
    max_devices: U16
    copy_granularity: U16  # an aligned field of this many bytes is never torn
    copy_max: U32
    reserved: U32 = 0


@_row("EVENT_DEVICE", EVENT_DEVICE, bus=True)
@dataclass(frozen=True)
class EventDevice(Body):
    device: U16
    state: U16


@_row("CREDIT", CREDIT, bus=True)
@dataclass(frozen=True)
class Credit(Body):
    """Its device number stands in the header, although it is a bus message."""

    queue: U32
    which: U32


# --- use

_BodyType = TypeVar("_BodyType", bound=Body)


def message_of(body: Body, device: int = 0, token: int = 0) -> Message:
    """The message that carries `body`."""
    return Message(body.MSG_ID, device, body.encode(), body.RESPONSE, body.BUS, token)


def layout_of(message: Message) -> type[Body] | None:
    """The table row for `message`; None when the id means nothing in that direction."""
    return LAYOUTS.get((message.bus, message.msg_id, message.response))


def body_of(message: Message) -> Body:
    """Decode the payload; raises `Malformed` for an unknown id or a payload that does not have the layout."""
    layout = layout_of(message)
    if layout is None:
        raise Malformed(f"no message {message.msg_id:#04x}")
    return layout.decode(message.payload)


def inflight_capacity(max_message: int) -> int:
    """How many in-flight heads one RESUME_VQUEUE can list."""
    return (max_message - HEADER_SIZE - ResumeVqueue.fixed_size()) // 2
