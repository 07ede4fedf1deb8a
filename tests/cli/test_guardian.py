# SPDX-License-Identifier: Apache-2.0
"""A machine ends with the command that it belongs to, though that be killed; nobody else's does."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_machine_commands import good, machine_file, processes, runtime

from virtio_crq.cli.guardian import Guardian, guard
from virtio_crq.cli.processes import ProcessTable, Running
from virtio_crq.cli.processes import _start_time as started

__all__ = ["runtime"]  # the fixture
# Holds a machine as `boot` does, until it is told to go on.
HOLDER = """
import sys
from pathlib import Path
from virtio_crq.cli.ownmachine import machine_up
from virtio_crq.hypervisor.machinefile import read_machine_file
with machine_up(read_machine_file(Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.readline()
"""


def holder(file: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, file],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def gone(directory: Path) -> bool:
    end = time.monotonic() + 30
    while directory.exists() and time.monotonic() < end:
        time.sleep(0.05)
    return not directory.exists()


@pytest.mark.timeout(90)
def test_a_machine_ends_with_the_command_that_holds_it(runtime: Path) -> None:
    file, directory = machine_file(runtime, "one"), runtime / "virtio-crq" / "one"
    with holder(file) as held:
        assert sorted(ProcessTable(directory).running()) == ["hypervisor", "vios1"]
        held.communicate("\n", timeout=30)
    assert held.returncode == 0
    assert not directory.exists()
    with holder(file) as held:
        held.kill()
    assert held.returncode == -signal.SIGKILL
    assert gone(directory)


OPTIONS = ("--backing", "null", "--seconds", "60")
COMMANDS = {
    "bench": ("bench", "--case", "randread-4k-qd1", "--rung", "naive", "--notify", "sleeping", *OPTIONS),
    "crowd": ("bench", "clients", "--crowd", "64-idle", *OPTIONS),
    "demo": ("demo",),
}


@pytest.mark.timeout(90)
@pytest.mark.parametrize("kind", COMMANDS)
def test_what_makes_a_machine_for_itself_and_is_killed_leaves_none(runtime: Path, kind: str) -> None:
    command = [sys.executable, "-m", "virtio_crq.cli", *COMMANDS[kind]]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        directory = runtime / "virtio-crq" / f"{kind}-{process.pid}"
        end = time.monotonic() + 30
        while len(running := ProcessTable(directory).running()) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        process.kill()
    assert sorted(running) == ["hypervisor", "vios1"]
    assert gone(directory)
    assert [started(each.pid) for each in running.values()] == [None, None]


@pytest.mark.timeout(90)
@pytest.mark.parametrize("kind", ["bench", "demo"])
def test_what_is_killed_while_its_hypervisor_comes_up_leaves_none(runtime: Path, kind: str) -> None:
    command = [sys.executable, "-m", "virtio_crq.cli", *COMMANDS[kind]]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        directory = runtime / "virtio-crq" / f"{kind}-{process.pid}"
        running = first_of(directory)
        process.kill()
    assert list(running) == ["hypervisor"]
    assert gone(directory)
    assert started(running["hypervisor"].pid) is None


@pytest.mark.timeout(90)
def test_who_is_killed_while_the_machine_that_it_holds_comes_up_leaves_none(runtime: Path) -> None:
    file, directory = machine_file(runtime, "one"), runtime / "virtio-crq" / "one"
    with subprocess.Popen([sys.executable, "-c", HOLDER, file], stdin=subprocess.PIPE) as process:
        running = first_of(directory)
        process.kill()
    assert list(running) == ["hypervisor"]
    assert gone(directory)
    assert started(running["hypervisor"].pid) is None


def first_of(directory: Path) -> dict[str, Running]:
    """What runs as soon as a pid file says that something does, long before it is ready."""
    end = time.monotonic() + 30
    while not (running := ProcessTable(directory).running()) and time.monotonic() < end:
        os.sched_yield()
    return running


@pytest.mark.timeout(60)
def test_a_guardian_that_does_not_end_holds_up_nobody(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("virtio_crq.cli.guardian.STOP_SECONDS", 0.0)
    guardian = Guardian(runtime)
    guardian._process.send_signal(signal.SIGSTOP)
    try:
        guardian.dismiss()
    finally:
        guardian._process.send_signal(signal.SIGCONT)
    assert guardian._process.wait(20) == 0


@pytest.mark.timeout(60)
def test_a_guardian_may_be_dismissed_again(runtime: Path) -> None:
    guardian = Guardian(runtime)
    guardian.dismiss()
    guardian.dismiss()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("words", [[], ["done"], ["1"], ["1", "done"]])
def test_a_machine_that_is_not_the_commands_stays(runtime: Path, words: list[str]) -> None:
    good("up", machine_file(runtime, "one"), "--detach")
    before = processes("one")
    assert not guard(runtime / "virtio-crq" / "one", iter(words))
    assert processes("one") == before
    good("down")
