# SPDX-License-Identifier: Apache-2.0
"""The processes of a machine: which there are, how each is started, and when it is ready."""

import sys
from dataclasses import dataclass
from pathlib import Path

from virtio_crq.hypervisor.machinefile import SERVER_KEYS
from virtio_crq.hypervisor.machinerows import MachineFile, PartitionRow
from virtio_crq.hypervisor.statedirectory import ATTACH_SOCKET
from virtio_crq.vios.control import socket_path

HYPERVISOR = "hypervisor"


@dataclass(frozen=True)
class Role:
    """A process by its name in the machine. It is ready once somebody listens on `ready`."""

    name: str
    argv: tuple[str, ...]
    ready: Path


def command(*arguments: str) -> tuple[str, ...]:
    """This very command, in this very interpreter."""
    return (sys.executable, "-m", "virtio_crq.cli", *arguments)


def roles(machine: MachineFile, state_directory: Path) -> list[Role]:
    """All roles in the order of starting: the hypervisor, then its servers."""
    file = str(machine.path.resolve())
    hypervisor = Role(HYPERVISOR, command("hypervisor", file), state_directory / ATTACH_SOCKET)
    servers = [
        Role(
            row.name,
            command("vios", "run", row.name, "--file", file, "--machine", machine.name, *_options(row)),
            socket_path(state_directory, row.name),
        )
        for row in machine.servers()
    ]
    return [hypervisor, *servers]


def _options(row: PartitionRow) -> list[str]:
    """What the machine file says about how a server works."""
    said = {name: getattr(row, name) for name in SERVER_KEYS}
    return [f"--{name}={value}" for name, value in said.items() if value is not None]
