# SPDX-License-Identifier: Apache-2.0
"""Where a machine lives that a command makes for itself: gone with it, and meant by no other command by default."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from virtio_crq.cli.guardian import guarded
from virtio_crq.cli.interruption import held_back
from virtio_crq.cli.processes import ProcessTable
from virtio_crq.cli.roles import HYPERVISOR, roles
from virtio_crq.hypervisor.machinefile import parse_machine_file
from virtio_crq.hypervisor.statedirectory import make_own_directory, state_directory


@contextmanager
def own_machine(name: str, text: str) -> Iterator[tuple[Path, ProcessTable]]:
    """As `own_state`, with all roles of the machine file `text` up; gone as well when this process is killed."""
    with guarded(state_directory(name)) as guardian, own_state(name) as (directory, processes):
        path = directory / "machine.toml"
        path.write_text(text)
        for role in roles(parse_machine_file(text, path), directory):
            processes.start(role, guardian.watch)
        yield directory, processes


@contextmanager
def own_state(name: str) -> Iterator[tuple[Path, ProcessTable]]:
    """A directory and the table of its processes; all of it is gone afterwards, whenever a stop comes."""
    with ExitStack() as stack:
        with held_back():
            directory = make_own_directory(name)
            processes = ProcessTable(directory)
            stack.callback(clear, directory, processes)
        yield directory, processes


def clear(directory: Path, processes: ProcessTable) -> None:
    with held_back():
        processes.stop_all(HYPERVISOR)
        shutil.rmtree(directory, ignore_errors=True)
