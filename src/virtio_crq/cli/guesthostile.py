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
from virtio_crq.conformance.hostile.table import PUSHED_TABLE, TABLE
from virtio_crq.conformance.hostile.trial import Trial, TrialFailed
from virtio_crq.guests.agent import AgentFailed
from virtio_crq.guests.complaints import TROUBLE
from virtio_crq.guests.rungs import DEFAULT, Rung
from virtio_crq.guests.suite.check import CheckFailed
from virtio_crq.guests.suite.scene import NAMES, Scene, naming
from virtio_crq.hypervisor.attachment import attach
from virtio_crq.hypervisor.definition import unit_address
from virtio_crq.message.session import PUSH

PATIENCE = 20.0
MOST_FAILURES = 6  # more say nothing new, and each takes its time
PLACE = "/run/hostile"
NUMBERS = 200  # of devices that one server may have; more than there are acts
NEED_TWO = ("pushed-twice",)  # acts on two requests in flight, of which a guest's reader has one
RULES = "---"  # what the counts begin by in an answer


class GuestSubject:
    """`conformance.hostile.trial.Subject`. A device is known by the name it says, which has its number.

    No command of the agent does I/O itself: a request that waits for its server cannot be killed. What is read comes
    from the disk each time: the kernel forgets a disk's pages when the last who had it open closes it.
    A question costs a tenth of a second, a process in the guest a sixtieth: what is waited for is waited for there,
    and the counts come along with other answers.
    """

    def __init__(self, scene: Scene, slot: int) -> None:
        self.scene = scene
        self.adapter = f"/sys/bus/vio/devices/{unit_address(slot):x}"
        self.other = scene.disk("data")
        self._marks = itertools.count()
        self._disks: dict[int, tuple[str, str]] = {}  # device and its number among all that ever were
        self._ends: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._fresh = False  # nothing was done since the counts came
        scene.run(f"rm -rf {PLACE}; mkdir -p {PLACE}")

    def connect(self) -> None:
        self.scene.run(f"test -e {self.adapter}/driver")

    def until(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not holds():
            if time.monotonic() > deadline:
                self._ask("true")
                counts = ", ".join(f"{name} {count}" for name, count in self._counts.items() if count)
                raise TrialFailed(f"no {what}; counted: {counts or 'nothing'}")
            time.sleep(0.01)

    def _ask(self, script: str) -> list[str]:
        """The lines that a script writes; the counts come with them."""
        lines = self.scene.lines(f"{script}\necho {RULES}; cat {self.adapter}/rules")
        at = lines.index(RULES)
        self._counts = {name: int(count) for name, count in (line.split() for line in lines[at + 1 :])}
        self._fresh = True
        return lines[:at]

    def up(self, device: int) -> bool:
        found = " ".join(self._ask(f"{NAMES}\n{naming(_name(device))}")).split()
        if found:
            self._disks[device] = found[0], found[1]
        return bool(found)

    def stopped(self, device: int) -> bool:
        """It is gone, or a read of it fails."""
        if device not in self._disks and not self.up(device):
            return True
        path, number = self._disks[device]
        mark = self._mark()
        reading = _start(self._reading(device, mark), mark)
        script = f"if {self._there(path, number)}; then\n{reading}\n{_result(mark)}\nelse echo 1; fi"
        if not self._note(mark, self._ask(script)):
            self.until(lambda: self.ended(mark) is not None, f"answer of device {device}")
        return self._ends[mark] != ""

    def _there(self, path: str, number: str) -> str:
        device = path.removeprefix("/dev/")
        return f'read -r s 2>/dev/null </sys/block/{device}/diskseq && [ "$s" = {number} ]'

    def counted(self, rules: tuple[str, ...]) -> int:
        if not rules:
            return 0
        if not self._fresh:
            self._ask("true")
        self._fresh = False
        return sum(count for name, count in self._counts.items() if name in rules)

    def begin(self, device: int) -> str:
        mark = self._mark()
        self.scene.run(_start(self._reading(device, mark), mark))
        return mark

    def _reading(self, device: int, mark: str) -> str:
        """A disk that is taken away has an end, and at its end a read brings nothing and no error."""
        return f"dd if={self._disks[device][0]} of={mark}.data bs=4k count=1 skip=1; test -s {mark}.data"

    def _mark(self) -> str:
        return f"{PLACE}/{next(self._marks)}"

    def ended(self, pending: Any) -> str | None:
        if pending not in self._ends:
            self._note(pending, self._ask(_result(pending)))
        return self._ends.get(pending)

    def _note(self, mark: str, lines: list[str]) -> bool:
        """Whether it has ended, by what `_result` wrote."""
        if lines[0] == "-":
            return False
        said = " ".join(lines[1:])
        self._ends[mark] = "" if lines[0] == "0" else said or f"status {lines[0]}"
        return True

    def verify(self, *devices: int) -> None:
        for device in devices:
            if device not in self._disks:
                self.until(lambda device=device: self.up(device), f"device {device}")  # type: ignore[misc]
        disks = [self.other, *(self._disks[device][0] for device in devices)]
        mark = self._mark()
        new = f"dd if=/dev/urandom of={PLACE}/new bs=16k count=1 2>/dev/null"
        script = _start(f"set -e; {new}; {'; '.join(_verified(disk) for disk in disks)}; {COMPLAINTS}", mark)
        if not self._note(mark, self._ask(f"{script}\n{_result(mark)}")):
            self.until(lambda: self.ended(mark) is not None, f"end of verified I/O on {', '.join(disks)}")
        if said := self._ends[mark]:
            raise TrialFailed(f"verified I/O on {', '.join(disks)}: {said}")


COMPLAINTS = f"dmesg >{PLACE}/log; ! grep -E '{TROUBLE}' {PLACE}/log"  # after set -e


def _start(command: str, mark: str) -> str:
    """Run in the guest's background; the status is written to `mark` at its end."""
    return f"(({command}) >{mark}.said 2>&1; echo $? >{mark}) >/dev/null 2>&1 &"


def _result(mark: str) -> str:
    """Wait a second or so; the status, `-` when there is none yet, and what was said last by what failed."""
    return (
        f"i=0; until [ -s {mark} ] || [ $i -ge 30 ]; do i=$((i + 1)); usleep 10000; done; "
        f"s=-; read -r s 2>/dev/null <{mark}; echo ${{s:--}}; [ ${{s:--}} = 0 ] || tail -n 1 {mark}.said 2>/dev/null"
    )


def _verified(disk: str) -> str:
    new = f"{PLACE}/new"
    return (
        f"dd if={new} of={disk} bs=16k seek=2 conv=fsync 2>/dev/null; "
        f"dd if={disk} bs=16k skip=2 count=1 2>/dev/null | cmp - {new}"
    )


def _name(device: int) -> str:
    return Disk(device, content=bytearray(512)).name.decode()


def acts(rung: Rung = DEFAULT) -> list[Act]:
    """Those that concern a transport under foreign drivers, which carries their requests in this way."""
    return [act for _, part in _parts(rung) for act in part]


def _parts(rung: Rung) -> list[tuple[int, list[Act]]]:
    """Transport features that the server agrees to, and what it then does."""
    parts = [(0, [act for act in TABLE if not act.type_rule and act.kind is Kind.BLOCK])]
    if rung.pushes:
        # Who looks inside asks for every last byte.
        pushed = [act for act in PUSHED_TABLE if not (rung.lends and "completion-tail" in act.rules)]
        parts.append((PUSH, [act for act in pushed if act.name not in NEED_TWO]))
    return parts


def play_hostile(scene: Scene, state: Path, partition: str, slot: int, rung: Rung = DEFAULT) -> str:
    """Every act, in one boot; rows of the report are in `scene.facts["hostile"]`."""
    table = acts(rung)
    rows: list[dict[str, Any]] = []
    scene.facts["hostile"] = rows
    failed: list[str] = []
    with attach(state, partition) as attached:
        first = 0
        for features, part in _parts(rung):
            if len(failed) >= MOST_FAILURES:
                break
            if features:
                _reload(scene)  # what was set up with other features would keep them
            remaining = list(part)
            while remaining and len(failed) < MOST_FAILURES:
                with HostileServer(attached, features=features) as server:
                    trial = Trial(server, GuestSubject(scene, slot), first, foreign=True)
                    failed += _play_until_one_fails(trial, remaining, rows, scene)
                first += NUMBERS
    if failed:
        left = f", {len(table) - len(rows)} not played" if len(rows) < len(table) else ""
        raise CheckFailed(f"{len(failed)} of {len(rows)} acts{left}: " + "; ".join(failed))
    clauses = {clause for act in table for clause in act.clauses}
    return f"{len(rows)} acts, {len(clauses)} clauses; other disks unharmed"


def _play_until_one_fails(trial: Trial, remaining: list[Act], rows: list[dict[str, Any]], scene: Scene) -> list[str]:
    """What failed; the next act then gets a new server, and devices of other names."""
    while remaining:
        act = remaining.pop(0)
        rows.append(_play(trial, act))
        if rows[-1]["result"] == "failed":
            scene.run("dmesg -c >/dev/null")  # what it complained of is told
            return [f"{act}: {rows[-1]['detail']}"]
    return []


def _reload(scene: Scene) -> None:
    scene.run(f"rmmod virtio_crq; insmod /lib/modules/*-virtio_crq.ko {scene.parameters}", 60)
    scene.until(lambda: bool(scene.find_disk("data")), "return of the disk")


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
