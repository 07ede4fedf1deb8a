# SPDX-License-Identifier: Apache-2.0
"""The machine of a benchmark: hypervisor, server and client as processes of their own, up for one row."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from virtio_crq.bench.case import POLLING, Case
from virtio_crq.bench.grammar import slots, transfer
from virtio_crq.bench.row import Counts, Load
from virtio_crq.bench.run import Setting
from virtio_crq.cli.clientprocess import ClientProcess
from virtio_crq.cli.interruption import held_back
from virtio_crq.cli.ownstate import own_machine
from virtio_crq.client.device import POOL_LIMIT
from virtio_crq.hypervisor.conversation import Conversation
from virtio_crq.papr.profiles import DEFAULT

SERVER, CLIENT = "vios1", "client1"

MACHINE = """
[machine]
name = "{name}"
profile = "{profile}"
[partition.{server}]
memory = "256M"
fetch = "{fetch}"
carrier = "{carrier}"
data = "{data}"
ring = "{ring}"
polling = {polling}
workers = 1
[partition.{client}]
memory = "256M"
[[adapter]]
client = "{client}"
slot = 2
server = "{server}"
[[storage]]
server = "{server}"
slot = 10
[[map]]
client = "{client}"
target = "disk"
backing = "{backing}"
queues = {queues}
"""


@dataclass(frozen=True)
class Bench:
    """Where the machines of one run live, what backs their disk, and the loads it is to bear."""

    image: Path
    size: int
    cases: Sequence[Case] = ()
    pool_limit: int = POOL_LIMIT
    profile: str = DEFAULT.name

    @contextmanager
    def stage(self, setting: Setting) -> Iterator["RunningStage"]:
        """A machine for one row; gone when the row is measured, whatever happens."""
        name = f"bench-{os.getpid()}"
        backing = f"file:{self.image}" if setting.backing == "file" else f"null:{self.size}"
        text = MACHINE.format(
            name=name,
            profile=self.profile,
            server=SERVER,
            client=CLIENT,
            fetch=setting.rung.fetch,
            carrier=setting.rung.carrier,
            data=setting.rung.data,
            ring=setting.rung.ring,
            polling=POLLING[setting.notify],
            backing=backing,
            queues=setting.queues,
        )
        with own_machine(name, text) as (directory, processes), ExitStack() as stack:
            limits = str(slots(self.cases)), str(transfer(self.cases))
            axes = setting.rung.map, setting.rung.ring, str(self.pool_limit)
            with held_back():
                load = ClientProcess("benchload", str(directory), CLIENT, *limits, *axes)
                stack.callback(load.close)
            load.answer()  # that its disk is up
            yield RunningStage(directory, load, processes.running()[SERVER].pid, setting.notify)


class RunningStage:
    """`bench.run.Stage` over processes."""

    def __init__(self, directory: Path, load: ClientProcess, server: int, notify: str) -> None:
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
        before = processor_time(self._server)
        self._load.order(
            size=case.size,
            depth=case.depth,
            write=case.write,
            sequential=case.sequential,
            seconds=seconds,
            notify=self._notify,
        )
        done = Load(**self._load.answer())
        return replace(done, cpu_seconds=done.cpu_seconds + processor_time(self._server) - before)


def processor_time(pid: int) -> float:
    """Seconds of processor time of another process: the clock id of Linux for a process, CPUCLOCK_SCHED."""
    return time.clock_gettime((~pid << 3) | 2)
