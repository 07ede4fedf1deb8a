# SPDX-License-Identifier: Apache-2.0
"""The end of a machine, whatever became of its hypervisor, its pid files, and its name since."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from test_machine_commands import good, machine_file, processes, run, runtime

COMMAND = [sys.executable, "-u", "-m", "virtio_crq.cli"]
__all__ = ["runtime"]  # the fixture


def foreground(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill(pid: int | None) -> None:
    """kill -9, and wait until it is gone."""
    assert pid
    descriptor = os.pidfd_open(pid)
    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    assert select.select([descriptor], [], [], 20)[0]
    os.close(descriptor)


def directory(runtime: Path, name: str = "one") -> Path:
    return runtime / "virtio-crq" / name


@pytest.mark.timeout(60)
def test_a_foreground_up_leaves_a_later_machine_of_the_same_name_alone(runtime: Path) -> None:
    file = machine_file(runtime, "one")
    with foreground("up", file) as first:
        assert first.stdout is not None
        while first.stdout.readline() != "Ctrl-C stops it\n":
            assert first.poll() is None
        first.send_signal(signal.SIGSTOP)  # it sees nothing of what comes now
        good("down")
        good("up", file, "--detach")
        later = processes("one")
        first.send_signal(signal.SIGCONT)
        _, said = first.communicate(timeout=20)
    assert (first.returncode, said) == (2, "virtio-crq: machine one lost its hypervisor and was stopped\n")
    assert processes("one") == later
    assert good("down") == "machine one is down: stopped vios1, hypervisor\n"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("text", ["", "nonsense", '{"pid": -1, "started": "1", "argv": []}'])
def test_a_server_whose_pid_file_is_broken_stays_in_sight(runtime: Path, text: str) -> None:
    good("up", machine_file(runtime, "one"), "--detach")
    (directory(runtime) / "vios1.pid").write_text(text)
    pid = processes("one")["vios1"]
    done = run("start", "vios1")
    assert (done.returncode, done.stderr) == (2, f"virtio-crq: vios1 runs already, as process {pid}\n")
    said = good("down")
    assert said == f"machine one is down: stopped hypervisor, vios1 (process {pid}, which no pid file named)\n"
    assert not directory(runtime).exists()


@pytest.mark.timeout(60)
def test_a_server_that_was_started_by_hand_is_not_started_again_and_ends_with_its_machine(runtime: Path) -> None:
    file = machine_file(runtime, "one")
    good("up", file, "--detach")
    kill(processes("one")["vios1"])
    with foreground("vios", "run", "vios1", "--file", file) as by_hand:
        assert by_hand.stdout is not None
        assert by_hand.stdout.readline() == "serving\n"
        done = run("start", "vios1")
        assert done.stderr == f"virtio-crq: vios1 runs already, as process {by_hand.pid}\n"
        assert f"vios1 (process {by_hand.pid}, which no pid file named)" in good("down")
        by_hand.communicate(timeout=20)
    assert not directory(runtime).exists()


@pytest.mark.timeout(60)
def test_one_that_does_not_end_is_named_and_its_machine_kept(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from virtio_crq.cli import teardown
    from virtio_crq.errors import UsageError

    file = machine_file(runtime, "one")
    good("up", file, "--detach")
    kill(processes("one")["vios1"])
    with foreground("vios", "run", "vios1", "--file", file) as by_hand:
        assert by_hand.stdout is not None
        assert by_hand.stdout.readline() == "serving\n"
        by_hand.send_signal(signal.SIGSTOP)
        monkeypatch.setattr(teardown, "STOP_SECONDS", 0.2)
        with pytest.raises(
            UsageError, match=f"vios1 is process {by_hand.pid}, .* goes on; end it with: kill {by_hand.pid}"
        ):
            teardown.take_down(directory(runtime))
        assert directory(runtime).exists()
        by_hand.send_signal(signal.SIGCONT)
        by_hand.communicate(timeout=20)
    assert good("down", "-m", "one") == "machine one was not up; cleared what was left of it\n"


@pytest.mark.timeout(60)
def test_nothing_is_left_of_a_machine_whose_hypervisor_was_killed(runtime: Path) -> None:
    file = machine_file(runtime, "one")
    good("up", file, "--detach")
    kill(_pid(runtime, "hypervisor"))
    assert "no machine is up" in run("down").stderr
    assert good("down", "--machine", "one").startswith("machine one was not up; cleared what was left of it")
    assert not directory(runtime).exists()
    assert run("down", "-m", "one").stderr == "virtio-crq: machine 'one' is not up\n"
    good("up", file, "--detach")
    assert good("down") == "machine one is down: stopped vios1, hypervisor\n"
    assert list((runtime / "virtio-crq").iterdir()) == []


@pytest.mark.timeout(60)
def test_a_machine_whose_hypervisor_was_killed_comes_up_again_at_once(runtime: Path) -> None:
    file = machine_file(runtime, "one")
    good("up", file, "--detach")
    kill(_pid(runtime, "hypervisor"))
    good("up", file, "--detach")
    assert processes("one")["vios1"]


def _pid(runtime: Path, role: str) -> int:
    from virtio_crq.cli.processes import ProcessTable

    return ProcessTable(directory(runtime)).running()[role].pid
