# SPDX-License-Identifier: Apache-2.0
"""A virtio message: the header fields that a bus must carry, and a payload it need not understand."""

from dataclasses import dataclass, field
from typing import NewType

DeviceNumber = NewType("DeviceNumber", int)
SessionNumber = NewType("SessionNumber", int)
Token = NewType("Token", int)

HEADER_SIZE = 8  # of a virtio-msg message; a bus may carry the fields differently, limits count it all the same

EVENT_BIT = 0x40  # 0x40-0x7F and 0xC0-0xFF are events, which have no response


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `device` is 0 for bus messages; `token` is made by `token()`."""

    msg_id: int
    device: int
    payload: bytes = b""
    response: bool = False
    bus: bool = False
    token: int = field(default=0)

    @property
    def event(self) -> bool:
        return bool(self.msg_id & EVENT_BIT)

    @property
    def size(self) -> int:
        """As virtio-msg counts it: header and payload."""
        return HEADER_SIZE + len(self.payload)

    @property
    def session_byte(self) -> int:
        return self.token & 0xFF

    @property
    def sequence(self) -> int:
        return self.token >> 8


def token(session: int, sequence: int) -> Token:
    """The 16-bit token: the session's low byte below, the request's sequence number above."""
    return Token(session & 0xFF | (sequence & 0xFF) << 8)
