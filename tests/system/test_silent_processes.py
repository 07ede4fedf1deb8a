# SPDX-License-Identifier: Apache-2.0
"""A hypervisor or a server that was stopped, or hangs, is told of by whoever waits for it, with what can be done."""

import logging
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from machinetext import machine_text, mapped
from runningmachine import COMMAND, PATIENCE, RunningMachine

from virtio_crq import farend
from virtio_crq.cli import disk
from virtio_crq.cli.processes import STOP_SECONDS
from virtio_crq.client.client import Client
from virtio_crq.client.silence import Silence
from virtio_crq.errors import UsageError
from virtio_crq.hypervisor.conversation import ask as ask_hypervisor
from virtio_crq.vios.control import ask as ask_server
from virtio_crq.vios.control import socket_path

MACHINE = machine_text(mapped("web1/root", "ram:1M"))


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[RunningMachine]:
    with RunningMachine(tmp_path, MACHINE) as running:
        yield running


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def waiting(machine: RunningMachine, *words: str) -> "Iterator[subprocess.Popen[str]]":
    """A command, once it has said that it waits."""
    command = [*COMMAND, *words, "--machine", machine.name]
    pid = machine.pid("hypervisor")
    with subprocess.Popen(
        command, env=machine.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == (
            "virtio-crq: the hypervisor of machine system has not answered for 5 s; still waiting. "
            f"It is process {pid}, which was stopped; let it go on with: kill -CONT {pid}\n"
        )
        yield process


@pytest.mark.timeout(60)
@pytest.mark.parametrize("words", [("show",), ("disk", "read", "web1/root", "--length", "512")])
def test_a_command_tells_of_a_stopped_hypervisor_and_goes_on_with_it(
    machine: RunningMachine, words: tuple[str, ...]
) -> None:
    with stopped(machine.pid("hypervisor")), waiting(machine, *words) as command:
        os.kill(machine.pid("hypervisor"), signal.SIGCONT)
        printed, said = command.communicate(timeout=PATIENCE)
    assert (command.returncode, said) == (0, "")
    assert printed


@pytest.mark.timeout(60)
def test_a_command_that_waits_for_a_stopped_hypervisor_ends_by_an_interrupt(machine: RunningMachine) -> None:
    with stopped(machine.pid("hypervisor")), waiting(machine, "show") as command:
        command.send_signal(signal.SIGINT)
        assert (command.wait(PATIENCE), command.communicate()[1]) == (130, "")


@pytest.mark.timeout(60)
def test_who_waited_long_enough_is_told_what_can_be_done(
    machine: RunningMachine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(farend, "FIRST_SECONDS", 0.1)
    caplog.set_level(logging.INFO, farend.log.name)
    hypervisor, server = machine.pid("hypervisor"), machine.pid("vios1")
    with stopped(hypervisor), pytest.raises(UsageError) as refused:
        ask_hypervisor(machine.state, "show", patience=0.2)
    told = f"It is process {hypervisor}, which was stopped; let it go on with: kill -CONT {hypervisor}"
    assert str(refused.value) == f"the hypervisor of machine system has not answered for 0.2 s. {told}"
    with stopped(server), pytest.raises(UsageError) as refused:
        ask_server(socket_path(machine.state, "vios1"), "lsmap", patience=0.2)
    assert str(refused.value).startswith("vios1 of machine system has not answered for 0.2 s. ")
    assert str(refused.value).endswith(f"kill -CONT {server}")
    assert [" has not answered for 0.1 s; still waiting. It is " in said for said in caplog.messages] == [True, True]


def test_one_that_hangs_is_named_with_what_ends_it() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(UsageError) as refused:
        farend.await_word(ours, "vios1", "kill -9 {pid}", 0.01)
    told = f"It is process {os.getpid()}; if that hangs, end it with: kill -9 {os.getpid()}"
    assert str(refused.value) == f"vios1 has not answered for 0.01 s. {told}"


@pytest.mark.timeout(60)
def test_show_names_a_server_that_was_stopped_and_shows_the_rest(machine: RunningMachine) -> None:
    with stopped(machine.pid("vios1")):
        done = machine.run("show")
    assert done.returncode == 0
    assert done.stdout.startswith("machine system,")
    assert done.stderr.startswith("virtio-crq: vios1 of machine system has not answered for 1 s. ")


@pytest.mark.timeout(60)
def test_processes_that_were_stopped_end_by_themselves(machine: RunningMachine) -> None:
    for role in ("vios1", "hypervisor"):
        os.kill(machine.pid(role), signal.SIGSTOP)
    begun = time.monotonic()
    assert machine.must("down", "--machine", "system") == "machine system is down: stopped vios1, hypervisor\n"
    assert time.monotonic() - begun < STOP_SECONDS, "nobody had to be killed"


@pytest.mark.timeout(60)
def test_an_export_looks_out_for_a_silent_server(machine: RunningMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []

    async def exported(client: Client, *_arguments: object) -> None:
        looks.append(getattr(client.on_idle, "__self__", None))

    monkeypatch.setenv("XDG_RUNTIME_DIR", machine.environment["XDG_RUNTIME_DIR"])
    monkeypatch.setattr(disk, "_export", exported)
    disk.export("web1/root", machine.directory / "nbd", machine.name)
    assert isinstance(looks[0], Silence)
