# SPDX-License-Identifier: Apache-2.0
"""Numbers of the virtio standard: layouts against structs written down a second time, arithmetic against models."""

import ctypes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtio_crq.virtio import block, deviceid, features, splitring, status
from virtio_crq.virtio.block import BlockConfig

u8, u16, u32, u64 = ctypes.c_uint8, ctypes.c_uint16, ctypes.c_uint32, ctypes.c_uint64
positions = st.integers(0, 0xFFFF)
sizes = st.integers(0, 15).map(lambda exponent: 1 << exponent)


class Descriptor(ctypes.LittleEndianStructure):
    _fields_ = [("address", u64), ("length", u32), ("flags", u16), ("next", u16)]


class Config(ctypes.LittleEndianStructure):
    _pack_ = 1
    _fields_ = [
        ("capacity", u64),
        ("size_max", u32),
        ("seg_max", u32),
        ("cylinders", u16),
        ("heads", u8),
        ("sectors", u8),
        ("blk_size", u32),
        ("physical_block_exp", u8),
        ("alignment_offset", u8),
        ("min_io_size", u16),
        ("opt_io_size", u32),
        ("writeback", u8),
        ("unused0", u8),
        ("num_queues", u16),
    ]


def test_a_descriptor_is_16_bytes_with_its_fields_where_the_standard_puts_them():
    assert ctypes.sizeof(Descriptor) == splitring.DESCRIPTOR_SIZE
    assert Descriptor.address.offset == splitring.DESCRIPTOR_ADDRESS
    assert Descriptor.length.offset == splitring.DESCRIPTOR_LENGTH
    assert Descriptor.flags.offset == splitring.DESCRIPTOR_FLAGS
    assert Descriptor.next.offset == splitring.DESCRIPTOR_NEXT


@given(sizes)
def test_the_event_fields_are_the_last_of_their_rings(size: int):
    class Avail(ctypes.LittleEndianStructure):
        _pack_ = 1
        _fields_ = [("flags", u16), ("idx", u16), ("ring", u16 * size), ("used_event", u16)]

    class Used(ctypes.LittleEndianStructure):
        _pack_ = 1
        _fields_ = [("flags", u16), ("idx", u16), ("ring", u64 * size), ("avail_event", u16)]

    assert splitring.avail_size(size) == ctypes.sizeof(Avail)
    assert splitring.used_size(size) == ctypes.sizeof(Used)
    assert splitring.used_event_offset(size) == Avail.used_event.offset
    assert splitring.avail_event_offset(size) == Used.avail_event.offset
    assert splitring.descriptor_table_size(size) == 16 * size


def test_queue_sizes_are_powers_of_two_up_to_32768():
    valid = [size for size in range(-2, 1 << 17) if splitring.valid_size(size)]
    assert valid == [1 << exponent for exponent in range(16)]


@given(positions, st.integers(0, 0xFFFF))
def test_distance_undoes_advance(position: int, count: int):
    assert splitring.distance(splitring.advance(position, count), position) == count


@given(positions, st.integers(1, 300), positions)
def test_an_event_is_due_exactly_when_the_index_passes_it(old: int, count: int, event: int):
    passed = {splitring.advance(old, step) for step in range(count)}
    assert splitring.need_event(event, splitring.advance(old, count), old) == (event in passed)


def test_feature_numbers_are_those_of_the_standard():
    named = {name: bit for bit, name in features.NAMES.items()}
    assert (named["INDIRECT_DESC"], named["EVENT_IDX"], named["VERSION_1"]) == (28, 29, 32)
    assert (named["ACCESS_PLATFORM"], named["RING_RESET"], named["SUSPEND"]) == (33, 40, 43)
    assert features.MANDATORY == 3 << 32


@given(st.sets(st.integers(0, 127)))
def test_a_feature_set_survives_its_blocks(bits: set[int]):
    value = features.feature_set(*bits)
    assert features.from_blocks(features.to_blocks(value)) == value
    assert set(features.bits_of(value)) == bits
    assert all(features.has(value, bit) for bit in bits)


def test_there_is_no_feature_bit_128():
    with pytest.raises(ValueError, match="bit 128"):
        features.feature_set(128)


def test_features_and_status_are_told_by_name():
    assert features.describe(features.MANDATORY | 1 << 5, block.FEATURE_NAMES) == "RO VERSION_1 ACCESS_PLATFORM"
    assert features.describe(0) == "none"
    assert status.describe(15 | 64) == "ACKNOWLEDGE DRIVER DRIVER_OK FEATURES_OK DEVICE_NEEDS_RESET"
    assert status.describe(0) == "RESET"
    assert deviceid.device_name(4) == "entropy"
    assert deviceid.device_name(99) == "type 99"


def test_the_block_configuration_has_the_layout_of_the_standard():
    fields = {
        "capacity": 1 << 40,
        "size_max": 2,
        "seg_max": 3,
        "cylinders": 4,
        "heads": 5,
        "sectors": 6,
        "blk_size": 7,
        "physical_block_exp": 8,
        "alignment_offset": 9,
        "min_io_size": 10,
        "opt_io_size": 11,
        "writeback": 1,
        "num_queues": 13,
    }
    assert BlockConfig(**fields).encode() == bytes(Config(**fields))
    assert BlockConfig.decode(bytes(Config(**fields))) == BlockConfig(**fields)
    assert ctypes.sizeof(Config) == block.CONFIG_SIZE
    assert Config.writeback.offset == block.CONFIG_WRITEBACK_OFFSET


def test_a_configuration_that_ends_early_reads_as_zero():
    assert BlockConfig.decode((8).to_bytes(8, "little")) == BlockConfig(capacity=8, num_queues=0)
    assert BlockConfig.decode(BlockConfig(5).encode() + b"later fields") == BlockConfig(5)
