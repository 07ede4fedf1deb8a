# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq guests slot`: what is typed in a running guest to add an adapter to it (DLPAR)."""

import string
from pathlib import Path
from typing import Annotated

import typer

from virtio_crq.cli.guestplan import guest_partition
from virtio_crq.errors import UsageError
from virtio_crq.guests import tree
from virtio_crq.hypervisor.definition import unit_address
from virtio_crq.hypervisor.machine import Machine
from virtio_crq.hypervisor.machinefile import read_machine_file

PLAIN = string.ascii_letters + "-_,@/#. "  # as they are in printf's format; a digit would prolong an octal number
LINE = 40  # bytes a line: four characters each at worst, and a shell's line is bounded
NODE = "/run/virtio-crq-node"


def slot(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The machine file.")],
    number: Annotated[int, typer.Argument(metavar="SLOT", min=2, help="The adapter's slot in the guest.")],
    partition: Annotated[
        str | None, typer.Argument(metavar="GUEST", help="The guest; needed when the file has several.")
    ] = None,
) -> None:
    """Print what a running guest is to be told, in its shell, to take an adapter that was not there at its boot.

    The adapter is one with boot = false. Its node goes to /proc/powerpc/ofdt and its slot's name to the kernel's
    module rpadlpar_io, as the tools of PowerVM do it.

    Examples:
      virtio-crq guests slot machine.toml 3
    """
    machine = read_machine_file(file)
    name = guest_partition(machine, partition).name
    definition = machine.definition()
    row = next((row for row in definition.adapters if row.client == name and row.client_slot == number), None)
    if row is None:
        raise UsageError(f"{file}: guest {name} is the client of no adapter in slot {number}")
    if row.boot:
        raise UsageError(f"{file}: the adapter in slot {number} of {name} is there at boot; give it boot = false")
    with Machine(definition) as emulated:
        description = emulated.descriptors_for(name).description
    unit = unit_address(number)
    print(*commands(tree.slot_node(description, unit), tree.slot_name(description, unit)), sep="\n")


def commands(node: bytes, name: str) -> list[str]:
    """Lines for a shell."""
    parts = [node[start : start + LINE] for start in range(0, len(node), LINE)]
    written = [f"printf '{_quoted(part)}' >>{NODE}" for part in parts]
    add = f"printf %s '{name}' >/sys/bus/pci/slots/control/add_slot"
    return [f"rm -f {NODE}", *written, f"cat {NODE} >/proc/powerpc/ofdt", add]


def _quoted(part: bytes) -> str:
    """In printf's own words: every other byte in three octal digits."""
    return "".join(chr(byte) if chr(byte) in PLAIN else f"\\{byte:03o}" for byte in part)
