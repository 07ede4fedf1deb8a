# SPDX-License-Identifier: Apache-2.0
"""The entropy device (virtio 1.4 §5.4): one queue, no features of its own, no configuration."""

from virtio_crq.dataplane.entropyservice import EntropyService
from virtio_crq.errors import DriverFault
from virtio_crq.vios.ringdevice import RingDevice
from virtio_crq.virtio.deviceid import DeviceId
from virtio_crq.virtio.features import Features

QUEUE_SIZE = 64


class EntropyDevice(RingDevice):
    """Whatever is read from it is new, so it may always be resumed."""

    device_id = DeviceId.ENTROPY
    config_size = 0

    def __init__(self, identity: bytes) -> None:
        super().__init__(identity, Features(0), [EntropyService()], QUEUE_SIZE)

    def read_config(self, offset: int, length: int) -> bytes:
        if offset or length:
            raise DriverFault("config-range", f"{length} bytes at {offset}, but an entropy device has no configuration")
        return b""

    def write_config(self, offset: int, data: bytes) -> None:
        raise DriverFault("config-read-only", f"write of {len(data)} bytes at {offset}")
