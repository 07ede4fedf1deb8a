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


# Types that a transport may resume after a loss. Block and entropy requests may be done twice without anybody noticing;
# what a console was putting out is not put out again, and what it was to take in had not come.
RESUMABLE = frozenset({DeviceId.BLOCK, DeviceId.ENTROPY, DeviceId.CONSOLE})


def device_name(device_id: int) -> str:
    """`block` for 2, `entropy` for 4; `type 77` for what has no name here."""
    try:
        return DeviceId(device_id).name.lower()
    except ValueError:
        return f"type {device_id}"
