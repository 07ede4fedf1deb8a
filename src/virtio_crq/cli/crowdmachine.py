# SPDX-License-Identifier: Apache-2.0
"""The machine of a crowd: one hypervisor, one server, and every client with a disk of its own."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from virtio_crq.bench.case import POLLING, Case, Rung
from virtio_crq.bench.crowd import Crowd, Presence
from virtio_crq.bench.grammar import slots, transfer
from virtio_crq.bench.row import Counts, Load
from virtio_crq.cli.benchmachine import processor_time
from virtio_crq.cli.clientprocess import ClientProcess
from virtio_crq.cli.interruption import held_back
from virtio_crq.cli.ownstate import own_machine
from virtio_crq.hypervisor.conversation import Conversation

SERVER = "vios1"
STORAGE_SLOT = 200  # beyond those that its connections take

MACHINE = """
[machine]
name = "{name}"
[partition.vios1]
memory = "{memory}M"
fetch = "{fetch}"
carrier = "{carrier}"
data = "{data}"
ring = "{ring}"
polling = {polling}
{workers}
[[storage]]
server = "vios1"
slot = {storage}
"""
CLIENT = """
[partition.{client}]
memory = "32M"
[[adapter]]
client = "{client}"
slot = 2
server = "vios1"
[[map]]
client = "{client}"
target = "disk"
backing = "{backing}"
readonly = {readonly}
"""


@dataclass(frozen=True)
class CrowdMachines:
    """What all crowds of one run have in common. Without an image the disks are of zeroes."""

    image: Path | None
    size: int
    rung: Rung
    notify: str
    workers: int
    apart: bool = False  # each client that works is a process

    def text(self, name: str, crowd: Crowd) -> str:
        backing = f"file:{self.image}" if self.image else f"null:{self.size}"
        head = MACHINE.format(
            name=name,
            memory=max(64, 8 * crowd.clients),
            fetch=self.rung.fetch,
            carrier=self.rung.carrier,
            data=self.rung.data,
            ring=self.rung.ring,
            polling=POLLING[self.notify],
            workers=f"workers = {self.workers}" if self.workers else "",  # as many as there are processors
            storage=STORAGE_SLOT,
        )
        rows = (
            CLIENT.format(client=client, backing=backing, readonly="true" if self.image else "false")
            for client in clients(crowd)
        )
        return head + "".join(rows)

    @contextmanager
    def stage(self, crowd: Crowd) -> Iterator["RunningCrowd"]:
        """A machine with the whole crowd up; gone afterwards, whatever happens."""
        name = f"crowd-{os.getpid()}"
        text = self.text(name, crowd)
        with own_machine(name, text) as (directory, processes), ExitStack() as stack:
            loads = [self._begun(stack, *words) for words in self._words(directory, crowd)]
            for load in loads:
                load.answer()  # that its disks are up
            yield RunningCrowd(directory, loads, processes.running()[SERVER].pid, self.notify)

    def _begun(self, stack: ExitStack, *words: str) -> ClientProcess:
        with held_back():
            load = ClientProcess(*words)
            stack.callback(load.close)
        return load

    def _words(self, directory: Path, crowd: Crowd) -> list[tuple[str, ...]]:
        """What each process is started with."""
        cases = [crowd.case] if crowd.case else []
        options = str(slots(cases)), str(transfer(cases)), self.rung.map, self.rung.ring
        if self.apart and cases:
            return [("benchload", str(directory), each, *options) for each in clients(crowd)]
        return [("crowdload", str(directory), *options, *clients(crowd))]


def clients(crowd: Crowd) -> list[str]:
    return [f"client{number}" for number in range(1, crowd.clients + 1)]


class RunningCrowd:
    """`bench.crowd.CrowdStage` over processes."""

    def __init__(self, directory: Path, loads: Sequence[ClientProcess], server: int, notify: str) -> None:
        self._directory = directory
        self._loads = loads
        self._server = server
        self._notify = notify
        self._busy = 0.0, 0.0  # of the last load: how long, and the server's processor time in it

    def counts(self) -> Counts:
        with Conversation(self._directory) as hypervisor:
            wires = hypervisor.ask("show")["adapters"]
        sides = [wire[side] for wire in wires for side in ("client_counters", "server_counters")]
        names = sorted({name for side in sides for name in side if name.startswith("H_")})
        return Counts(
            {name: sum(side.get(name, 0) for side in sides) for name in names},
            *(sum(side.get(name, 0) for side in sides) for name in ("copies", "bytes", "interrupts")),
        )

    def loads(self, case: Case, seconds: float) -> Sequence[Load]:
        """All begin at once, as far as processes can."""
        began, before = time.monotonic(), processor_time(self._server)
        for load in self._loads:
            load.order(
                size=case.size,
                depth=case.depth,
                write=case.write,
                sequential=case.sequential,
                seconds=seconds,
                notify=self._notify,
            )
        answers = [load.answer() for load in self._loads]
        done = [Load(**each) for answer in answers for each in answer.get("loads", [answer])]
        burnt = processor_time(self._server) - before
        self._busy = time.monotonic() - began, burnt
        return [replace(each, cpu_seconds=each.cpu_seconds + burnt / len(done)) for each in done]

    def presence(self, seconds: float) -> Presence:
        resident = own_memory(self._server)
        if not seconds:
            return Presence(*self._busy, resident)
        before = processor_time(self._server)
        time.sleep(seconds)
        return Presence(seconds, processor_time(self._server) - before, resident)


def own_memory(pid: int) -> int:
    """Bytes in memory for this process, its partition and page tables with it; files' pages are the page cache's."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return sum(int(fields[name].split()[0]) << 10 for name in ("RssAnon", "RssShmem", "VmPTE"))
