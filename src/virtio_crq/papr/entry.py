# SPDX-License-Identifier: Apache-2.0
"""Entries of a Command/Response Queue: 16-byte strings; registers carry them big-endian, byte 0 most significant."""

import struct
from enum import IntEnum

ENTRY_SIZE = 16
SUB_ENTRY_SIZE = 32
QUEUE_PAGE = 4096  # a ring is 4 KiB aligned and a multiple of 4 KiB long

_WORDS = struct.Struct(">QQ")


class Header(IntEnum):
    """Byte 0 of an entry. 0x81-0xBF and 0xC1-0xFE are reserved, yet the hypervisor lets a partition send them."""

    FREE = 0x00
    COMMAND = 0x80
    INITIALIZATION = 0xC0
    TRANSPORT_EVENT = 0xFF


class InitializationCode(IntEnum):
    """Byte 1 of an initialization entry."""

    INITIALIZE = 0x01
    COMPLETE = 0x02


class TransportEvent(IntEnum):
    """Byte 1 of a transport event; only the hypervisor writes these."""

    PARTNER_FAILED = 0x01
    PARTNER_DEREGISTERED = 0x02
    PARTNER_TERMINATED = 0x04
    PARTNER_SUSPENDED = 0x06
    BACKING_FAILOVER = 0x08
    PREPARE_FOR_SUSPEND = 0x09
    CLIENT_RESUMED = 0x0A


# Some receivers read this bit of byte 3 of a transport event as "an entry was overwritten by this one".
ENTRY_OVERWRITTEN = 0x20


def to_registers(entry: bytes) -> tuple[int, int]:
    """R5 and R6 of H_SEND_CRQ for an entry."""
    high, low = _WORDS.unpack(entry)
    return high, low


def from_registers(high: int, low: int) -> bytes:
    """The entry that R5 and R6 of H_SEND_CRQ carry."""
    return _WORDS.pack(high, low)


def initialization(code: InitializationCode) -> bytes:
    """An initialization entry; bytes 2-15 are free for the protocol and zero here."""
    return bytes((Header.INITIALIZATION, code)).ljust(ENTRY_SIZE, b"\0")


def transport_event(code: int, status: int = 0) -> bytes:
    """A transport event as the hypervisor writes it."""
    return bytes((Header.TRANSPORT_EVENT, code, 0, status)).ljust(ENTRY_SIZE, b"\0")


def may_be_sent(first_byte: int) -> bool:
    """H_SEND_CRQ's whole check of a header: the top bit is set, and it is not a transport event."""
    return bool(first_byte & 0x80) and first_byte != Header.TRANSPORT_EVENT


def describe_entry(entry: bytes) -> str:
    """What an entry is, for people: its kind, then its bytes."""
    kinds: dict[int, str] = {Header.FREE: "free", Header.COMMAND: "command"}
    kind = kinds.get(entry[0], "reserved")
    if entry[0] == Header.INITIALIZATION:
        kind = _named(InitializationCode, entry[1], "initialization")
    elif entry[0] == Header.TRANSPORT_EVENT:
        kind = _named(TransportEvent, entry[1], "transport event")
    return f"{kind} {entry.hex(' ', 8)}"


def _named(codes: type[IntEnum], value: int, otherwise: str) -> str:
    try:
        return codes(value).name.lower().replace("_", "-")
    except ValueError:
        return f"{otherwise} {value:#04x}"
