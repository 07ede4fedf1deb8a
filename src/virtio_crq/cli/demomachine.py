# SPDX-License-Identifier: Apache-2.0
"""The demo's machine: hypervisor, server and client as processes of their own, and how one is killed and comes back."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Any

from virtio_crq.cli.demotree import DemoFailed
from virtio_crq.cli.processes import ProcessTable
from virtio_crq.cli.roles import HYPERVISOR, command, roles
from virtio_crq.hypervisor.machinefile import parse_machine_file
from virtio_crq.hypervisor.statedirectory import make_state_directory

SERVER, CLIENT = "vios1", "web1"
PATIENCE = 60.0  # seconds; whatever takes longer hangs

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


class DemoClient:
    """The client partition's process: orders and answers are lines of JSON."""

    def __init__(self, state: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "virtio_crq.cli.democlient", str(state), CLIENT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the demo, which ends it
        )
        self.pid = self._process.pid
        # One that hangs is ended; whoever waits for its answer is then told.
        self._watch = Timer(2 * PATIENCE, self._process.kill)
        self._watch.daemon = True
        self._watch.start()

    def order(self, **words: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        words: dict[str, Any] = json.loads(line) if line else {"error": "it ended without a word"}
        if "error" in words:
            raise DemoFailed(f"the client: {words['error']}")
        return words

    def end(self) -> None:
        """Let it leave its partition in peace."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)

    def close(self) -> None:
        self._watch.cancel()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


class DemoMachine:
    """Made from `MACHINE` over backings in `work`; `close` leaves nothing of it."""

    def __init__(self, work: Path) -> None:
        self.name = f"demo-{os.getpid()}"
        self.directory = make_state_directory(self.name)
        file = work / "demo.toml"
        file.write_text(MACHINE.format(name=self.name))
        self.roles = {role.name: role for role in roles(parse_machine_file(file.read_text(), file), self.directory)}
        self._processes = ProcessTable(self.directory)
        self._shown: subprocess.Popen[bytes] | None = None

    def start(self) -> dict[str, int]:
        """The processes by name."""
        return {role.name: self._processes.start(role).pid for role in self.roles.values()}

    @contextmanager
    def client(self) -> Iterator[DemoClient]:
        client = DemoClient(self.directory)
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
        """A command as a user types it, in this terminal."""
        self._shown = subprocess.Popen(command(*arguments, "--machine", self.name))
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
        self._processes.stop_all(HYPERVISOR)
        shutil.rmtree(self.directory, ignore_errors=True)
