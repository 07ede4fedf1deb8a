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
from virtio_crq.guests.suite.scene import TROUBLE, Scene
from virtio_crq.hypervisor.attachment import attach
from virtio_crq.hypervisor.definition import unit_address

PATIENCE = 10.0
MOST_FAILURES = 8  # more say nothing new, and each takes its time
PLACE = "/run/hostile"


class GuestSubject:
    """`conformance.hostile.trial.Subject`. A device is known by the name it says, which has its number.

    No command of the agent does I/O itself: a request that waits for its server cannot be killed. What is read comes
    from the disk each time: the kernel forgets a disk's pages when the last who had it open closes it.
    """

    def __init__(self, scene: Scene, slot: int) -> None:
        self.scene = scene
        self.adapter = f"/sys/bus/vio/devices/{unit_address(slot):x}"
        self.other = scene.disk("data")
        self._marks = itertools.count()
        self._disks: dict[int, str] = {}
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
        found = self.scene.find_disk(_name(device))
        if found:
            self._disks[device] = found
        return bool(found)

    def stopped(self, device: int) -> bool:
        if not self.up(device):
            return True
        pending = self.begin(device)
        self.until(lambda: self.ended(pending) is not None, f"answer of device {device}")
        return self.ended(pending) != ""

    def counted(self, rules: tuple[str, ...]) -> int:
        if not rules:
            return 0
        rows = [line.split() for line in self.scene.lines(f"cat {self.adapter}/rules")]
        return sum(int(count) for name, count in rows if name in rules)

    def begin(self, device: int) -> str:
        return self._begin(f"dd if={self._disks[device]} of=/dev/null bs=4k count=1 skip=1")

    def _begin(self, command: str) -> str:
        """Run in the guest's background; the mark by which its end is known."""
        mark = f"{PLACE}/{next(self._marks)}"
        self.scene.run(f"(({command}) >{mark}.said 2>&1; echo $? >{mark}.new; mv {mark}.new {mark}) >/dev/null 2>&1 &")
        return mark

    def ended(self, pending: Any) -> str | None:
        status, *said = self.scene.run(f"cat {pending} 2>/dev/null || echo -; tail -n 1 {pending}.said").split("\n")
        if status == "-":
            return None
        return "" if status == "0" else said[0] or f"status {status}"

    def verify(self, *devices: int) -> None:
        for device in devices:
            if device not in self._disks:
                self.until(lambda device=device: self.up(device), f"device {device}")  # type: ignore[misc]
        disks = [self.other, *(self._disks[device] for device in devices)]
        pending = self._begin(f"set -e; {'; '.join(_verified(disk) for disk in disks)}; {COMPLAINTS}")
        self.until(lambda: self.ended(pending) is not None, f"end of verified I/O on {', '.join(disks)}")
        if said := self.ended(pending):
            raise TrialFailed(f"verified I/O on {', '.join(disks)}: {said}")


COMPLAINTS = f"! dmesg | grep -E '{TROUBLE}'"


def _verified(disk: str) -> str:
    new = f"{PLACE}/new"
    return (
        f"dd if=/dev/urandom of={new} bs=16k count=1 2>/dev/null; "
        f"dd if={new} of={disk} bs=16k seek=2 conv=fsync 2>/dev/null; "
        f"dd if={disk} of={new}.read bs=16k skip=2 count=1 2>/dev/null; cmp {new} {new}.read"
    )


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
                trial = Trial(server, GuestSubject(scene, slot), first, foreign=True)
                while remaining:
                    act = remaining.pop(0)
                    row = _play(trial, act)
                    rows.append(row)
                    if row["result"] == "failed":
                        failed.append(f"{act}: {row['detail']}")
                        scene.run("dmesg -c >/dev/null")  # what it complained of is told
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
