# SPDX-License-Identifier: Apache-2.0
"""The disk's features, configuration space and write cache (virtio 1.4 §5.2)."""

from pathlib import Path
from typing import Any

import pytest

from virtio_crq.dataplane.nullstore import NullStore
from virtio_crq.errors import DriverFault
from virtio_crq.message.device import QueueResume, QueueSetup
from virtio_crq.vios.blockdevice import BlockDevice
from virtio_crq.vios.cacherecord import CacheRecord
from virtio_crq.vios.entropydevice import EntropyDevice
from virtio_crq.virtio import block
from virtio_crq.virtio.block import BlockConfig
from virtio_crq.virtio.features import MANDATORY, Features, feature_set, has
from virtio_crq.virtio.splitring import QueueIndex, QueueSize, RingPosition

SETUP = QueueSetup(QueueSize(8), 0x1000, 0x2000, 0x3000)
QUEUE = QueueIndex(0)
RESUME = QueueResume(RingPosition(0), RingPosition(0), ())
WITH_CACHE = Features(MANDATORY | feature_set(block.FLUSH, block.CONFIG_WCE))
WRITEBACK = block.CONFIG_WRITEBACK_OFFSET


class NoHost:
    def open_queue(self, *arguments: Any) -> None: ...
    def close_queue(self, device: int, queue: int) -> None: ...


def disk(record: CacheRecord | None = None, *, readonly: bool = False, queues: int = 1) -> BlockDevice:
    device = BlockDevice("web1/root", bytes(16), NullStore(1 << 20), readonly=readonly, queues=queues, record=record)
    device.bind(0, NoHost(), 1 << 20, lambda *fault: None)
    return device


def test_the_configuration_space_says_what_the_features_promise() -> None:
    device = disk()
    config = BlockConfig.decode(device.read_config(0, device.config_size))
    assert config.capacity == 2048
    assert config.blk_size == 512
    assert config.physical_block_exp == 3
    assert config.writeback == 1
    for bit in (block.SIZE_MAX, block.SEG_MAX, block.BLK_SIZE, block.TOPOLOGY, block.FLUSH, block.CONFIG_WCE):
        assert has(device.features, bit)
    assert config.size_max
    assert config.seg_max
    assert not has(device.features, block.RO)
    assert has(disk(readonly=True).features, block.RO)


def test_several_queues_are_offered_as_such_and_one_is_not() -> None:
    alone, several = disk(), disk(queues=4)
    assert not has(alone.features, block.MQ)
    assert has(several.features, block.MQ)
    assert BlockConfig.decode(several.read_config(0, several.config_size)).num_queues == 4
    assert len(several.queue_sizes) == 4


@pytest.mark.clause("CRQ-D-57")
def test_a_driver_that_did_not_negotiate_several_queues_has_one() -> None:
    device = disk(queues=4)
    device.driver_features(MANDATORY)
    second = QueueIndex(1)
    for resume in (None, RESUME):
        with pytest.raises(DriverFault, match="queue-unknown"):
            device.enable_queue(second, SETUP, resume)
    with pytest.raises(DriverFault, match="queue-unknown"):
        device.pair_queue(second, 8, 1)
    device.enable_queue(QUEUE, SETUP, None)
    device.reset()
    device.driver_features(Features(MANDATORY | feature_set(block.MQ)))
    for index in range(4):
        device.enable_queue(QueueIndex(index), SETUP, None)
    device.driver_ok()
    assert [queue.enabled for queue in device.queues()] == [True] * 4
    assert device.carried()["queues"] == "4"


@pytest.mark.clause("CRQ-D-53")
def test_the_configuration_space_ends_where_it_ends() -> None:
    device = disk()
    with pytest.raises(DriverFault, match="config-range"):
        device.read_config(block.CONFIG_SIZE - 1, 2)
    with pytest.raises(DriverFault, match="config-range"):
        EntropyDevice(bytes(16)).read_config(0, 1)


@pytest.mark.clause("CRQ-D-98")
def test_the_driver_switches_the_write_cache() -> None:
    device = disk()
    device.driver_features(WITH_CACHE)
    device.write_config(WRITEBACK, b"\0")
    assert device.write_cache == "write-through"
    assert device.read_config(WRITEBACK, 1) == b"\0"
    device.write_config(WRITEBACK, b"\1")
    assert device.write_cache == "write-back"


@pytest.mark.clause("CRQ-D-98")
@pytest.mark.parametrize(
    ("offset", "data"), [(0, b"\0"), (WRITEBACK, b"\0\0"), (WRITEBACK + 1, b"\0"), (WRITEBACK, b"\2")]
)
def test_nothing_else_may_be_written(offset: int, data: bytes) -> None:
    device = disk()
    device.driver_features(WITH_CACHE)
    before = device.read_config(0, device.config_size)
    with pytest.raises(DriverFault, match="config-"):
        device.write_config(offset, data)
    assert device.read_config(0, device.config_size) == before


@pytest.mark.clause("CRQ-D-98")
def test_the_switch_needs_its_feature() -> None:
    device = disk()
    device.driver_features(Features(MANDATORY | feature_set(block.FLUSH)))
    with pytest.raises(DriverFault, match="CONFIG_WCE"):
        device.write_config(WRITEBACK, b"\0")


def test_a_driver_that_cannot_flush_gets_stable_writes() -> None:
    device = disk()
    device.driver_features(MANDATORY)
    assert device.write_cache == "write-through"
    device.reset()
    assert device.write_cache == "write-back"


@pytest.mark.clause("CRQ-D-88", "CRQ-D-103")
def test_a_resumed_driver_keeps_the_cache_off_it_asked_another_server_for(tmp_path: Path) -> None:
    first = disk(CacheRecord(tmp_path / "record"))
    first.driver_features(WITH_CACHE)
    first.write_config(WRITEBACK, b"\0")
    first.enable_queue(QUEUE, SETUP, None)
    first.driver_ok()
    first.reset()  # the session ended
    first.driver_features(WITH_CACHE)
    first.enable_queue(QUEUE, SETUP, RESUME)
    assert first.write_cache == "write-through"

    second = disk(CacheRecord(tmp_path / "record"))  # the server was killed
    second.driver_features(WITH_CACHE)
    second.enable_queue(QUEUE, SETUP, RESUME)
    assert second.write_cache == "write-through"

    second.reset()  # a new driver begins with what §5.2.5.2 says
    second.driver_features(WITH_CACHE)
    second.enable_queue(QUEUE, SETUP, None)
    assert second.write_cache == "write-back"
    third = disk(CacheRecord(tmp_path / "record"))
    third.driver_features(WITH_CACHE)
    third.enable_queue(QUEUE, SETUP, RESUME)
    assert third.write_cache == "write-back"


@pytest.mark.clause("CRQ-D-54")
def test_a_new_capacity_is_told_once() -> None:
    device = disk()
    assert device.resize(2 << 20)
    assert BlockConfig.decode(device.read_config(0, block.CONFIG_SIZE)).capacity == 4096
    assert not device.resize(2 << 20)
