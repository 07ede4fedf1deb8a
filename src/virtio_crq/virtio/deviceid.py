# SPDX-License-Identifier: Apache-2.0
"""Device types (virtio 1.4 §5) that this project serves or names."""

from enum import IntEnum


class DeviceId(IntEnum):
    """Virtio device identifiers."""

    NET = 1
    BLOCK = 2
    CONSOLE = 3
    ENTROPY = 4
    BALLOON = 5
    SCSI = 8
    VSOCK = 19
    FS = 26


# Types whose requests may be done twice without anybody noticing: what a transport may replay after a loss.
REPEATABLE = frozenset({DeviceId.BLOCK, DeviceId.ENTROPY})


def device_name(device_id: int) -> str:
    """`block` for 2, `entropy` for 4; `type 77` for what has no name here."""
    try:
        return DeviceId(device_id).name.lower()
    except ValueError:
        return f"type {device_id}"
