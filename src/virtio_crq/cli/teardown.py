# SPDX-License-Identifier: Apache-2.0
"""The end of a machine: what a table of processes started, what a person started by hand, and the directory."""

import contextlib
import os
import select
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from virtio_crq.cli.processes import STOP_SECONDS, ProcessTable
from virtio_crq.cli.roles import HYPERVISOR
from virtio_crq.errors import UsageError
from virtio_crq.hypervisor.conversation import ask
from virtio_crq.hypervisor.statedirectory import ATTACH_SOCKET, answers, listener
from virtio_crq.vios.control import socket_path


def take_down(directory: Path) -> str:
    """Stop the machine and remove its directory; what was stopped. Refused while a process of it goes on."""
    processes = ProcessTable(directory)
    with contextlib.ExitStack() as stack:
        stack.enter_context(processes.starting())
        strangers = [(*who, stack.enter_context(_held(who[1]))) for who in _strangers(directory, processes)]
        stopped = processes.stop_all(HYPERVISOR)
        if answers(directory / ATTACH_SOCKET):
            ask(directory, "shutdown")
        deadline = time.monotonic() + STOP_SECONDS
        for name, pid, descriptor in strangers:
            # A server ends when its hypervisor does, whoever started it.
            if not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise UsageError(
                    f"{name} is process {pid}, which no pid file names, and goes on; end it with: kill {pid}"
                )
            stopped.append(f"{name} (process {pid}, which no pid file named)")
        shutil.rmtree(directory, ignore_errors=True)  # somebody may wait for the lock to start it anew
    return ", ".join(stopped)


def _strangers(directory: Path, processes: ProcessTable) -> list[tuple[str, int]]:
    """Role and process of all who answer on a socket of the machine and are not in the table."""
    known = {running.pid for running in processes.running().values()}
    prefix, suffix = socket_path(directory, "*").name.split("*")
    roles = {path: path.name.removeprefix(prefix).removesuffix(suffix) for path in directory.glob(f"{prefix}*{suffix}")}
    roles[directory / ATTACH_SOCKET] = HYPERVISOR
    found = [(name, listener(path)) for path, name in sorted(roles.items())]
    return [(name, pid) for name, pid in found if pid is not None and pid not in known]


@contextlib.contextmanager
def _held(pid: int) -> Iterator[int]:
    """A descriptor that is readable when the process has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)  # it has; this one is always readable
    try:
        yield descriptor
    finally:
        os.close(descriptor)
