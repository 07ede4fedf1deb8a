# SPDX-License-Identifier: Apache-2.0
"""A state directory that somebody removes takes its machine along, and leaves a later one in its place alone."""

import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from machinetext import machine_text, mapped
from runningmachine import COMMAND, PATIENCE, RunningMachine

MACHINE = machine_text(mapped("web1/root", "file:root.img"))


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[RunningMachine]:
    with (tmp_path / "root.img").open("wb") as image:
        image.truncate(1 << 20)
    with RunningMachine(tmp_path, MACHINE) as running:
        yield running


@contextmanager
def held(machine: RunningMachine) -> Iterator[list[int]]:
    """Descriptors of the machine's processes, readable when they have ended."""
    processes = [os.pidfd_open(machine.pid(role)) for role in ("hypervisor", "vios1")]
    try:
        yield processes
    finally:
        for descriptor in processes:
            os.close(descriptor)


def ended(processes: list[int]) -> bool:
    return all(select.select([each], [], [], 20)[0] for each in processes)


@pytest.mark.timeout(60)
def test_a_machine_ends_with_its_directory(machine: RunningMachine) -> None:
    log = (machine.state / "hypervisor.log").open()
    with held(machine) as processes, log:
        shutil.rmtree(machine.state)
        assert ended(processes)
        path = machine.state / "hypervisor.sock"
        said = f"virtio-crq: {path} was removed: nobody could reach this machine any more, or end it"
        assert log.read().splitlines() == [said]
    assert machine.run("down", "--machine", machine.name).returncode == 2
    machine.must("up", str(machine.file), "--detach")


@pytest.mark.timeout(60)
def test_a_machine_that_comes_up_in_its_place_at_once_stays(machine: RunningMachine) -> None:
    with held(machine) as processes:
        shutil.rmtree(machine.state)
        machine.must("up", str(machine.file), "--detach")
        assert ended(processes)
    assert machine.must("show", "--machine", machine.name).startswith("machine system,")
    assert machine.adapter("web1")["state"] == "waiting for client"


@pytest.mark.timeout(60)
def test_a_machine_in_the_foreground_says_that_it_was_stopped(machine: RunningMachine) -> None:
    machine.must("down", "--machine", machine.name)
    command = [*COMMAND, "up", str(machine.file)]
    with subprocess.Popen(
        command, env=machine.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as up:
        assert up.stdout is not None
        while up.stdout.readline() != "Ctrl-C stops it\n":
            assert up.poll() is None
        with held(machine) as processes:
            shutil.rmtree(machine.state)
            assert ended(processes)
        _, said = up.communicate(timeout=PATIENCE)
    assert (up.returncode, said) == (2, "virtio-crq: machine system lost its hypervisor and was stopped\n")
