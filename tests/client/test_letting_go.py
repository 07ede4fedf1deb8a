# SPDX-License-Identifier: Apache-2.0
"""A broken device lets go of its memory when the platform has, and not before."""

from collections import deque
from typing import Any, cast

import pytest

from virtio_crq.client.device import Device, Site
from virtio_crq.client.memory import Memory
from virtio_crq.errors import DeviceFault
from virtio_crq.message.conversations import DeviceDescription
from virtio_crq.platform.hosted import host
from virtio_crq.platform.partition import Arena, BusAddress
from virtio_crq.platform.port import Port


class Reluctant:
    """A platform whose answers to the closing of a side queue the test says: `closes`, then success."""

    def __init__(self) -> None:
        self.closes: deque[int] = deque()
        self.closed = 0

    def fileno(self) -> int:
        return -1

    def map(self, bus: int, offset: int, length: int, access: int) -> int:
        return 0

    def queue_open(self, bus: int, length: int) -> tuple[int, int, int]:
        return 0, 5, 1

    def queue_close(self, handle: int) -> int:
        self.closed += 1
        return self.closes.popleft() if self.closes else 0


@pytest.mark.clause("CRQ-F-21")
def test_memory_that_is_still_sent_into_keeps_a_device_busy_and_nobody_waiting() -> None:
    platform = Reluctant()
    port = Port(cast(Any, host(platform, bytearray(1 << 20))))
    memory = Memory(Arena(offset=0, bus=BusAddress(0), size=1 << 20))
    site = Site(port, cast(Any, None), memory, mark=7, pairs=True)
    device = Device(site, DeviceDescription(3, 2, 0, bytes(16), 0, 0, (64,)))
    device.queues[0] = device.build_queue(0)
    assert device.sides[0].side.open() == 0
    platform.closes.extend([1, 1])
    device.break_off(DeviceFault("used-unknown", "a test"))
    device.gone = True  # nobody is left to be asked for a reset
    assert list(device.let_go()) == []
    assert (device.busy, platform.closed) == (True, 1)
    device.serve()
    assert (device.busy, platform.closed) == (True, 2)
    device.serve()
    assert (device.busy, platform.closed) == (False, 3)
