# SPDX-License-Identifier: Apache-2.0
"""A machine whose hypervisor and servers are processes, started and stopped by the command, as a user would."""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from errno import EOPNOTSUPP
from pathlib import Path
from typing import Any

import virtio_crq

COMMAND = (sys.executable, "-m", "virtio_crq.cli")
PATIENCE = 60  # seconds; nothing here takes nearly as long, a hang fails all the same


class RunningMachine:
    """One machine in a directory of its own; `with` brings it up and takes it down."""

    def __init__(self, directory: Path, text: str, name: str = "system") -> None:
        self.directory = directory
        self.name = name
        self.file = directory / "machine.toml"
        self.file.write_text(text)
        runtime = Path(tempfile.mkdtemp(prefix="vc"))  # socket paths are short; a test's own directory is not
        source = str(Path(virtio_crq.__file__).parents[1])  # the commands run elsewhere; a relative path would not do
        self.environment = os.environ | {"XDG_RUNTIME_DIR": str(runtime), "COLUMNS": "200", "PYTHONPATH": source}
        self.state = runtime / "virtio-crq" / name

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """One command; whatever its status."""
        return subprocess.run(
            [*COMMAND, *arguments],
            env=self.environment,
            cwd=self.directory,
            text=True,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )

    def must(self, *arguments: str) -> str:
        """One command that has to succeed; what it printed."""
        done = self.run(*arguments)
        assert done.returncode == 0, f"{arguments}: status {done.returncode}\n{done.stdout}{done.stderr}\n{self.logs()}"
        return done.stdout

    def logs(self) -> str:
        return "\n".join(f"--- {path.name}\n{path.read_text()[-4000:]}" for path in sorted(self.state.glob("*.log")))

    def __enter__(self) -> "RunningMachine":
        self.must("up", str(self.file), "--detach")
        return self

    def __exit__(self, *exception: object) -> None:
        self.run("down", "--machine", self.name)
        shutil.rmtree(self.state.parents[1], ignore_errors=True)

    def pid(self, role: str) -> int:
        return int(json.loads((self.state / f"{role}.pid").read_text())["pid"])

    def kill(self, role: str) -> None:
        """kill -9, and wait until the process is gone."""
        pid = self.pid(role)
        descriptor = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            assert select.select([descriptor], [], [], PATIENCE)[0], f"{role} does not die"
        finally:
            os.close(descriptor)

    def start(self, role: str) -> None:
        self.must("start", role, "--machine", self.name)

    def lsmap(self) -> list[dict[str, Any]]:
        """The mapping view of all servers."""
        view: list[dict[str, Any]] = json.loads(self.must("vios", "lsmap", "--json", "--machine", self.name))
        return view

    def adapter(self, client: str) -> dict[str, Any]:
        return next(adapter for adapter in self.lsmap() if adapter["client"] == client)

    def refused(self, client: str) -> dict[str, int]:
        """All refusals of a client by rule, its devices' and its connection's."""
        adapter = self.adapter(client)
        total: dict[str, int] = dict(adapter["refused"])
        for target in adapter["targets"]:
            for rule, count in target["refused"].items():
                total[rule] = total.get(rule, 0) + count
        return total


def reads_without_waiting(directory: Path) -> bool:
    """Whether its file system tells what is in memory: where every read waits by what it says, none is redirected."""
    with tempfile.TemporaryFile(dir=directory) as file:
        file.write(bytes(4096))
        file.flush()
        try:
            os.preadv(file.fileno(), [bytearray(4096)], 0, os.RWF_NOWAIT)
        except OSError as error:
            if error.errno != EOPNOTSUPP:
                raise
            return False
    return True
