# SPDX-License-Identifier: Apache-2.0
"""Queues are served exactly while the driver says so."""

from typing import Any

import pytest

from virtio_crq.dataplane.ringterms import RingResume, RingTerms
from virtio_crq.dataplane.service import Service
from virtio_crq.errors import DeviceFault, DriverFault
from virtio_crq.message.device import QueueResume, QueueSetup
from virtio_crq.vios.ringdevice import RingDevice
from virtio_crq.virtio.features import EVENT_IDX, MANDATORY, Features, feature_set, has
from virtio_crq.virtio.splitring import DescriptorIndex, QueueIndex, QueueSize, RingPosition

SETUP = QueueSetup(QueueSize(8), 0x1000, 0x2000, 0x3000)
WINDOW = 0x3000 + 70  # where the used ring of 8 entries ends
FAULTS: list[tuple[int, int, str, str]] = []
FIRST, SECOND = QueueIndex(0), QueueIndex(1)


class RecordingHost:
    """A link that only remembers; `refuse` makes the next opening fail."""

    def __init__(self) -> None:
        self.open: dict[int, tuple[Any, ...]] = {}
        self.refuse: DriverFault | DeviceFault | None = None

    def open_queue(self, device: int, queue: int, *rest: Any) -> None:
        assert queue not in self.open
        if self.refuse:
            raise self.refuse
        self.open[queue] = rest

    def close_queue(self, device: int, queue: int) -> None:
        del self.open[queue]


@pytest.fixture
def host() -> RecordingHost:
    return RecordingHost()


@pytest.fixture
def device(host: RecordingHost) -> RingDevice:
    device = RingDevice(bytes(16), Features(0), [Service(), Service()], 64)
    device.bind(3, host, WINDOW, lambda *fault: FAULTS.append(fault))
    return device


def test_every_device_offers_what_the_transport_demands(device: RingDevice) -> None:
    assert device.features & MANDATORY == MANDATORY
    assert has(device.features, EVENT_IDX)


@pytest.mark.clause("CRQ-D-86")
def test_no_queue_is_served_before_driver_ok(device: RingDevice, host: RecordingHost) -> None:
    device.enable_queue(FIRST, SETUP, QueueResume(RingPosition(2), RingPosition(1), (DescriptorIndex(5),)))
    assert not host.open
    device.driver_ok()
    assert set(host.open) == {0}
    assert host.open[0][-1] == RingResume(2, 1, (5,))


def test_a_queue_enabled_after_driver_ok_is_served_at_once(device: RingDevice, host: RecordingHost) -> None:
    device.driver_ok()
    device.enable_queue(SECOND, SETUP, None)
    assert set(host.open) == {1}
    assert device.disable_queue(SECOND)
    assert not host.open
    device.enable_queue(SECOND, SETUP, None)
    assert set(host.open) == {1}


def test_the_negotiated_features_reach_the_data_plane(device: RingDevice, host: RecordingHost) -> None:
    device.driver_features(Features(MANDATORY | feature_set(EVENT_IDX)))
    device.driver_ok()
    device.enable_queue(FIRST, SETUP, None)
    service, terms, resume = host.open[0]
    assert terms == RingTerms(8, 0x1000, 0x2000, 0x3000, event_idx=True, indirect=False, fetch="batched", device=3)
    assert resume is None
    assert service is device.services[0]


def test_reset_closes_everything_and_forgets(device: RingDevice, host: RecordingHost) -> None:
    device.driver_features(MANDATORY)
    device.enable_queue(FIRST, SETUP, None)
    device.enable_queue(SECOND, SETUP, None)
    device.driver_ok()
    assert device.reset()
    assert not host.open
    assert device.negotiated == 0
    device.enable_queue(FIRST, SETUP, None)
    assert not host.open, "a reset device waits for DRIVER_OK again"


def test_a_queue_that_the_data_plane_refuses_is_not_enabled(device: RingDevice, host: RecordingHost) -> None:
    device.driver_ok()
    host.refuse = DriverFault("queue-address", "beyond the window")
    with pytest.raises(DriverFault, match="queue-address"):
        device.enable_queue(FIRST, SETUP, None)
    assert not device.queues()[0].enabled
    host.refuse = None
    device.enable_queue(FIRST, SETUP, None)
    assert device.queues()[0].enabled


def test_the_view_says_how_queues_stand(device: RingDevice) -> None:
    device.enable_queue(FIRST, SETUP, None)
    assert [(queue.size, queue.enabled) for queue in device.queues()] == [(8, True), (64, False)]
    assert device.counters() == {"requests": 0, "errors": 0, "bytes_in": 0, "bytes_out": 0}


@pytest.mark.clause("CRQ-D-60")
@pytest.mark.parametrize("areas", [(WINDOW, 0, 0), (0, WINDOW - 20, 0), (0, 0, WINDOW - 69), (1 << 63, 0, 0)])
def test_a_queue_beyond_the_window_is_refused(device: RingDevice, areas: tuple[int, int, int]) -> None:
    with pytest.raises(DriverFault, match="queue-address"):
        device.enable_queue(FIRST, QueueSetup(QueueSize(8), *areas), None)
    device.enable_queue(FIRST, SETUP, None)


def test_a_queue_that_fails_at_driver_ok_is_told_as_a_fault(device: RingDevice, host: RecordingHost) -> None:
    FAULTS.clear()
    device.enable_queue(FIRST, SETUP, None)
    host.refuse = DriverFault("resume-positions", "no")
    device.driver_ok()
    assert FAULTS == [(3, 0, "resume-positions", "no")]


def test_a_device_that_fails_at_its_first_queue_serves_none(device: RingDevice, host: RecordingHost) -> None:
    """Whoever is told of the fault stops the device, and with it the queues that were to come."""
    told = []

    def stop(*fault: Any) -> None:
        told.append(fault)
        device.disable_queue(FIRST)
        device.disable_queue(SECOND)

    device.bind(3, host, WINDOW, stop)
    for index in (FIRST, SECOND):
        device.enable_queue(index, SETUP, None)
    host.refuse = DriverFault("resume-positions", "no")
    device.driver_ok()
    assert told == [(3, 0, "resume-positions", "no")]


def test_a_queue_for_which_there_is_no_room_is_told_as_a_fault_too(device: RingDevice, host: RecordingHost) -> None:
    FAULTS.clear()
    device.enable_queue(FIRST, SETUP, None)
    host.refuse = DeviceFault("arena-full", "nothing is left")
    device.driver_ok()
    assert FAULTS == [(3, 0, "arena-full", "nothing is left")]
