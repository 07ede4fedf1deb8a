# SPDX-License-Identifier: Apache-2.0
"""The messages of vhost-user that a front-end of a block device sends, as bytes.

A message is a header of three 32-bit words (request, flags, size of the payload) and the payload; descriptors travel
beside it. Everything is in the byte order of the host, which is little-endian wherever this project builds.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

HEADER = struct.Struct("<III")
NUMBER = struct.Struct("<Q")
VERSION = 1  # bits 0 and 1 of the flags
VERSION_MASK = 3
REPLY = 1 << 2
NEED_REPLY = 1 << 3
PAYLOAD_MAX = 4096  # longer than any answer to what is asked here

PROTOCOL_FEATURES = 30  # the feature bit that says there are bits of the protocol, too

# Bits of the protocol.
MQ = 0
REPLY_ACK = 3
CONFIG = 9

RING_INDEX_MASK = 0xFF  # of the number that goes with a ring's descriptor


class Request(IntEnum):
    GET_FEATURES = 1
    SET_FEATURES = 2
    SET_OWNER = 3
    SET_MEM_TABLE = 5
    SET_VRING_NUM = 8
    SET_VRING_ADDR = 9
    SET_VRING_BASE = 10
    GET_VRING_BASE = 11
    SET_VRING_KICK = 12
    SET_VRING_CALL = 13
    GET_PROTOCOL_FEATURES = 15
    SET_PROTOCOL_FEATURES = 16
    GET_QUEUE_NUM = 17
    SET_VRING_ENABLE = 18
    GET_CONFIG = 24


@dataclass(frozen=True)
class Header:
    request: int
    flags: int
    size: int

    def encode(self) -> bytes:
        return HEADER.pack(self.request, self.flags, self.size)

    @classmethod
    def decode(cls, data: bytes) -> "Header":
        return cls(*HEADER.unpack(data))


def request(kind: Request, payload: bytes, need_reply: bool = False) -> bytes:
    """A whole message of the front-end."""
    return Header(kind, VERSION | (NEED_REPLY if need_reply else 0), len(payload)).encode() + payload


def number(value: int) -> bytes:
    return NUMBER.pack(value)


def ring_state(index: int, value: int) -> bytes:
    """A ring's size, its position, or whether it is enabled."""
    return struct.pack("<II", index, value)


def ring_addresses(index: int, descriptors: int, used: int, available: int) -> bytes:
    """Where a ring's parts lie in the front-end's address space: no flags, nothing logged."""
    return struct.pack("<IIQQQQ", index, 0, descriptors, used, available, 0)


def memory_table(bus: int, size: int, address: int) -> bytes:
    """One region: its I/O address, its size, where the front-end has it; the file that goes with it from its start."""
    return struct.pack("<IIQQQQ", 1, 0, bus, size, address, 0)


def config_request(size: int) -> bytes:
    """Room for the first `size` bytes of the configuration space, which the answer fills."""
    return struct.pack("<III", 0, size, 0) + bytes(size)


def config_answer(payload: bytes) -> bytes:
    """The configuration bytes of an answer; empty when it has none."""
    if len(payload) < 12:
        return b""
    _offset, size, _flags = struct.unpack_from("<III", payload)
    return payload[12 : 12 + size]
