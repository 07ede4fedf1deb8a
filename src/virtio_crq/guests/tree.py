# SPDX-License-Identifier: Apache-2.0
"""The guest's device tree as PowerVM presents it: our adapters under /vdevice, in place of borrowed terminals.

Also what dynamic reconfiguration (DLPAR) needs: a slot of each adapter, there or still empty.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import libfdt

from virtio_crq.errors import PlatformError, UsageError
from virtio_crq.guests.qemu import BELLS
from virtio_crq.papr.devicetree import cells, strings
from virtio_crq.platform.partition import UnitAddress

# Function sets that QEMU does not announce and our engine may have, and those that QEMU has and a platform may lack.
ADDED, WITHHELD = ("hcall-crq", "hcall-rdma", "hcall-vioctl"), ("hcall-multi-tce",)
SLOT_TYPE = "SLOT"  # ibm,drc-types of a virtual slot
NEVER_POWERED = 0xFFFF_FFFF  # ibm,drc-power-domains: not there
DRC_BASE = 0x3000_0000  # type nibble 3: virtual I/O (LoPAR, "DRC index")
ROOM = 1 << 16
SMALLEST = 40  # bytes: the header alone


def present(blob: bytes, description: Mapping[str, Any]) -> bytes:
    """The tree with our adapters in it. Refused when it would not fit where the old one was."""
    _check(blob)
    try:
        tree = libfdt.Fdt(bytearray(blob))
        tree.resize(tree.totalsize() + ROOM)
        _root(tree, description)
        _functions(tree, description["functions"])
        _slots(tree, description)
        for place, adapter in enumerate(description["adapters"]):
            _replace(tree, place, adapter)
        tree.pack()
    except libfdt.FdtException as error:
        raise PlatformError("device tree", error.err, str(error)) from None
    except UnicodeError:
        raise PlatformError("device tree", 0, "ibm,hypertas-functions is no list of names") from None
    edited = bytes(tree.as_bytearray())
    if len(edited) > len(blob):
        raise PlatformError("device tree", 0, f"{len(edited)} bytes do not fit in {len(blob)}")
    return edited


def _check(blob: bytes) -> None:
    """A guest wrote it, and libfdt's other functions believe what it says of sizes, offsets and nesting."""
    if len(blob) < SMALLEST or int.from_bytes(blob[4:8], "big") != len(blob):
        raise PlatformError("device tree", 0, f"{len(blob)} bytes are not a whole tree")
    code = libfdt.fdt_check_full(bytearray(blob), len(blob))
    if code:
        raise PlatformError("device tree", code, "not a well-formed tree")


def _root(tree: libfdt.Fdt, description: Mapping[str, Any]) -> None:
    tree.setprop(0, "ibm,partition-name", strings(description["name"]))
    tree.setprop(0, "ibm,partition-no", cells(description["number"]))
    tree.setprop(0, "ibm,partition-uuid", strings(description["uuid"]))


def _functions(tree: libfdt.Fdt, offered: Collection[str]) -> None:
    """A kernel calls what is announced, and believes it: one without multi-TCE calls makes single ones instead."""
    rtas = tree.path_offset("/rtas")
    known = bytes(tree.getprop(rtas, "ibm,hypertas-functions")).decode("ascii").rstrip("\0").split("\0")
    kept = [name for name in known if name in offered or name not in WITHHELD]
    missing = [name for name in ADDED if name in offered and name not in kept]
    tree.setprop(rtas, "ibm,hypertas-functions", strings(*kept, *missing))


def _slots(tree: libfdt.Fdt, description: Mapping[str, Any]) -> None:
    bus = tree.path_offset("/vdevice")
    kept = {"name", "device_type", "compatible", "#address-cells", "#size-cells", "#interrupt-cells"}
    for name, value in description["bus"].items():
        if name not in kept:
            tree.setprop(bus, name, bytes.fromhex(value))
    units = [adapter["unit_address"] for adapter in description["adapters"]]
    names = [_location(adapter) for adapter in description["adapters"]]
    count = cells(len(units))
    tree.setprop(bus, "ibm,drc-indexes", count + cells(*(_drc_index(unit) for unit in units)))
    tree.setprop(bus, "ibm,drc-names", count + strings(*names))
    tree.setprop(bus, "ibm,drc-types", count + strings(*(SLOT_TYPE for _ in units)))
    tree.setprop(bus, "ibm,drc-power-domains", count + cells(*(NEVER_POWERED for _ in units)))


def _replace(tree: libfdt.Fdt, place: int, adapter: Mapping[str, Any]) -> None:
    """The borrowed terminal goes; the adapter has its interrupt, which must be the one that firmware told it."""
    borrowed = tree.path_offset(f"/vdevice/vty@{BELLS + place:x}")
    interrupt = bytes(tree.getprop(borrowed, "interrupts"))
    properties = _properties(adapter)
    if properties["interrupts"] != interrupt:
        wanted, found = properties["interrupts"].hex(), interrupt.hex()
        raise PlatformError("device tree", 0, f"adapter {adapter['unit_address']:#x}: interrupt {wanted}, not {found}")
    tree.del_node(borrowed)
    if adapter["boot"]:
        node = tree.add_subnode(tree.path_offset("/vdevice"), _node_name(adapter))
        for name, value in reversed(properties.items()):  # libfdt puts a new property in front of the others
            if name != "name":
                tree.setprop(node, name, value)


def _properties(adapter: Mapping[str, Any]) -> dict[str, bytes]:
    properties = {name: bytes.fromhex(value) for name, value in adapter["properties"].items()}
    return {**properties, "ibm,my-drc-index": cells(_drc_index(adapter["unit_address"]))}


def _node_name(adapter: Mapping[str, Any]) -> str:
    stem = bytes.fromhex(adapter["properties"]["name"]).rstrip(b"\0").decode()
    return f"{stem}@{adapter['unit_address']:x}"


def _drc_index(unit_address: int) -> int:
    return DRC_BASE | unit_address & 0xFFFF


def _location(adapter: Mapping[str, Any]) -> str:
    return bytes.fromhex(adapter["properties"]["ibm,loc-code"]).rstrip(b"\0").decode()


def _adapter(description: Mapping[str, Any], unit_address: UnitAddress) -> Mapping[str, Any]:
    adapters: Iterable[Mapping[str, Any]] = description["adapters"]
    for adapter in adapters:
        if adapter["unit_address"] == unit_address:
            return adapter
    raise UsageError(f"partition {description['name']} has no adapter {unit_address:#x}")


def slot_node(description: Mapping[str, Any], unit_address: UnitAddress) -> bytes:
    """The line for /proc/powerpc/ofdt that adds the adapter's node: `name length data` for each property."""
    adapter = _adapter(description, unit_address)
    words = [b"add_node", f"/vdevice/{_node_name(adapter)}".encode()]
    # The kernel takes a property without a value for the end of a line that it cuts off.
    for name, value in sorted(_properties(adapter).items(), key=lambda item: not item[1], reverse=True):
        words += [name.encode(), str(len(value)).encode(), value]
    return b" ".join(words)


def slot_name(description: Mapping[str, Any], unit_address: UnitAddress) -> str:
    """The adapter's DRC name, which is its location code."""
    return _location(_adapter(description, unit_address))
