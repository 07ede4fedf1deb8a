# SPDX-License-Identifier: Apache-2.0
"""The machine of a benchmark: hypervisor, server and client as processes of their own, up for one row."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from virtio_crq.bench.case import CASES, Case
from virtio_crq.bench.row import Counts, Load
from virtio_crq.bench.run import Setting
from virtio_crq.cli.processes import ProcessTable
from virtio_crq.cli.roles import HYPERVISOR, roles
from virtio_crq.errors import VirtioCrqError
from virtio_crq.hypervisor.conversation import Conversation
from virtio_crq.hypervisor.machinefile import parse_machine_file
from virtio_crq.hypervisor.statedirectory import make_state_directory

SERVER, CLIENT = "vios1", "client1"
NEVER_SLEEP, SLEEP_AT_ONCE = -1, 0  # the server's polling, in microseconds
MOST_DEPTH = max(case.depth for case in CASES)
MOST_TRANSFER = max(case.size for case in CASES)

MACHINE = """
[machine]
name = "{name}"
[partition.{server}]
memory = "256M"
fetch = "{fetch}"
polling = {polling}
workers = 1
[partition.{client}]
memory = "256M"
[[adapter]]
client = "{client}"
slot = 2
server = "{server}"
[[map]]
client = "{client}"
target = "disk"
backing = "{backing}"
"""


@dataclass(frozen=True)
class Bench:
    """Where the machines of one run live and what backs their disk."""

    image: Path
    size: int

    @contextmanager
    def stage(self, setting: Setting) -> Iterator["RunningStage"]:
        """A machine for one row; gone when the row is measured, whatever happens."""
        name = f"bench-{os.getpid()}"
        backing = f"file:{self.image}" if setting.backing == "file" else f"null:{self.size}"
        directory = make_state_directory(name)
        path = directory / "machine.toml"
        text = MACHINE.format(
            name=name,
            server=SERVER,
            client=CLIENT,
            fetch=setting.rung.fetch,
            polling=NEVER_SLEEP if setting.notify == "polling" else SLEEP_AT_ONCE,
            backing=backing,
        )
        path.write_text(text)
        processes = ProcessTable(directory)
        load: subprocess.Popen[str] | None = None
        try:
            for role in roles(parse_machine_file(text, path), directory):
                processes.start(role)
            load = _start_load(directory)
            stage = RunningStage(directory, load, processes.running()[SERVER].pid, setting.notify)
            stage.answer()
            yield stage
        finally:
            if load is not None:
                load.kill()
                load.wait()
            processes.stop_all(HYPERVISOR)
            shutil.rmtree(directory, ignore_errors=True)


class RunningStage:
    """`bench.run.Stage` over processes."""

    def __init__(self, directory: Path, load: subprocess.Popen[str], server: int, notify: str) -> None:
        self._directory = directory
        self._load = load
        self._server = server
        self._notify = notify

    def counts(self) -> Counts:
        with Conversation(self._directory) as hypervisor:
            wire = hypervisor.ask("show")["adapters"][0]
        both = [wire["client_counters"], wire["server_counters"]]
        names = sorted({name for side in both for name in side if name.startswith("H_")})
        return Counts(
            {name: sum(side.get(name, 0) for side in both) for name in names},
            *(sum(side.get(name, 0) for side in both) for name in ("copies", "bytes", "interrupts")),
        )

    def load(self, case: Case, seconds: float) -> Load:
        order = {"size": case.size, "depth": case.depth, "write": case.write, "sequential": case.sequential}
        assert self._load.stdin is not None
        before = _processor_time(self._server)
        self._load.stdin.write(json.dumps({**order, "seconds": seconds, "notify": self._notify}) + "\n")
        self._load.stdin.flush()
        done = Load(**self.answer())
        return replace(done, cpu_seconds=done.cpu_seconds + _processor_time(self._server) - before)

    def answer(self) -> dict[str, Any]:
        assert self._load.stdout is not None
        line = self._load.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": "it ended without a word"}
        if "error" in answer:
            raise VirtioCrqError(f"the client of the benchmark: {answer['error']}")
        return answer


def _start_load(directory: Path) -> subprocess.Popen[str]:
    arguments = [str(directory), CLIENT, str(MOST_DEPTH), str(MOST_TRANSFER)]
    return subprocess.Popen(
        [sys.executable, "-m", "virtio_crq.cli.benchload", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for the command, which ends it
    )


def _processor_time(pid: int) -> float:
    """Seconds of processor time of another process: the clock id of Linux for a process, CPUCLOCK_SCHED."""
    return time.clock_gettime((~pid << 3) | 2)
