# SPDX-License-Identifier: Apache-2.0
"""The machines of a study: one for each turn, and what it finds as a record."""

import os
import platform
import time
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from virtio_crq.bench.case import RUNGS, Rung
from virtio_crq.bench.crowd import CrowdPlan, measure
from virtio_crq.bench.image import Image
from virtio_crq.bench.peers import DEFAULT_POLL, RAW, STORAGE_DAEMON
from virtio_crq.bench.run import Setting, Stage, counted
from virtio_crq.bench.study import CrowdPart, Part, Record, Turn
from virtio_crq.cli.benchmachine import Bench
from virtio_crq.cli.crowdmachine import CrowdMachines
from virtio_crq.cli.interruption import held_back
from virtio_crq.cli.peerstage import PeerBench
from virtio_crq.cli.storagedaemon import AIO, version
from virtio_crq.cli.version import dataplane
from virtio_crq.errors import VirtioCrqError
from virtio_crq.hypervisor.statedirectory import make_own_directory
from virtio_crq.papr.profiles import DEFAULT

RAW_SECONDS = 0.25  # each engine, at each load, in each round
BACKING = "file"
WORKERS = 1  # of a crowd's server: the load has the other processor


@dataclass(frozen=True)
class StudyMachines:
    """Where turns are taken: the file in memory, and the daemon that is the peer, if there is one."""

    path: Path
    image: Image
    program: str

    def take(self, part: Part | CrowdPart, turn: Turn) -> Record:
        """What the turn found; what went wrong in it is kept too, and the next turn is another machine."""
        try:
            if isinstance(part, CrowdPart):
                return self._crowd(part, turn)
            if turn.what == RAW:
                seconds = min(RAW_SECONDS, part.seconds)
                return {"raw": {case.name: self.image.raw(case, seconds) for case in part.cases()}}
            return self._rung(part, turn)
        except VirtioCrqError as error:
            return {"error": str(error)}

    def _rung(self, part: Part, turn: Turn) -> Record:
        with ExitStack() as stack:
            setting = Setting(_rung(turn.what), BACKING, turn.notify, turn.queues)
            stage = stack.enter_context(self._stage(stack, part, setting, turn))
            rows = [
                counted(stage, setting, case, part.seconds, dataplane(), self.image).to_json() for case in part.cases()
            ]
        return {"rows": rows}

    def _stage(self, stack: ExitStack, part: Part, setting: Setting, turn: Turn) -> AbstractContextManager[Stage]:
        if setting.rung != STORAGE_DAEMON:
            return Bench(self.path, self.image.size, part.cases()).stage(setting)
        with held_back():
            directory = make_own_directory(f"peers-{os.getpid()}")
            peer = PeerBench(self.path, directory, part.cases(), self.program, AIO[0])
            stack.callback(peer.clear)
        return peer.stages(DEFAULT_POLL if turn.poll is None else turn.poll)(setting)

    def _crowd(self, part: CrowdPart, turn: Turn) -> Record:
        crowds = [crowd for crowd in part.crowds if crowd.name == turn.what]
        plan = CrowdPlan(crowds, part.rung, turn.notify, WORKERS, part.seconds)
        machines = CrowdMachines(self.path, self.image.size, _rung(part.rung), turn.notify, WORKERS, part.apart)
        return {"rows": [row.to_json() for row in measure(plan, machines.stage, lambda _: None)]}

    def setting(self) -> dict[str, Any]:
        peer = f"{STORAGE_DAEMON.name} {version(self.program)}" if self.program else ""
        return {
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "dataplane": dataplane(),
            "profile": DEFAULT.name,
            "processors": os.cpu_count(),
            "processor": processor(),
            "kernel": platform.release(),
            "peer": peer,
        }


def _rung(name: str) -> Rung:
    return next(rung for rung in (*RUNGS, STORAGE_DAEMON) if rung.name == name)


def processor() -> str:
    """What the kernel calls it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() in {"model name", "cpu"}:
            return value.strip()
    return platform.machine()
