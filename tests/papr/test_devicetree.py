# SPDX-License-Identifier: Apache-2.0
"""Device-tree nodes: what is built is what is parsed, in the binding's encoding; what breaks it is refused by name."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtio_crq.errors import PlatformError
from virtio_crq.papr import devicetree
from virtio_crq.papr.devicetree import AdapterProperties, Window

CELL = st.integers(0, 0xFFFFFFFF)
WINDOWS = st.lists(st.builds(Window, CELL, st.integers(0, (1 << 64) - 1)), min_size=1, max_size=3).map(tuple)
SERVER = AdapterProperties(
    *(0x30000002, *devicetree.SERVER_TYPE, (0x1102,), (Window(0x10000002, 1 << 28), Window(0x10010002, 1 << 28)), True),
    location_code="U9009.42A.0000000-V1-C2",
)


@given(CELL, st.lists(CELL, max_size=2).map(tuple), WINDOWS, st.booleans())
def test_a_node_survives_building_and_parsing(
    unit: int, interrupts: tuple[int, ...], windows: tuple[Window, ...], server: bool
) -> None:
    node = AdapterProperties(unit, "vscsi", "IBM,v-scsi", interrupts, windows, server, "U-V1-C2")
    assert devicetree.parse(devicetree.build(node)) == node


def test_windows_are_triples_of_one_and_two_and_two_big_endian_cells() -> None:
    first = devicetree.build(SERVER)["ibm,my-dma-window"][:20]
    assert first == bytes.fromhex("10000002 0000000000000000 0000000010000000")


def test_interrupts_are_pairs_marked_as_edge() -> None:
    assert devicetree.build(SERVER)["interrupts"] == bytes.fromhex("00001102 00000000")


def test_a_server_says_so_and_a_client_does_not() -> None:
    assert devicetree.build(SERVER)["ibm,vserver"] == b""
    client = AdapterProperties(1, *devicetree.CLIENT_TYPE, (1,), (Window(1, 4096),), False)
    assert "ibm,vserver" not in devicetree.build(client)


@pytest.mark.parametrize(("limit", "encoded"), [(128 * 1024, "00020000"), (0, None)])
def test_the_bus_says_the_longest_copy_or_nothing(limit: int, encoded: str | None) -> None:
    bus = devicetree.vdevice(limit)
    value = bus.get("ibm,max-virtual-dma-size")
    assert (value.hex() if value is not None else None) == encoded
    assert devicetree.max_copy(bus) == limit


def test_interrupts_of_sub_crqs_are_a_range_and_odd_cells_are_refused() -> None:
    properties = devicetree.build(replace(SERVER, interrupt_ranges=((0x2000, 16),)))
    assert properties["interrupt-ranges"] == bytes.fromhex("00002000 00000010")
    assert devicetree.parse(properties).interrupt_ranges == ((0x2000, 16),)
    assert "interrupt-ranges" not in devicetree.build(SERVER)
    with pytest.raises(PlatformError, match="interrupt-ranges"):
        devicetree.parse({**properties, "interrupt-ranges": devicetree.cells(1, 2, 3)})


def test_windows_of_single_cells_are_read_too() -> None:
    properties = {
        **devicetree.build(SERVER),
        "ibm,#dma-address-cells": devicetree.cells(1),
        "ibm,#dma-size-cells": devicetree.cells(1),
        "ibm,my-dma-window": devicetree.cells(7, 0, 0x10000),
    }
    assert devicetree.parse(properties).windows == (Window(7, 0x10000),)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("reg", None, "reg: is missing"),
        ("reg", b"\0\0", "reg: 2 bytes are not one cell"),
        ("reg", bytes(8), "reg: 8 bytes are not one cell"),
        ("interrupts", bytes(12), "interrupts: 3 cells are not pairs"),
        ("ibm,my-dma-window", b"", "ibm,my-dma-window: 0 cells"),
        ("ibm,my-dma-window", bytes(24), "ibm,my-dma-window: 6 cells"),
        ("ibm,my-dma-window", bytes(80), "ibm,my-dma-window: 20 cells"),
        ("ibm,#dma-size-cells", bytes.fromhex("00000009"), "9 size cells"),
        ("device_type", b"vscsi", "device_type: is not terminated"),
        ("compatible", None, "compatible: is missing"),
    ],
)
def test_a_malformed_property_is_refused_by_name(name: str, value: bytes | None, message: str) -> None:
    properties = {**devicetree.build(SERVER)}
    if value is None:
        del properties[name]
    else:
        properties[name] = value
    with pytest.raises(PlatformError, match=message):
        devicetree.parse(properties)
