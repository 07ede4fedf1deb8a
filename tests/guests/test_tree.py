# SPDX-License-Identifier: Apache-2.0
"""The guest's device tree: what is put in, what is taken out, what is refused; and the line that adds a slot later."""

import contextlib
import random
from typing import Any

import libfdt
import pytest

from virtio_crq.errors import PlatformError, UsageError
from virtio_crq.guests.qemu import BELLS
from virtio_crq.guests.tree import present, slot_name, slot_node
from virtio_crq.hypervisor.definition import AdapterDefinition, MachineDefinition, PartitionDefinition
from virtio_crq.hypervisor.machine import Machine
from virtio_crq.papr.devicetree import cells, parse, strings
from virtio_crq.platform.partition import UnitAddress

MEBIBYTE = 1 << 20
FUNCTIONS = strings("hcall-pft", "hcall-vio", "hcall-crq")


def description(boot: bool = True, profile: str = "power9") -> dict[str, Any]:
    """Of a partition with a client adapter in slot 2, and a server adapter in slot 5."""
    partitions = [PartitionDefinition("web1", 7, MEBIBYTE, guest=True), PartitionDefinition("other", 2, MEBIBYTE)]
    adapters = [
        AdapterDefinition("web1", "other", 2, 2, MEBIBYTE, MEBIBYTE, boot=boot),
        AdapterDefinition("other", "web1", 3, 5, MEBIBYTE, MEBIBYTE, node="vscsi"),
    ]
    with Machine(MachineDefinition("test", profile, partitions, adapters)) as machine:
        return machine.descriptors_for("web1").description


def flat(first_interrupt: int = 0x1110, spare: int = 8192) -> bytes:
    """A tree as the kernel's boot code flattens it: QEMU's nodes, with room between them."""
    tree = libfdt.Fdt.create_empty_tree(1 << 16)
    tree.setprop(0, "ibm,partition-name", strings("qemu"))
    rtas = tree.add_subnode(0, "rtas")
    tree.setprop(rtas, "ibm,hypertas-functions", FUNCTIONS)
    bus = tree.add_subnode(0, "vdevice")
    tree.setprop(bus, "#address-cells", cells(1))
    for unit, interrupt in ((0x7100_0001, 0x1101), (BELLS, first_interrupt), (BELLS + 1, 0x1111)):
        node = tree.add_subnode(tree.path_offset("/vdevice"), f"vty@{unit:x}")
        tree.setprop(node, "interrupts", cells(interrupt, 0))
    tree.pack()
    tree.resize(tree.totalsize() + spare)
    return bytes(tree.as_bytearray())


def children(blob: bytes) -> list[str]:
    tree = libfdt.Fdt(blob)
    found = []
    node = tree.first_subnode(tree.path_offset("/vdevice"), [libfdt.NOTFOUND])
    while node >= 0:
        found.append(tree.get_name(node))
        node = tree.next_subnode(node, [libfdt.NOTFOUND])
    return sorted(found)


def value(blob: bytes, path: str, name: str) -> bytes:
    tree = libfdt.Fdt(blob)
    return bytes(tree.getprop(tree.path_offset(path), name))


@pytest.mark.parametrize(
    ("profile", "announced"),
    [
        ("power9", {"hcall-pft", "hcall-vio", "hcall-crq", "hcall-multi-tce", "hcall-rdma", "hcall-vioctl"}),
        ("lopar-minimum", {"hcall-pft", "hcall-vio", "hcall-crq", "hcall-rdma"}),
    ],
)
def test_a_kernel_is_told_of_the_calls_that_its_platform_has(profile: str, announced: set[str]) -> None:
    """Stock ibmvscsis could not map where QEMU's multi-TCE calls were announced and the answer was H_Function."""
    functions = strings("hcall-pft", "hcall-vio", "hcall-crq", "hcall-multi-tce")
    tree = libfdt.Fdt(bytearray(flat()))
    tree.setprop(tree.path_offset("/rtas"), "ibm,hypertas-functions", functions)
    edited = present(bytes(tree.as_bytearray()), description(profile=profile))
    words = value(edited, "/rtas", "ibm,hypertas-functions").decode().rstrip("\0").split("\0")
    assert (set(words), len(words)) == (announced, len(announced))


def test_adapters_take_the_place_of_borrowed_terminals() -> None:
    edited = present(flat(), description())
    assert children(edited) == ["v-scsi-host@30000005", "virtio-crq@30000002", "vty@71000001"]
    raw = description()["adapters"][1]["properties"]
    for name, text in raw.items():
        if name != "name":  # the format derives it from the node's own
            assert value(edited, "/vdevice/v-scsi-host@30000005", name) == bytes.fromhex(text)
    node = parse({name: bytes.fromhex(text) for name, text in raw.items()})
    assert node.server
    assert len(node.windows) == 2
    assert value(edited, "/vdevice/virtio-crq@30000002", "interrupts") == cells(0x1110, 0)


def test_root_bus_and_function_sets_are_as_powervm_has_them() -> None:
    edited = present(flat(), description(profile="power8"))
    assert value(edited, "/", "ibm,partition-name") == strings("web1")
    assert value(edited, "/", "ibm,partition-no") == cells(7)
    assert value(edited, "/", "ibm,partition-uuid") == strings(description()["uuid"])
    assert value(edited, "/rtas", "ibm,hypertas-functions") == FUNCTIONS + strings("hcall-rdma", "hcall-vioctl")
    bus = {name: bytes.fromhex(text) for name, text in description(profile="power8")["bus"].items()}
    assert "ibm,max-virtual-dma-size" in bus
    assert value(edited, "/vdevice", "ibm,max-virtual-dma-size") == bus["ibm,max-virtual-dma-size"]
    assert value(edited, "/vdevice", "#address-cells") == cells(1)


def test_slots_of_all_adapters_are_told_whether_they_are_there_or_not() -> None:
    edited = present(flat(), description(boot=False))
    assert children(edited) == ["v-scsi-host@30000005", "vty@71000001"]
    assert value(edited, "/vdevice", "ibm,drc-indexes") == cells(2, 0x3000_0002, 0x3000_0005)
    names = value(edited, "/vdevice", "ibm,drc-names")
    assert names[:4] == cells(2)
    assert names[4:].split(b"\0")[:2] == [
        slot_name(description(), unit(2)).encode(),
        slot_name(description(), unit(5)).encode(),
    ]
    assert value(edited, "/vdevice", "ibm,drc-types") == cells(2) + strings("SLOT", "SLOT")
    assert value(edited, "/vdevice", "ibm,drc-power-domains") == cells(2, 0xFFFF_FFFF, 0xFFFF_FFFF)
    assert value(edited, "/vdevice/v-scsi-host@30000005", "ibm,my-drc-index") == cells(0x3000_0005)


def unit(slot: int) -> UnitAddress:
    return UnitAddress(0x3000_0000 + slot)


def test_the_edited_tree_is_no_longer_than_the_old_one() -> None:
    blob = flat()
    assert len(present(blob, description())) <= len(blob)
    with pytest.raises(PlatformError, match=r"\d+ bytes do not fit in \d+"):
        present(flat(spare=0), description())


def test_an_interrupt_that_is_not_the_borrowed_terminals_is_refused() -> None:
    with pytest.raises(PlatformError, match=r"adapter 0x30000002: interrupt 0000111000000000, not 0000119900000000"):
        present(flat(first_interrupt=0x1199), description())


NO_TREES = {
    "nothing": b"",
    "zeroes": bytes(64),
    "no size": bytes.fromhex("d00dfeed") + bytes(60),
    "no version": bytes.fromhex("d00dfeed00000040") + bytes(56),
    "cut off": flat()[:-1],
}


@pytest.mark.parametrize("blob", NO_TREES.values(), ids=NO_TREES.keys())
def test_what_is_no_tree_is_refused(blob: bytes) -> None:
    with pytest.raises(PlatformError, match="device tree"):
        present(blob, description())


def parsed_line(line: bytes) -> tuple[bytes, list[tuple[str, bytes]]]:
    """As the kernel reads it: name, length, that many bytes, one blank."""
    command, path, rest = line.split(b" ", 2)
    assert command == b"add_node"
    found = []
    while rest:
        name, length, rest = rest.split(b" ", 2)
        found.append((name.decode(), rest[: int(length)]))
        rest = rest[int(length) :]
        assert rest[:1] in (b" ", b"")
        rest = rest[1:]
    return path, found


@pytest.mark.parametrize("slot", [2, 5])
def test_the_line_that_adds_a_slot_holds_the_whole_node(slot: int) -> None:
    path, properties = parsed_line(slot_node(description(), unit(slot)))
    row = next(row for row in description()["adapters"] if row["unit_address"] == unit(slot))
    assert path == (b"/vdevice/virtio-crq@30000002" if slot == 2 else b"/vdevice/v-scsi-host@30000005")
    wanted = {name: bytes.fromhex(text) for name, text in row["properties"].items()}
    assert dict(properties) == {**wanted, "ibm,my-drc-index": cells(unit(slot))}
    assert properties[-1][1], "the kernel cuts a last property without a value off"


def test_a_slot_that_is_not_the_partitions_is_refused() -> None:
    with pytest.raises(UsageError, match="partition web1 has no adapter 0x30000009"):
        slot_node(description(), unit(9))


@pytest.mark.parametrize("seed", range(8))
def test_a_forged_tree_is_refused_or_edited_and_corrupts_nothing(seed: int) -> None:
    """libfdt's editing functions trust the structure block: some of these made it write behind its buffer."""
    choice, told, whole = random.Random(seed), description(), flat()
    for _ in range(200):
        forged = bytearray(whole)
        for _ in range(choice.choice((1, 2, 3, 8))):
            at = choice.randrange(8, 700) & ~3
            forged[at : at + 4] = cells(choice.choice((0, 1, 2, 3, 4, 9, 0x7FFFFFFF, choice.randrange(1 << 16))))
        with contextlib.suppress(PlatformError):
            present(bytes(forged), told)


def test_function_sets_that_are_no_text_are_refused() -> None:
    tree = libfdt.Fdt(bytearray(flat()))
    tree.setprop(tree.path_offset("/rtas"), "ibm,hypertas-functions", b"\xff\xfe\0")
    with pytest.raises(PlatformError, match="no list of names"):
        present(bytes(tree.as_bytearray()), description())
