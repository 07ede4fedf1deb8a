# SPDX-License-Identifier: Apache-2.0
"""Device status bits (virtio 1.4 §2.1)."""

from typing import NewType

DeviceStatus = NewType("DeviceStatus", int)

RESET = DeviceStatus(0)
ACKNOWLEDGE = DeviceStatus(1)
DRIVER = DeviceStatus(2)
DRIVER_OK = DeviceStatus(4)
FEATURES_OK = DeviceStatus(8)
SUSPEND = DeviceStatus(16)
DEVICE_NEEDS_RESET = DeviceStatus(64)
FAILED = DeviceStatus(128)

NAMES = {
    ACKNOWLEDGE: "ACKNOWLEDGE",
    DRIVER: "DRIVER",
    DRIVER_OK: "DRIVER_OK",
    FEATURES_OK: "FEATURES_OK",
    SUSPEND: "SUSPEND",
    DEVICE_NEEDS_RESET: "DEVICE_NEEDS_RESET",
    FAILED: "FAILED",
}


def describe(status: int) -> str:
    """`ACKNOWLEDGE DRIVER`, or `RESET` for 0."""
    return " ".join(name for bit, name in NAMES.items() if status & bit) or "RESET"
