# SPDX-License-Identifier: Apache-2.0
"""The guest's own module as the subject of hostile acts, watched through the agent."""

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from virtio_crq.conformance.hostile.act import Act, Kind
from virtio_crq.conformance.hostile.model import Disk
from virtio_crq.conformance.hostile.server import HostileServer
from virtio_crq.conformance.hostile.table import TABLE
from virtio_crq.conformance.hostile.trial import Trial, TrialFailed
from virtio_crq.guests.agent import AgentFailed
from virtio_crq.guests.suite.check import CheckFailed
from virtio_crq.guests.suite.scene import Scene
from virtio_crq.hypervisor.attachment import attach
from virtio_crq.hypervisor.definition import unit_address

PATIENCE = 10.0
MOST_FAILURES = 12  # more say nothing new, and each takes its time
PLACE = "/run/hostile"


class GuestSubject:
    """`conformance.hostile.trial.Subject`. A device is known by the name it says, which has its number."""

    def __init__(self, scene: Scene, slot: int) -> None:
        self.scene = scene
        self.adapter = f"/sys/bus/vio/devices/{unit_address(slot):x}"
        self.other = scene.disk("data")
        self._reads = itertools.count()
        scene.run(f"mkdir -p {PLACE}")

    def connect(self) -> None:
        self.scene.run(f"test -e {self.adapter}/driver")

    def until(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not holds():
            if time.monotonic() > deadline:
                counts = self.scene.run(f"cat {self.adapter}/rules").split("\n")
                raise TrialFailed(f"no {what}; counted: {', '.join(counts)}")
            time.sleep(0.01)

    def up(self, device: int) -> bool:
        return bool(self.scene.find_disk(_name(device)))

    def stopped(self, device: int) -> bool:
        disk = self.scene.find_disk(_name(device))
        return not disk or self.scene.agent.run(f"dd if={disk} of=/dev/null bs=4k count=1 iflag=direct").status != 0

    def counted(self, rules: tuple[str, ...]) -> int:
        rows = [line.split() for line in self.scene.lines(f"cat {self.adapter}/rules")]
        return sum(int(count) for name, count in rows if name in rules)

    def begin(self, device: int) -> str:
        disk = self.scene.disk(_name(device))
        mark = f"{PLACE}/{next(self._reads)}"
        read = f"dd if={disk} of=/dev/null bs=4k count=1 skip=1 iflag=direct 2>{mark}.said"
        self.scene.run(f"({read}; echo $? >{mark}) >/dev/null 2>&1 &")
        return mark

    def ended(self, pending: Any) -> str | None:
        status, *said = self.scene.run(f"cat {pending} 2>/dev/null || echo -; tail -n 1 {pending}.said").split("\n")
        if status == "-":
            return None
        return "" if status == "0" else said[0]

    def verify(self, device: int) -> None:
        self.until(lambda: self.up(device), f"return of device {device}")
        self._verify(self.scene.disk(_name(device)))

    def neighbour(self) -> None:
        self._verify(self.other)
        if trouble := self.scene.trouble():
            raise TrialFailed(f"the kernel complained: {trouble[-1]}")

    def _verify(self, disk: str) -> None:
        command = (
            f"dd if=/dev/urandom of={PLACE}/new bs=16k count=1 2>/dev/null && "
            f"dd if={PLACE}/new of={disk} bs=16k seek=2 oflag=direct 2>/dev/null && "
            f"dd if={disk} bs=16k skip=2 count=1 iflag=direct 2>/dev/null | cmp - {PLACE}/new"
        )
        if self.scene.agent.run(command, PATIENCE).status:
            raise TrialFailed(f"{disk} does not hold what was written to it")


def _name(device: int) -> str:
    return Disk(device, content=bytearray(512)).name.decode()


def acts() -> list[Act]:
    """Those that concern a transport under foreign drivers."""
    return [act for act in TABLE if not act.type_rule and act.kind is Kind.BLOCK]


def play_hostile(scene: Scene, state: Path, partition: str, slot: int) -> str:
    """Every act, in one boot; rows of the report are in `scene.facts["hostile"]`."""
    rows: list[dict[str, Any]] = []
    scene.facts["hostile"] = rows
    failed: list[str] = []
    with attach(state, partition) as attached:
        first = 0
        remaining = acts()
        while remaining and len(failed) < MOST_FAILURES:
            with HostileServer(attached) as server:
                trial = Trial(server, GuestSubject(scene, slot), first)
                while remaining:
                    act = remaining.pop(0)
                    row = _play(trial, act)
                    rows.append(row)
                    if row["result"] == "failed":
                        failed.append(f"{act}: {row['detail']}")
                        break  # the next act gets a new server, and devices of other names
            first += 200
    if failed:
        raise CheckFailed(f"{len(failed)} of {len(rows)} acts: " + "; ".join(failed))
    return (
        f"{len(rows)} acts, {len({clause for act in acts() for clause in act.clauses})} clauses; other disks unharmed"
    )


def _play(trial: Trial, act: Act) -> dict[str, Any]:
    begun = time.monotonic()
    row: dict[str, Any] = {"act": act.name, "clauses": list(act.clauses), "expected": act.outcome.value}
    try:
        trial.run(act)
        return row | {"result": "passed", "seconds": round(time.monotonic() - begun, 2), "detail": ""}
    except AgentFailed:
        raise  # the guest itself is in trouble
    except Exception as error:
        return row | {"result": "failed", "seconds": round(time.monotonic() - begun, 2), "detail": str(error)}
