# SPDX-License-Identifier: Apache-2.0
"""A machine for one command: the one that is up already, or one that lives as long as the command.

Also when that is killed: a guardian, who has nothing else to do, sees the command's end and takes the machine down.
"""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from virtio_crq.cli.axes import write_note
from virtio_crq.cli.guardian import guarded
from virtio_crq.cli.interruption import held_back
from virtio_crq.cli.machine import FILE_NOTE, check_maps, clear
from virtio_crq.cli.processes import ProcessTable
from virtio_crq.cli.roles import HYPERVISOR, roles
from virtio_crq.cli.room import check_room
from virtio_crq.errors import UsageError
from virtio_crq.hypervisor.machinerows import MachineFile
from virtio_crq.hypervisor.statedirectory import ATTACH_SOCKET, answers, make_state_directory


@contextmanager
def machine_up(machine: MachineFile) -> Iterator[Path]:
    """The state directory of the machine; one that was started here is gone afterwards, with all of its processes."""
    check_maps(machine)
    check_room(machine)
    directory = make_state_directory(machine.name)
    if answers(directory / ATTACH_SOCKET):
        _same_file(machine, directory)
        yield directory
        return
    processes = ProcessTable(directory)
    with guarded(directory) as guardian:
        try:
            with processes.starting():
                clear(directory, processes)
                (directory / FILE_NOTE).write_text(str(machine.path.resolve()))
                write_note(directory, machine)
                started = [processes.start(role, guardian.watch) for role in roles(machine, directory)]
            names = ", ".join(f"{running.name} ({running.pid})" for running in started)
            print(f"machine {machine.name} is up: {names}", file=sys.stderr, flush=True)
            yield directory
        finally:
            with held_back():
                if processes.stop_mine(HYPERVISOR):
                    shutil.rmtree(directory, ignore_errors=True)


def _same_file(machine: MachineFile, directory: Path) -> None:
    """Refuse a machine of this name that was made from another file."""
    try:
        made_from = Path((directory / FILE_NOTE).read_text())
    except OSError:
        return  # its hypervisor was started by hand
    if made_from != machine.path.resolve():
        raise UsageError(
            f"machine {machine.name} is up, made from {made_from}; stop it: virtio-crq down -m {machine.name}"
        )
