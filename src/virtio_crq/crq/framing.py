# SPDX-License-Identifier: Apache-2.0
"""A message in a CRQ entry: 16 bytes to fields and back. Pure and total: what is not right is refused by a rule's name.

    b0 0x80 · b1 bit 0 response, bit 1 bus message, bits 2-3 where the payload is · b2 message id · b3 inline length
    b4-5 device · b6-7 token: session's low byte, then request sequence (requests, responses) or credit flags (events)
    b8-15 payload inline, or {slot u16, length u16, 0 u32} in the area, or HELLO's {ioba u32, length u16, 0 u16}

Everything of ours inside is little-endian, as virtio-msg is; only the words of the hypercall are big-endian.
`channel` decodes the same announcements in place; a test holds the two together.
"""

import struct
from dataclasses import dataclass

from virtio_crq.errors import DeviceFault, DriverFault
from virtio_crq.message.codec import CREDIT as CREDIT_EVENT
from virtio_crq.message.codec import CREDIT_USED, EVENT_CONFIG, HELLO
from virtio_crq.message.codec import EVENT_AVAIL as AVAIL_EVENT
from virtio_crq.message.codec import EVENT_USED as USED_EVENT
from virtio_crq.message.message import Message
from virtio_crq.papr.entry import ENTRY_SIZE, Header
from virtio_crq.platform.channel import AVAIL, CREDIT, USED

SLOT_SIZE = 4096  # of the message area
INLINE_LIMIT = 8
HELLO_REQUEST_LIMIT = 72  # what one H_READ_RDMA brings
HELLO_RESPONSE_LIMIT = 48  # what one H_WRITE_RDMA takes

RESPONSE_BIT = 1
BUS_BIT = 2
BODY_SHIFT = 2
INLINE, AREA, HELLO_BODY = range(3)

_HEAD = struct.Struct("<BBBBHBB")
_AREA = struct.Struct("<HHI")
_HELLO = struct.Struct("<IHH")
_ANNOUNCED = struct.Struct("<II")

Guilty = type[DriverFault] | type[DeviceFault]


@dataclass(frozen=True, slots=True)
class AreaSlot:
    """The payload is in a slot of the message area."""

    slot: int
    length: int


@dataclass(frozen=True, slots=True)
class HelloPlace:
    """HELLO's payload is at an I/O address of the client's window; there is no area yet."""

    ioba: int
    length: int


@dataclass(frozen=True, slots=True)
class Framed:
    """What an entry says. With a `place`, the message's payload is still to be fetched from it."""

    message: Message
    place: AreaSlot | HelloPlace | None = None


@dataclass(frozen=True, slots=True)
class Announcement:
    """The slow twin of what a channel decodes; kinds are those of platform.channel. A CREDIT's position is `which`."""

    kind: int
    device: int
    queue: int
    position: int
    credit: int


def parse(entry: bytes, guilty: Guilty) -> Framed:
    """Decode a command entry that the `guilty` side sent."""
    if len(entry) != ENTRY_SIZE:
        raise guilty("frame", f"{len(entry)} bytes, an entry has {ENTRY_SIZE}")
    first, flags, msg_id, length, device, session, second = _HEAD.unpack_from(entry)
    if first != Header.COMMAND:
        raise guilty("frame-header", f"byte 0 is {first:#04x}, a command has {Header.COMMAND:#04x}")
    body = flags >> BODY_SHIFT
    if body > HELLO_BODY:
        raise guilty("frame", f"byte 1 is {flags:#04x}")
    message = Message(
        msg_id=msg_id,
        device=device,
        response=bool(flags & RESPONSE_BIT),
        bus=bool(flags & BUS_BIT),
        token=session | second << 8,
    )
    if message.event and (message.response or body != INLINE):
        raise guilty("frame", f"event {msg_id:#04x} with byte 1 {flags:#04x}")
    if (body == HELLO_BODY) != (message.bus and msg_id == HELLO):
        raise guilty("frame", f"message {msg_id:#04x} with byte 1 {flags:#04x}")
    if body == INLINE:
        return Framed(_with_payload(message, _inline_payload(entry, length, guilty)))
    if length:
        raise guilty("frame", f"inline length {length}, but the payload is elsewhere")
    return Framed(message, _area_slot(entry, guilty) if body == AREA else _hello_place(entry, message.response, guilty))


def _inline_payload(entry: bytes, length: int, guilty: Guilty) -> bytes:
    if length > INLINE_LIMIT:
        raise guilty("frame", f"inline length {length}, at most {INLINE_LIMIT}")
    if any(entry[8 + length :]):
        raise guilty("frame", f"bytes after the payload are {entry[8 + length :].hex()}, not zero")
    return entry[8 : 8 + length]


def _area_slot(entry: bytes, guilty: Guilty) -> AreaSlot:
    slot, length, reserved = _AREA.unpack_from(entry, 8)
    if length > SLOT_SIZE:
        raise guilty("area-slot", f"{length} bytes in slot {slot}, slots have {SLOT_SIZE}")
    if reserved:
        raise guilty("frame", f"reserved bytes are {reserved:#x}, not zero")
    return AreaSlot(slot, length)


def _hello_place(entry: bytes, response: bool, guilty: Guilty) -> HelloPlace:
    ioba, length, reserved = _HELLO.unpack_from(entry, 8)
    limit = HELLO_RESPONSE_LIMIT if response else HELLO_REQUEST_LIMIT
    if not 0 < length <= limit:
        raise guilty("frame", f"{length} bytes, at most {limit}")
    if reserved:
        raise guilty("frame", f"reserved bytes are {reserved:#x}, not zero")
    return HelloPlace(ioba, length)


def build(message: Message, place: AreaSlot | HelloPlace | None = None) -> bytes:
    """Encode a message whose payload is at `place`, or goes inline. One's own mistakes are ValueErrors."""
    flags = (RESPONSE_BIT if message.response else 0) | (BUS_BIT if message.bus else 0)
    if place is None:
        if len(message.payload) > INLINE_LIMIT:
            raise ValueError(f"{len(message.payload)} bytes do not fit into an entry")
        length, body = len(message.payload), message.payload.ljust(INLINE_LIMIT, b"\0")
    elif isinstance(place, AreaSlot):
        flags |= AREA << BODY_SHIFT
        length, body = 0, _AREA.pack(place.slot, place.length, 0)
    else:
        flags |= HELLO_BODY << BODY_SHIFT
        length, body = 0, _HELLO.pack(place.ioba, place.length, 0)
    token = message.token
    return _HEAD.pack(Header.COMMAND, flags, message.msg_id, length, message.device, token & 0xFF, token >> 8) + body


def announcement(message: Message, guilty: Guilty) -> Announcement | None:
    """What a parsed event announces; None when it announces nothing."""
    key = (message.bus, message.msg_id)
    kinds = {(False, AVAIL_EVENT): AVAIL, (False, USED_EVENT): USED, (True, CREDIT_EVENT): CREDIT}
    if key not in kinds:
        return None
    kind = kinds[key]
    if len(message.payload) != _ANNOUNCED.size:
        raise guilty("message-size", f"{len(message.payload)} bytes, an announcement has {_ANNOUNCED.size}")
    queue, position = _ANNOUNCED.unpack(message.payload)
    if kind == CREDIT:
        if position > CREDIT_USED:
            raise guilty("message-size", f"a credit for {position}")
    elif position > 0xFFFF:
        raise guilty("message-size", f"{position:#x}, but positions are 16-bit")
    if message.sequence & ~1 or (kind == CREDIT and message.sequence != 1):
        raise guilty("frame", f"credit flags {message.sequence:#04x}")
    return Announcement(kind, message.device, queue, position, message.sequence & 1)


def announce(seen: Announcement, session: int) -> bytes:
    """The entry of an announcement."""
    bus = seen.kind == CREDIT
    msg_id = {AVAIL: AVAIL_EVENT, USED: USED_EVENT, CREDIT: CREDIT_EVENT}[seen.kind]
    payload = _ANNOUNCED.pack(seen.queue, seen.position)
    return build(Message(msg_id, seen.device, payload, bus=bus, token=session & 0xFF | seen.credit << 8))


def trimmed(message: Message) -> Message:
    """An event cut to what an entry carries. EVENT_CONFIG keeps status and generation: the driver reads the rest."""
    return _with_payload(message, message.payload[:INLINE_LIMIT])


def untrimmed(message: Message) -> Message:
    """EVENT_CONFIG with the range that `trimmed` cut: offset and length 0, all of it may have changed."""
    if not message.bus and message.msg_id == EVENT_CONFIG and len(message.payload) == INLINE_LIMIT:
        return _with_payload(message, message.payload + bytes(8))
    return message


def _with_payload(message: Message, payload: bytes) -> Message:
    return Message(
        msg_id=message.msg_id,
        device=message.device,
        payload=payload,
        response=message.response,
        bus=message.bus,
        token=message.token,
    )


def filled(framed: Framed, payload: bytes) -> Message:
    """The message of an entry with the payload that was fetched from its place."""
    return _with_payload(framed.message, payload)
