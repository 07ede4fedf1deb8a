# SPDX-License-Identifier: Apache-2.0
"""A device model that notes what it was asked, for tests that no bus may tell apart."""

from dataclasses import dataclass, field

from virtio_crq.message.device import QueueResume, QueueSetup
from virtio_crq.virtio.features import EVENT_IDX, INDIRECT_DESC, MANDATORY, RING_RESET, Features, feature_set
from virtio_crq.virtio.splitring import QueueIndex

OFFERED = Features(MANDATORY | feature_set(INDIRECT_DESC, EVENT_IDX, RING_RESET))


@dataclass
class NotingDevice:
    """While `slow`, what is stopped still touches the driver's memory until `slow` is cleared and settled."""

    identity: bytes = b"disk behind it.."
    device_id: int = 2
    vendor_id: int = 0x1AF4
    features: Features = OFFERED
    queue_sizes: tuple[int, ...] = (128, 64)
    config: bytearray = field(default_factory=lambda: bytearray(range(100)))
    early_config: range = range(0)
    slow: bool = False
    running: bool = False
    queues: dict[int, tuple[QueueSetup, QueueResume | None]] = field(default_factory=dict)
    resets: int = 0

    @property
    def config_size(self) -> int:
        return len(self.config)

    def read_config(self, offset: int, length: int) -> bytes:
        return bytes(self.config[offset : offset + length])

    def write_config(self, offset: int, data: bytes) -> None:
        self.config[offset : offset + len(data)] = data

    def driver_features(self, features: Features) -> None:
        pass

    def driver_ok(self) -> None:
        self.running = True

    def enable_queue(self, index: QueueIndex, setup: QueueSetup, resume: QueueResume | None) -> None:
        assert index not in self.queues
        self.queues[index] = (setup, resume)

    def disable_queue(self, index: QueueIndex) -> bool:
        self.queues.pop(index, None)
        return not self.slow

    def reset(self) -> bool:
        self.resets += 1
        self.running = False
        self.queues.clear()
        return not self.slow
