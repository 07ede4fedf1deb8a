# SPDX-License-Identifier: Apache-2.0
"""Feature bits 0 to 127 (virtio 1.4 §2.2 and §6). A set of features is an int of `FEATURE_BITS` bits."""

from typing import NewType

Features = NewType("Features", int)

FEATURE_BITS = 128
FEATURE_BLOCKS = FEATURE_BITS // 32

# Bits that every device type shares; bits 0-23 and 50-127 belong to the device type.
INDIRECT_DESC = 28
EVENT_IDX = 29
VERSION_1 = 32
ACCESS_PLATFORM = 33
RING_PACKED = 34
IN_ORDER = 35
ORDER_PLATFORM = 36
SR_IOV = 37
NOTIFICATION_DATA = 38
NOTIF_CONFIG_DATA = 39
RING_RESET = 40
ADMIN_VQ = 41
SUSPEND = 43

NAMES = {
    INDIRECT_DESC: "INDIRECT_DESC",
    EVENT_IDX: "EVENT_IDX",
    VERSION_1: "VERSION_1",
    ACCESS_PLATFORM: "ACCESS_PLATFORM",
    RING_PACKED: "RING_PACKED",
    IN_ORDER: "IN_ORDER",
    ORDER_PLATFORM: "ORDER_PLATFORM",
    SR_IOV: "SR_IOV",
    NOTIFICATION_DATA: "NOTIFICATION_DATA",
    NOTIF_CONFIG_DATA: "NOTIF_CONFIG_DATA",
    RING_RESET: "RING_RESET",
    ADMIN_VQ: "ADMIN_VQ",
    SUSPEND: "SUSPEND",
}


def feature_set(*bits: int) -> Features:
    """The set that holds exactly `bits`."""
    value = 0
    for bit in bits:
        if not 0 <= bit < FEATURE_BITS:
            raise ValueError(f"feature bit {bit} is outside 0..{FEATURE_BITS - 1}")
        value |= 1 << bit
    return Features(value)


# A legacy interface has no place here, and every address is an I/O bus address in the driver's window.
MANDATORY = feature_set(VERSION_1, ACCESS_PLATFORM)


def has(features: int, bit: int) -> bool:
    return bool(features >> bit & 1)


def bits_of(features: int) -> list[int]:
    """The bits that are set, ascending."""
    return [bit for bit in range(FEATURE_BITS) if has(features, bit)]


def to_blocks(features: int) -> tuple[int, ...]:
    """As 32-bit blocks, block 0 = bits 0-31."""
    return tuple(features >> 32 * block & 0xFFFF_FFFF for block in range(FEATURE_BLOCKS))


def from_blocks(blocks: tuple[int, ...], first: int = 0) -> Features:
    """The inverse of `to_blocks`, for blocks that start at block `first`."""
    return Features(sum(value << 32 * (first + block) for block, value in enumerate(blocks)))


def describe(features: int, device_names: dict[int, str] | None = None) -> str:
    """`VERSION_1 ACCESS_PLATFORM bit 77`, for messages and listings."""
    names = NAMES | (device_names or {})
    return " ".join(names.get(bit, f"bit {bit}") for bit in bits_of(features)) or "none"
