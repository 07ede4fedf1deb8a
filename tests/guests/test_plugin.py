# SPDX-License-Identifier: Apache-2.0
"""The plugin, call by call, on a processor without QEMU: what is ours, what is passed on, what is drained."""

import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakeprocessor import Processor, compiled

from virtio_crq.guests.qemu import BELLS
from virtio_crq.hypervisor.definition import AdapterDefinition, MachineDefinition, PartitionDefinition
from virtio_crq.hypervisor.machine import Machine
from virtio_crq.papr.devicetree import parse
from virtio_crq.papr.hypercalls import Hypercall

MEBIBYTE = 1 << 20
OURS, SECOND = 0x3000_0002, 0x3000_0003
H_GET_TERM_CHAR, H_PUT_TERM_CHAR = 0x54, 0x58
H_CLOSED, H_PARAMETER = 2, -4
QEMUS_OWN = 0x7100_0003  # a virtual device of QEMU's: its window is called like its unit address
PCI_WINDOW = 0x8000_0000
MASK, UNMASK = 0, 1


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("fakeqemu"))


@pytest.fixture
def machine() -> Iterator[Machine]:
    partitions = [
        PartitionDefinition("guest", 1, 16 * MEBIBYTE, guest=True),
        PartitionDefinition("vios", 2, 4 * MEBIBYTE),
    ]
    adapters = [AdapterDefinition("guest", "vios", slot, slot, MEBIBYTE, MEBIBYTE) for slot in (2, 3)]
    with Machine(MachineDefinition("test", "power9", partitions, adapters)) as machine:
        yield machine


@pytest.fixture
def guest(program: Path, machine: Machine) -> Iterator[Processor]:
    guest = Processor(program, machine, "guest")
    yield guest
    assert guest.end() == 0


def liobn(guest: Processor, place: int = 0) -> int:
    row = guest.description["adapters"][place]
    return parse({name: bytes.fromhex(value) for name, value in row["properties"].items()}).windows[0].liobn


def register(guest: Processor, unit: int = OURS, place: int = 0) -> None:
    assert guest.call(Hypercall.H_PUT_TCE, liobn(guest, place), 0x1000, 0x3000 | 3)[:2] == ("answered", 0)
    assert guest.call(Hypercall.H_REG_CRQ, unit, 0x1000, 0x1000)[:2] == ("answered", H_CLOSED)


def bell(machine: Machine, place: int = 0) -> int:
    """Where the guest's adapter is heard."""
    handover = machine.descriptors_for("guest")
    rows = zip(handover.description["descriptors"], handover.descriptors, strict=True)
    return [descriptor for row, descriptor in rows if row["what"] == "receiver"][place]


@pytest.mark.parametrize("order", ["little", "big"])
def test_calls_for_our_adapters_are_answered_in_either_byte_order(guest: Processor, order: str) -> None:
    word, code, registers = guest.call(Hypercall.H_GET_TCE, liobn(guest), 0x1000, order=order)
    assert (word, code, registers[0]) == ("answered", 0, 0)
    assert guest.call(Hypercall.H_PUT_TCE, liobn(guest), 0x1000, 0x3003, order=order)[:2] == ("answered", 0)
    word, code, registers = guest.call(Hypercall.H_GET_TCE, liobn(guest), 0x1000, 7, 8, order=order)
    assert (word, code, registers[0], registers[2:4]) == ("answered", 0, 0x3003, [7, 8])


PASSED = [
    ("a processor call", 0x2C, (1, 2, 3)),
    ("QEMU's window", Hypercall.H_PUT_TCE, (QEMUS_OWN, 0x1000, 3)),
    ("QEMU's windows at once", Hypercall.H_STUFF_TCE, (QEMUS_OWN, 0, 0, 16)),
    ("a PCI window", Hypercall.H_PUT_TCE_INDIRECT, (PCI_WINDOW, 0, 0x1000, 16)),
    ("QEMU's queue", Hypercall.H_REG_CRQ, (QEMUS_OWN, 0x1000, 0x1000)),
    ("QEMU's queue freed", Hypercall.H_FREE_CRQ, (QEMUS_OWN,)),
    ("QEMU's interrupt", Hypercall.H_VIO_SIGNAL, (QEMUS_OWN, 0)),
    ("a terminal", H_GET_TERM_CHAR, (0x7100_0001,)),
    ("a slot without adapter", Hypercall.H_SEND_CRQ, (0x3000_0009, 0x80 << 56, 0)),
]


@pytest.mark.parametrize(("opcode", "arguments"), [row[1:] for row in PASSED], ids=[row[0] for row in PASSED])
@pytest.mark.parametrize("order", ["little", "big"])
def test_what_is_qemus_passes_untouched(guest: Processor, opcode: int, arguments: tuple[int, ...], order: str) -> None:
    padded = [*arguments, *[0] * (9 - len(arguments))]
    assert guest.call(opcode, *arguments, order=order) == ("passed", opcode, padded)


def test_copies_are_ours_whatever_they_name(guest: Processor) -> None:
    assert guest.call(Hypercall.H_COPY_RDMA, 16, PCI_WINDOW, 0, liobn(guest), 0)[:2] == ("answered", -13)  # H_S_Parm
    assert guest.call(Hypercall.H_WRITE_RDMA, 16, PCI_WINDOW, 0)[0] == "answered"


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("opcode", [H_GET_TERM_CHAR, H_PUT_TERM_CHAR, Hypercall.H_VIO_SIGNAL])
def test_borrowed_terminals_are_not_the_guests_to_call(guest: Processor, opcode: int, order: str) -> None:
    """QEMU waits for a reader of what is written, and nobody reads there."""
    for unit in (BELLS, BELLS + 1):
        assert guest.call(opcode, unit, 16, order=order)[:2] == ("answered", H_PARAMETER)
    for unit in (BELLS - 1, BELLS + 2):
        assert guest.call(opcode, unit, 16, order=order)[:2] == ("passed", opcode)


@pytest.mark.parametrize("order", ["little", "big"])
def test_a_program_of_the_guest_makes_no_calls(guest: Processor, order: str) -> None:
    """In problem state QEMU answers H_Privilege itself, whatever the number."""
    assert guest.ask("msr 800000000280f033") == "went on"  # as Linux runs its programs
    for opcode, arguments in ((Hypercall.H_PUT_TCE, (liobn(guest), 0x1000, 0x3003)), (Hypercall.H_FREE_CRQ, (OURS,))):
        padded = [*arguments, *[0] * (9 - len(arguments))]
        assert guest.call(opcode, *arguments, order=order) == ("passed", opcode, padded)
    assert guest.ask("msr 8000000002803033") == "went on"  # and the kernel
    assert guest.call(Hypercall.H_GET_TCE, liobn(guest), 0x1000, order=order)[:2] == ("answered", 0)


def test_other_instructions_are_left_alone(guest: Processor) -> None:
    assert guest.ask("other 44000002") == "untouched"  # a system call
    assert guest.ask("other 7c0802a6") == "untouched"


@pytest.mark.parametrize("order", ["little", "big"])
def test_masking_ends_as_a_call_that_drains_the_borrowed_terminal(guest: Processor, order: str) -> None:
    register(guest, SECOND, 1)
    word, code, registers = guest.call(Hypercall.H_VIO_SIGNAL, SECOND, MASK, order=order)
    assert (word, code, registers[0]) == ("passed", H_GET_TERM_CHAR, BELLS + 1)
    assert guest.call(Hypercall.H_VIO_SIGNAL, SECOND, UNMASK, order=order)[:2] == ("answered", 0)
    word, code, registers = guest.call(Hypercall.H_VIOCTL, SECOND, 0xA, order=order)
    assert (word, code, registers[0]) == ("passed", H_GET_TERM_CHAR, BELLS + 1)
    word, code, registers = guest.call(Hypercall.H_FREE_CRQ, SECOND, order=order)
    assert (word, code, registers[0]) == ("passed", H_GET_TERM_CHAR, BELLS + 1)


def test_a_refused_masking_keeps_its_code(guest: Processor) -> None:
    assert guest.call(Hypercall.H_VIOCTL, OURS, 0xB, 0x1234)[:2] == ("answered", H_PARAMETER)


def test_what_was_rung_before_the_masking_is_not_heard_after_it(guest: Processor, machine: Machine) -> None:
    register(guest)
    with machine.attach("vios") as vios:
        port = vios.open(vios.adapters()[0].unit_address)
        assert port.map(0, 0, 0x1000, 3) == 0
        assert port.call(Hypercall.H_REG_CRQ, vios.adapters()[0].unit_address, 0, 0x1000)[0] == 0
        assert guest.call(Hypercall.H_VIO_SIGNAL, OURS, UNMASK)[:2] == ("answered", 0)
        assert port.send(0xC001 << 48, 0) == 0
        assert select.select([bell(machine)], [], [], 0)[0]
        guest.call(Hypercall.H_VIO_SIGNAL, OURS, MASK)
        assert not select.select([bell(machine)], [], [], 0)[0]
        assert port.send(0x80 << 56, 0) == 0
        assert not select.select([bell(machine)], [], [], 0)[0]
        assert guest.call(Hypercall.H_VIO_SIGNAL, OURS, UNMASK)[:2] == ("answered", 0)
        assert os.read(bell(machine), 64) == b"\1"


def received(control: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        more = control.recv(length - len(data))
        assert more
        data += more
    return data


TREE = bytes.fromhex("d00dfeed00000040") + bytes(56)


@pytest.fixture
def booted(program: Path, machine: Machine) -> Iterator[tuple[Processor, int]]:
    """A guest whose kernel has flattened a tree at 0x8000, and a descriptor of its RAM."""
    guest = Processor(program, machine, "guest")
    handover = machine.descriptors_for("guest")
    rows = zip(handover.description["descriptors"], handover.descriptors, strict=True)
    ram = next(descriptor for row, descriptor in rows if row["what"] == "ram" and row["partition"] == 0)
    os.pwrite(ram, TREE, 0x8000)
    yield guest, ram
    guest.control.close()


@pytest.mark.parametrize("swapped", [False, True])
def test_the_tree_goes_out_at_the_second_entry_and_the_edited_one_takes_its_place(
    booted: tuple[Processor, int], swapped: bool
) -> None:
    guest, ram = booted
    at = int.from_bytes((0x8000).to_bytes(8, "little"), "big") if swapped else 0x8000
    assert guest.ask("enter 8000 1234") == "went on"  # the first entry: R5 is the firmware's address
    assert guest.ask("enter 9000 0") == "went on"  # no tree there
    guest.say(f"enter {at:x} 0")
    assert received(guest.control, len(b"tree 64\n") + 64) == b"tree 64\n" + TREE
    edited = TREE[:8] + b"edited"
    guest.control.sendall(f"tree {len(edited)}\n".encode() + edited)
    assert guest.ask("other 0") == "went on"
    assert os.pread(ram, len(edited), 0x8000) == edited
    guest.say("enter 8000 0")  # another processor, or a program of the guest at that address
    assert guest.line() == "untouched"
    assert guest.line() == "went on"
    guest.end()


@pytest.mark.parametrize("answer", [b"refuse\n", b"tree 65\n", b"tree 0\n", b"x" * 40])
def test_without_an_edited_tree_the_guest_ends_and_says_why(booted: tuple[Processor, int], answer: bytes) -> None:
    guest, ram = booted
    guest.say("enter 8000 0")
    received(guest.control, len(b"tree 64\n") + 64)
    guest.control.sendall(answer)
    assert guest.control.recv(100).startswith(b"error the guest's device tree was ")
    assert os.pread(ram, 64, 0x8000) == TREE
    assert guest.ended() == 1
    guest.end()


def test_a_guest_ends_with_whoever_started_it(program: Path, machine: Machine) -> None:
    guest = Processor(program, machine, "guest")
    assert guest.ask("other 0") == "untouched"
    guest.control.close()
    assert guest.ended() == 1
    guest.end()


def test_a_guest_ends_with_its_machine_and_says_so(program: Path, machine: Machine) -> None:
    guest = Processor(program, machine, "guest")
    assert guest.ask("other 0") == "untouched"
    guest.hypervisor.close()
    assert guest.control.recv(100) == b"error the machine's hypervisor has ended\n"
    assert guest.ended() == 1
    guest.end()
