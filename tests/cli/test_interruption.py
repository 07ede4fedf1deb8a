# SPDX-License-Identifier: Apache-2.0
"""A stop, whenever it comes and however often it is told, leaves nothing of the machine that a command made."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from virtio_crq.cli import interruption, processes
from virtio_crq.cli.interruption import BURST_SECONDS, held_back, terminated_as_interrupted
from virtio_crq.cli.ownstate import own_state
from virtio_crq.cli.processes import ProcessTable
from virtio_crq.cli.roles import HYPERVISOR, Role

LISTENS = """
import signal, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
signal.pause()
"""


@pytest.fixture
def root() -> Iterator[Path]:
    """Where machines are; a socket's path must be short."""
    with TemporaryDirectory(prefix="stop-") as name, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", name)
        yield Path(name) / "virtio-crq"


def stop(number: int = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


def role(directory: Path) -> Role:
    ready = directory / "ready.sock"
    return Role(HYPERVISOR, (sys.executable, "-c", LISTENS, str(ready)), ready)


@pytest.mark.parametrize("second", interruption.STOPS)
def test_a_stop_that_is_told_again_does_not_end_the_cleaning_up(second: int) -> None:
    now, cleaned = 10.0, []
    with terminated_as_interrupted(lambda: now):
        with pytest.raises(KeyboardInterrupt):
            stop()
        now += BURST_SECONDS / 2
        stop(second)
        cleaned.append("to the end")
        now += BURST_SECONDS
        with pytest.raises(KeyboardInterrupt):
            stop(second)  # whoever insists is heard
    assert cleaned == ["to the end"]


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with terminated_as_interrupted():
            stop(signal.SIGHUP)
            with held_back():
                stop(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_stop_waits_until_what_was_made_is_written_down() -> None:
    done = []

    def make() -> None:
        with held_back():
            stop()
            stop(signal.SIGINT)
            done.append("written down")

    with terminated_as_interrupted(), pytest.raises(KeyboardInterrupt):
        make()
    assert done == ["written down"]


def test_a_stop_while_a_machine_is_taken_down_leaves_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end = ProcessTable._end

    def interrupted(table: ProcessTable, running: processes.Running) -> None:
        stop()
        end(table, running)

    monkeypatch.setattr(ProcessTable, "_end", interrupted)
    with terminated_as_interrupted(), pytest.raises(KeyboardInterrupt), own_state("own") as (directory, table):
        pid = table.start(role(directory)).pid
    assert list(root.iterdir()) == []
    assert not Path(f"/proc/{pid}").exists()


def test_a_stop_while_a_process_starts_leaves_no_process(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[subprocess.Popen[bytes]] = []

    class Interrupted(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *words: object, **options: object) -> None:
            super().__init__(*words, **options)  # type: ignore[call-overload]
            made.append(self)
            stop()

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with terminated_as_interrupted(), pytest.raises(KeyboardInterrupt), own_state("own") as (directory, table):
        table.start(role(directory))
    assert list(root.iterdir()) == []
    assert made[0].returncode == -signal.SIGTERM


def test_a_stop_while_the_directory_is_made_leaves_none(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mkdir = Path.mkdir

    def interrupted(path: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        mkdir(path, mode, parents, exist_ok)
        stop()

    monkeypatch.setattr(Path, "mkdir", interrupted)
    with terminated_as_interrupted(), pytest.raises(KeyboardInterrupt), own_state("own"):
        pass
    assert list(root.iterdir()) == []
