# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq hypervisor FILE`: the hypervisor role of a machine; `up` starts it."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from virtio_crq.hypervisor.daemon import Daemon
from virtio_crq.hypervisor.machine import Machine
from virtio_crq.hypervisor.machinefile import read_machine_file
from virtio_crq.hypervisor.machinerows import MachineFile
from virtio_crq.hypervisor.statedirectory import make_state_directory


def run(file: Annotated[Path, typer.Argument(metavar="FILE", help="The machine file.")]) -> None:
    """Run the hypervisor of a machine file, in the foreground."""
    asyncio.run(serve(read_machine_file(file)))


async def serve(machine_file: MachineFile) -> None:
    directory = make_state_directory(machine_file.name)
    machine = Machine(machine_file.definition())
    try:
        machine.weak_copies(machine_file.weak_copies)
        machine.prices(machine_file.call_ns, machine_file.kib_ns)
        await Daemon(machine, directory).run()
    finally:
        machine.close()
