# SPDX-License-Identifier: Apache-2.0
"""Device-tree nodes of virtual adapters: `/vdevice` and its children; all cells are big-endian (PAPR binding)."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from virtio_crq.errors import PlatformError

ADDRESS_CELLS = 2  # of an `ibm,my-dma-window` triple; /vdevice has #size-cells 0, so children must say their own
SIZE_CELLS = 2
EDGE = 0  # second cell of an `interrupts` pair

MAX_VIRTUAL_DMA_SIZE = "ibm,max-virtual-dma-size"

# A pair that a management console can create on real hardware; its CRQ carries any payload.
CLIENT_TYPE = ("vscsi", "IBM,v-scsi")
SERVER_TYPE = ("v-scsi-host", "IBM,v-scsi-host")
# Stands in for a physical adapter, which on hardware is a child of a PCI host bridge: a table of TCEs and no CRQ.
STORAGE_TYPE = ("virtio-crq-storage", "virtio-crq,storage")


@dataclass(frozen=True)
class Window:
    """One pane: its handle and its size; I/O addresses in it start at 0."""

    liobn: int
    size: int


@dataclass(frozen=True)
class AdapterProperties:
    """What a child of /vdevice says. `windows[0]` is one's own pane; a server's `windows[1]` shows the partner's."""

    unit_address: int
    device_type: str
    compatible: str
    interrupts: tuple[int, ...]
    windows: tuple[Window, ...]
    server: bool
    location_code: str = ""
    interrupt_ranges: tuple[tuple[int, int], ...] = ()  # first number and count: where those of sub-CRQs are from


def cells(*values: int) -> bytes:
    """32-bit big-endian cells."""
    return struct.pack(f">{len(values)}I", *values)


def strings(*values: str) -> bytes:
    """NUL-terminated strings, one after the other."""
    return b"".join(value.encode("ascii") + b"\0" for value in values)


def vdevice(max_copy: int) -> dict[str, bytes]:
    """The bus node. `max_copy` 0: no `ibm,max-virtual-dma-size`, copies of any length."""
    properties = {
        "name": strings("vdevice"),
        "device_type": strings("vdevice"),
        "compatible": strings("IBM,vdevice"),
        "#address-cells": cells(1),
        "#size-cells": cells(0),
        "#interrupt-cells": cells(2),
        "interrupt-controller": b"",
    }
    if max_copy:
        properties[MAX_VIRTUAL_DMA_SIZE] = cells(max_copy)
    return properties


def build(node: AdapterProperties) -> dict[str, bytes]:
    """Encode a child node."""
    properties = {
        "name": strings(node.device_type),
        "device_type": strings(node.device_type),
        "compatible": strings(node.compatible),
        "reg": cells(node.unit_address),
        "interrupts": b"".join(cells(number, EDGE) for number in node.interrupts),
        "ibm,#dma-address-cells": cells(ADDRESS_CELLS),
        "ibm,#dma-size-cells": cells(SIZE_CELLS),
        "ibm,my-dma-window": b"".join(struct.pack(">IQQ", pane.liobn, 0, pane.size) for pane in node.windows),
    }
    if node.interrupt_ranges:
        properties["interrupt-ranges"] = b"".join(cells(*stretch) for stretch in node.interrupt_ranges)
    if node.location_code:
        properties["ibm,loc-code"] = strings(node.location_code)
    if node.server:
        properties["ibm,vserver"] = b""
    return properties


def parse(properties: Mapping[str, bytes]) -> AdapterProperties:
    """Decode a child node; a node that breaks the binding is refused with the property's name."""
    interrupts = _cells(properties, "interrupts", many=True)
    if len(interrupts) % 2:
        raise _malformed("interrupts", f"{len(interrupts)} cells are not pairs")
    return AdapterProperties(
        unit_address=_cells(properties, "reg")[0],
        device_type=_string(properties, "device_type"),
        compatible=_string(properties, "compatible"),
        interrupts=interrupts[::2],
        windows=_windows(properties),
        server="ibm,vserver" in properties,
        location_code=_string(properties, "ibm,loc-code") if "ibm,loc-code" in properties else "",
        interrupt_ranges=_ranges(properties),
    )


def max_copy(bus_properties: Mapping[str, bytes]) -> int:
    """The longest copy one call may move; 0 when the platform sets no limit."""
    if MAX_VIRTUAL_DMA_SIZE not in bus_properties:
        return 0
    return _cells(bus_properties, MAX_VIRTUAL_DMA_SIZE)[0]


def _windows(properties: Mapping[str, bytes]) -> tuple[Window, ...]:
    address_cells = _cells(properties, "ibm,#dma-address-cells")[0]
    size_cells = _cells(properties, "ibm,#dma-size-cells")[0]
    if address_cells not in (1, 2) or size_cells not in (1, 2):
        raise _malformed(
            "ibm,my-dma-window", f"{address_cells} address and {size_cells} size cells; allowed are 1 and 2"
        )
    flat = _cells(properties, "ibm,my-dma-window", many=True)
    stride = 1 + address_cells + size_cells
    if not flat or len(flat) % stride or len(flat) > 3 * stride:
        raise _malformed("ibm,my-dma-window", f"{len(flat)} cells are not one to three triples of {stride}")
    panes = []
    for start in range(0, len(flat), stride):
        size = flat[start + 1 + address_cells : start + stride]
        panes.append(Window(flat[start], sum(cell << 32 * place for place, cell in enumerate(reversed(size)))))
    return tuple(panes)


def _ranges(properties: Mapping[str, bytes]) -> tuple[tuple[int, int], ...]:
    if "interrupt-ranges" not in properties:
        return ()
    flat = _cells(properties, "interrupt-ranges", many=True)
    if len(flat) % 2:
        raise _malformed("interrupt-ranges", f"{len(flat)} cells are not pairs")
    return tuple(zip(flat[::2], flat[1::2], strict=True))


def _cells(properties: Mapping[str, bytes], name: str, many: bool = False) -> tuple[int, ...]:
    value = properties.get(name)
    if value is None:
        raise _malformed(name, "is missing")
    if len(value) % 4 or (len(value) != 4 and not many):
        raise _malformed(name, f"{len(value)} bytes are not {'cells' if many else 'one cell'}")
    return struct.unpack(f">{len(value) // 4}I", value)


def _string(properties: Mapping[str, bytes], name: str) -> str:
    value = properties.get(name)
    if value is None:
        raise _malformed(name, "is missing")
    text, terminator, _ = value.partition(b"\0")
    if not terminator:
        raise _malformed(name, "is not terminated")
    return text.decode("ascii", "replace")


def _malformed(name: str, detail: str) -> PlatformError:
    return PlatformError("device tree", 0, f"property {name}: {detail}")
