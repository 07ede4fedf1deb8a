# SPDX-License-Identifier: Apache-2.0
"""The conversations a driver side needs, for `FrontEnd.start`: discovery, bring-up, configuration, reset, resume."""

from dataclasses import dataclass

from virtio_crq.message.device import QueueResume, QueueSetup
from virtio_crq.message.frontend import Conversation


@dataclass(frozen=True)
class DeviceDescription:
    """What a device said of itself before anything was negotiated."""

    number: int
    device_id: int
    vendor_id: int
    identity: bytes
    features: int
    config_size: int
    queue_sizes: tuple[int, ...]


def list_devices() -> Conversation[list[int]]:
    """Numbers of all devices present."""
    raise NotImplementedError


def describe(device: int) -> Conversation[DeviceDescription]:
    """Identity, features offered, queues, of a device in any state."""
    raise NotImplementedError


def negotiate(device: int, wanted: int) -> Conversation[int]:
    """Reset, ACKNOWLEDGE, DRIVER, features (offered & wanted | MANDATORY), FEATURES_OK; returns what was negotiated."""
    raise NotImplementedError


def start_queues(device: int, queues: dict[int, QueueSetup]) -> Conversation[None]:
    """SET_VQUEUE for each, then DRIVER_OK."""
    raise NotImplementedError


def read_config(device: int, offset: int, length: int) -> Conversation[bytes]:
    """A consistent read: repeated until two reads see one generation when it takes more than one message."""
    raise NotImplementedError


def write_config(device: int, offset: int, data: bytes) -> Conversation[None]:
    raise NotImplementedError


def reset_device(device: int) -> Conversation[None]:
    raise NotImplementedError


def reset_queue(device: int, queue: int) -> Conversation[None]:
    """RESET_VQUEUE (RING_RESET): afterwards the device does not touch the queue's memory."""
    raise NotImplementedError


def enable_queue(device: int, queue: int, setup: QueueSetup) -> Conversation[None]:
    """SET_VQUEUE after `reset_queue`."""
    raise NotImplementedError


def get_status(device: int) -> Conversation[int]:
    raise NotImplementedError


def resume(
    device: int, device_id: int, identity: bytes, features: int, queues: dict[int, tuple[QueueSetup, QueueResume]]
) -> Conversation[None]:
    """After a new session: carry on where the lost one stopped. Raises DeviceFault when the device will not."""
    raise NotImplementedError
