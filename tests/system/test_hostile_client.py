# SPDX-License-Identifier: Apache-2.0
"""A hostile client at set-up, under load and after a restart: each act ends as its clause says and is counted by name.

All the while another client of the same server goes on with verified I/O.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hostileacts import ACTS, CONNECTED, IGNORED, LOST, RUNNING, SESSION, STOPPED, Act
from intruder import Intruder
from packedacts import PACKED_ACTS
from pairedacts import PAIRED_ACTS
from pairedintruder import PairedIntruder
from pushedacts import PAGE_ACTS, PUSHED_ACTS
from queueacts import QUEUE_ACTS
from runningmachine import RunningMachine

from combinations import Combination, selected
from virtio_crq.hypervisor.attachment import attach
from virtio_crq.vios.control import ask, socket_path
from virtio_crq.virtio import console, status

MACHINE = """
[machine]
name = "system"
{platform}
[partition.vios1]
memory = "64M"
{server}
[partition.victim]
memory = "16M"
[partition.mallory]
memory = "16M"
[[adapter]]
client = "victim"
slot = 2
server = "vios1"
{adapter}
[[adapter]]
client = "mallory"
slot = 2
server = "vios1"
window = "32M"
[[map]]
client = "victim"
target = "root"
backing = "file:root.img"
[[map]]
client = "mallory"
target = "root"
backing = "file:mallory.img"
queues = 2
[[map]]
client = "mallory"
target = "second"
backing = "ram:1M"
[[map]]
client = "mallory"
target = "tty"
device = "console"
backing = "log:mallory.log"
ports = ["agent=log:agent.log"]
"""
PHASES = SET_UP, UNDER_LOAD, AFTER_RESTART = "set-up", "under load", "after a restart"
OTHER_DEVICE = 1


class Victim:
    """Verified I/O in a process of its own."""

    def __init__(self, machine: RunningMachine, combination: Combination) -> None:
        program = Path(__file__).with_name("verifiedload.py")
        self._process = subprocess.Popen(
            [sys.executable, str(program), str(machine.state), "victim", "root", json.dumps(combination.choices)],
            env=machine.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._read() == "ready"

    def _read(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()

    def progress(self) -> int:
        """How many requests were verified so far."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        said = self._read()
        assert said.isdigit(), f"the victim's I/O failed: {said}"
        return int(said)

    def must_advance(self) -> None:
        before = self.progress()
        for _ in range(50):
            if self.progress() > before:
                return
        pytest.fail("the victim's I/O stands still")

    def finish(self) -> str:
        """The last line: `clean N` when every block was what it had to be."""
        assert self._process.stdin
        self._process.stdin.close()
        last = self._read()
        self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()
        return last


class Scene:
    """The machine, the victim, and the view of the hostile client."""

    def __init__(self, machine: RunningMachine, phase: str, combination: Combination) -> None:
        self.machine, self.phase, self.combination = machine, phase, combination
        self.victim = Victim(machine, combination)

    def refused(self) -> dict[str, int]:
        adapters = ask(socket_path(self.machine.state, "vios1"), "lsmap")
        adapter = next(adapter for adapter in adapters if adapter["client"] == "mallory")
        total: dict[str, int] = dict(adapter["refused"])
        for target in adapter["targets"]:
            for rule, count in target["refused"].items():
                total[rule] = total.get(rule, 0) + count
        return total


@pytest.fixture(scope="module")
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    combination, phase = request.param
    directory = tmp_path_factory.mktemp("hostile")
    for name in ("root.img", "mallory.img"):
        (directory / name).write_bytes(bytes(1 << 20))
    # The victim's rings are as the combination has them; the hostile client chooses its own, which may be packed.
    text = combination.described(MACHINE).replace(f'ring = "{combination.ring}"', 'ring = "packed"')
    with RunningMachine(directory, text) as machine:
        scene = Scene(machine, phase, combination)
        if phase == AFTER_RESTART:
            machine.kill("vios1")
            machine.start("vios1")
        yield scene
        assert scene.victim.finish().startswith("clean")


def prepare(intruder: Intruder, act: Act, phase: str) -> None:
    """A well-behaved client as far as the act wants it, or with I/O running in the phase of load."""
    intruder.connect()
    if act.stage == CONNECTED:
        return
    intruder.hello_pushing() if act.pushes else intruder.hello()
    if act.stage == RUNNING:
        if phase == UNDER_LOAD:
            intruder.bring_up()
            intruder.serve_reads(8)
            intruder.set_status(0)
        intruder.bring_up(act.device, act.features, act.queue)
        if phase == UNDER_LOAD and act.device == 0:
            intruder.serve_reads(8)
    elif phase == UNDER_LOAD:
        intruder.bring_up(features=act.features)
        intruder.serve_reads(8)
        intruder.set_status(0)


ALL_ACTS = (*ACTS, *PACKED_ACTS, *PUSHED_ACTS, *PAGE_ACTS, *PAIRED_ACTS, *QUEUE_ACTS)
SCENES = [pytest.param(row.values, id=row.id) for row in selected(together=1, phase=PHASES)]


def rows(pushes: bool, pairs: bool = False) -> list[Any]:
    wanted = [act for act in ALL_ACTS if (act.pushes, act.pairs) == (pushes, pairs)]
    return [pytest.param(act, id=str(act), marks=pytest.mark.clause(*act.clauses)) for act in wanted]


@pytest.mark.clause("CRQ-D-92", "CRQ-D-36")
@pytest.mark.timeout(60)
@pytest.mark.parametrize("act", rows(pushes=False))
@pytest.mark.parametrize("scene", SCENES, indirect=True)
def test_each_act_ends_as_its_clause_says(scene: Scene, act: Act) -> None:
    ends_well(scene, act)


@pytest.mark.clause("CRQ-D-92", "CRQ-D-140")
@pytest.mark.timeout(60)
@pytest.mark.parametrize("act", rows(pushes=True))
@pytest.mark.parametrize("scene", [each for each in SCENES if each.values[0][0].carrier], indirect=True)
def test_each_act_of_a_client_that_pushes_ends_as_its_clause_says(scene: Scene, act: Act) -> None:
    ends_well(scene, act)


@pytest.mark.clause("CRQ-D-92", "CRQ-D-140")
@pytest.mark.timeout(60)
@pytest.mark.parametrize("scene", [each for each in SCENES if each.values[0][0].carried == "paired"], indirect=True)
@pytest.mark.parametrize("act", rows(pushes=True, pairs=True))
def test_each_act_of_a_client_that_pairs_ends_as_its_clause_says(scene: Scene, act: Act) -> None:
    ends_well(scene, act)


def ends_well(stage: Scene, act: Act) -> None:
    """The act has the outcome of its row, what it concerned can be used again, and the other client noticed nothing."""
    if act.rule == "head-in-flight" and stage.combination.fetch == "naive":
        act = replace(act, rule="", ends=IGNORED)  # one after the other: the first is no more in flight
    before = stage.refused().get(act.rule, 0)
    with attach(stage.machine.state, "mallory") as partition:
        intruder = (PairedIntruder if act.pairs else Intruder)(partition, stage.machine.pid("vios1"))
        prepare(intruder, act, stage.phase)
        act.do(intruder)
        if act.rule:
            intruder.until(lambda: stage.refused().get(act.rule, 0) > before, f"count of {act.rule}")
        if act.ends == LOST:
            intruder.until(lambda: intruder.losses, "loss of the connection")
        elif act.ends == STOPPED:
            intruder.until(lambda: intruder.status(act.device) & status.DEVICE_NEEDS_RESET, "DEVICE_NEEDS_RESET")
            intruder.inbox.clear()
            intruder.remap()
            if act.device:
                intruder.bring_up(act.device, queue=console.TRANSMIT)  # a reset heals it
                intruder.transmit(act.device, console.TRANSMIT)
            else:
                intruder.bring_up()
                intruder.serve_reads(1)
        elif act.ends == IGNORED and act.stage in (SESSION, RUNNING) and act.rule:
            intruder.bring_up(OTHER_DEVICE)  # the connection stands, and so does every other device
        stage.victim.must_advance()
        intruder.close()


def test_every_must_reject_clause_has_a_row() -> None:
    covered = {clause for act in ALL_ACTS for clause in act.clauses}
    specification = (Path(__file__).parents[2] / "docs/spec/virtio-over-crq.md").read_text()
    wanted = set()
    for line in specification.splitlines():
        clause = line.removeprefix("- **").partition("**")[0]
        if line.startswith("- **CRQ-D-") and "(`" in line and clause not in ELSEWHERE:
            wanted.add(clause)
    assert wanted - covered == set()


# Refusals that no client can provoke from outside, with where they are tested instead.
ELSEWHERE = {
    "CRQ-D-16": "this server answers each request before it takes the next entry (tests/message)",
    "CRQ-D-96": "the hostile client's disks have no such queue (tests/dataplane)",
    "CRQ-D-35": "a client that does not read its ring (the flood row runs into it; counted by the bus, tests/crq)",
}
