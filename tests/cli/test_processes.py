# SPDX-License-Identifier: Apache-2.0
"""The table of processes, with small processes that stand for roles."""

import _thread
import json
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from virtio_crq.cli.machine import watch
from virtio_crq.cli.processes import ProcessTable
from virtio_crq.cli.roles import Role
from virtio_crq.errors import UsageError

LISTEN = (
    "import socket, sys, signal\n"
    "s = socket.socket(socket.AF_UNIX)\n"
    "s.bind(sys.argv[1])\n"
    "s.listen()\n"
    "print('listening', flush=True)\n"
    "signal.pause()\n"
)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[ProcessTable]:
    made = ProcessTable(tmp_path)
    yield made
    made.stop_all("")


def role(directory: Path, name: str, code: str = LISTEN) -> Role:
    path = directory / f"{name}.sock"
    path.unlink(missing_ok=True)
    return Role(name, (sys.executable, "-c", code, str(path)), path)


def test_a_role_runs_until_it_is_stopped(processes: ProcessTable, tmp_path: Path) -> None:
    running = processes.start(role(tmp_path, "one"))
    assert processes.running() == {"one": running}
    assert processes.log("one").read_text() == "listening\n"
    assert processes.stop("one")
    assert processes.running() == {}
    assert not processes.stop("one")
    assert list(tmp_path.glob("*.pid")) == []


def test_another_process_finds_it_by_its_pid_file(processes: ProcessTable, tmp_path: Path) -> None:
    running = processes.start(role(tmp_path, "one"))
    assert ProcessTable(tmp_path).running()["one"].pid == running.pid
    assert ProcessTable(tmp_path).stop("one")


def test_a_role_runs_once(processes: ProcessTable, tmp_path: Path) -> None:
    running = processes.start(role(tmp_path, "one"))
    with pytest.raises(UsageError, match=f"one runs already, as process {running.pid}"):
        processes.start(role(tmp_path, "one"))


def test_a_role_that_ends_at_once_is_told_with_its_last_words(processes: ProcessTable, tmp_path: Path) -> None:
    code = "import sys; print('first'); sys.exit('virtio-crq: image in use')"
    with pytest.raises(UsageError, match=r"^one: image in use$"):
        processes.start(role(tmp_path, "one", code))
    with pytest.raises(UsageError, match=r"^two ended with status 0 and said nothing$"):
        processes.start(role(tmp_path, "two", ""))
    assert processes.running() == {}


def test_a_killed_role_is_gone_and_can_start_again(processes: ProcessTable, tmp_path: Path) -> None:
    running = processes.start(role(tmp_path, "one"))
    os.kill(running.pid, signal.SIGKILL)
    processes.wait(10)
    assert processes.running() == {}
    assert processes.ended(running.pid) == "was killed by SIGKILL"
    assert processes.start(role(tmp_path, "one")).pid != running.pid


def test_a_stop_that_comes_just_before_the_wait_is_heard_of(
    processes: ProcessTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`interrupt_main` is a signal that ends no system call, as one that came before the call does not."""
    about_to_wait = threading.Event()
    real = select.select

    def announced(*arguments: object) -> object:
        about_to_wait.set()
        return real(*arguments)  # type: ignore[arg-type]  # what it was called with

    def interrupt() -> None:
        about_to_wait.wait()
        _thread.interrupt_main()

    running = processes.start(role(tmp_path, "one"))
    monkeypatch.setattr(select, "select", announced)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            watch(processes, {"one": running}, "one")
    finally:
        signal.signal(signal.SIGINT, before)
        thread.join()


def test_a_pid_that_means_another_process_by_now_is_left_alone(processes: ProcessTable, tmp_path: Path) -> None:
    (tmp_path / "one.pid").write_text(json.dumps({"pid": os.getpid(), "started": "1", "argv": []}))
    assert processes.running() == {}
    assert not processes.stop("one")


@pytest.mark.parametrize("text", ["", "nonsense", "{}", "[]", '{"pid": "x", "started": "1", "argv": []}'])
def test_a_broken_pid_file_is_no_process(processes: ProcessTable, tmp_path: Path, text: str) -> None:
    (tmp_path / "one.pid").write_text(text)
    assert processes.running() == {}


def test_the_last_to_stop_is_the_hypervisor(processes: ProcessTable, tmp_path: Path) -> None:
    for name in ("a", "hypervisor", "z"):
        processes.start(role(tmp_path, name))
    assert processes.stop_all("hypervisor") == ["a", "z", "hypervisor"]
