# SPDX-License-Identifier: Apache-2.0
"""The demo's machine: hypervisor, server and client as processes of their own, and how one is killed and comes back."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from virtio_crq.cli.clientprocess import PATIENCE, ClientProcess
from virtio_crq.cli.demotree import DemoFailed
from virtio_crq.cli.guardian import Guardian
from virtio_crq.cli.ownstate import clear
from virtio_crq.cli.processes import ProcessTable
from virtio_crq.cli.roles import command, roles
from virtio_crq.hypervisor.machinefile import parse_machine_file
from virtio_crq.hypervisor.statedirectory import make_own_directory

SERVER, CLIENT = "vios1", "web1"

MACHINE = """
[machine]
name = "{name}"

[partition.vios1]
memory = "64M"

[partition.web1]
memory = "64M"

[[adapter]]
client = "web1"
slot = 2
server = "vios1"

[[map]]
client = "web1"
target = "root"
backing = "file:root.img"

[[map]]
client = "web1"
target = "scratch"
backing = "file:scratch.img"
"""


class DemoMachine:
    """Made from `MACHINE` over backings in `work`; `close` leaves nothing of it."""

    def __init__(self, work: Path) -> None:
        self.name = f"demo-{os.getpid()}"
        self.directory = make_own_directory(self.name)
        file = work / "demo.toml"
        file.write_text(MACHINE.format(name=self.name))
        self.roles = {role.name: role for role in roles(parse_machine_file(file.read_text(), file), self.directory)}
        self._processes = ProcessTable(self.directory)
        self._guardian = Guardian(self.directory)
        self._shown: subprocess.Popen[bytes] | None = None

    def start(self) -> dict[str, int]:
        """The processes by name."""
        return {name: self._processes.start(role, self._guardian.watch).pid for name, role in self.roles.items()}

    @contextmanager
    def client(self) -> Iterator[ClientProcess]:
        client = ClientProcess("democlient", str(self.directory), CLIENT, lifetime=2 * PATIENCE)
        try:
            client.answer()  # that its devices are up
            yield client
            client.end()
        finally:
            client.close()

    def kill_server(self) -> None:
        """SIGKILL, and a new process in its place."""
        os.kill(self._processes.running()[SERVER].pid, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE
        while SERVER in self._processes.running() and time.monotonic() < deadline:
            time.sleep(0.01)  # dying takes a moment, as the kernel ends its I/O
        self._processes.start(self.roles[SERVER])

    def show(self, *arguments: str) -> None:
        """A command as a user types it, its progress in this terminal; what it says in the end is not repeated."""
        line = command(*arguments, "--machine", self.name)
        self._shown = subprocess.Popen(line, stdout=subprocess.DEVNULL)
        status = self._shown.wait()
        if status:
            raise DemoFailed(f"virtio-crq {' '.join(arguments[:2])} ended with status {status}")

    def output(self, *arguments: str) -> str:
        """What a command prints."""
        done = subprocess.run(command(*arguments, "--machine", self.name), capture_output=True, text=True)
        if done.returncode:
            raise DemoFailed(f"virtio-crq {' '.join(arguments[:2])}: {done.stderr.strip()}")
        return done.stdout

    def close(self) -> None:
        if self._shown is not None and self._shown.poll() is None:
            self._shown.terminate()
            self._shown.wait()
        clear(self.directory, self._processes)
        self._guardian.dismiss()
