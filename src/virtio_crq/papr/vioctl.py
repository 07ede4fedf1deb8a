# SPDX-License-Identifier: Apache-2.0
"""H_VIOCTL: subfunctions, and the buffer of GET_PARTNER_INFO (all big-endian)."""

import struct
from dataclasses import dataclass
from enum import IntEnum

from virtio_crq.errors import PlatformError


class Subfunction(IntEnum):
    """R5 of H_VIOCTL, as far as command/response adapters know them."""

    GET_VIOA_DUMP_SIZE = 0x1
    GET_VIOA_DUMP = 0x2
    DISABLE_MIGRATION = 0x6
    ENABLE_MIGRATION = 0x7
    GET_PARTNER_INFO = 0x8
    GET_PARTNER_WWPN_LIST = 0x9
    DISABLE_ALL_INTERRUPTS = 0xA
    DISABLE_INTERRUPT = 0xB
    ENABLE_INTERRUPT = 0xC
    GET_PARTNER_UUID = 0x10
    FW_RESET = 0x11
    GET_MAX_REDIRECTED_MAPPINGS = 0x14
    ENABLE_PREPARE_FOR_SUSPEND = 0x1D
    READY_FOR_SUSPEND = 0x1E


_PARTNER = struct.Struct(">QQ")


@dataclass(frozen=True)
class PartnerInfo:
    """Who is at the other end: partition number, the partner's unit address, its location code."""

    partition: int
    unit_address: int
    location_code: str

    def encode(self) -> bytes:
        return _PARTNER.pack(self.partition, self.unit_address) + self.location_code.encode("ascii") + b"\0"


def partner_info(buffer: bytes) -> PartnerInfo:
    """Read the buffer that GET_PARTNER_INFO filled."""
    code, terminator, _ = buffer[_PARTNER.size :].partition(b"\0")
    if len(buffer) < _PARTNER.size or not terminator:
        raise PlatformError("H_VIOCTL GET_PARTNER_INFO", 0, f"{len(buffer)} bytes without a terminated location code")
    partition, unit_address = _PARTNER.unpack_from(buffer)
    return PartnerInfo(partition, unit_address, code.decode("ascii", "replace"))


def buffer_descriptor(ioba: int, length: int) -> int:
    """p1 of the calls that fill a buffer: 8-bit control of zero, 24-bit length, 32-bit I/O address in pane 1."""
    if not 0 <= length < 1 << 24 or not 0 <= ioba < 1 << 32:
        raise ValueError(f"length {length:#x} or I/O address {ioba:#x} does not fit a buffer descriptor")
    return length << 32 | ioba
