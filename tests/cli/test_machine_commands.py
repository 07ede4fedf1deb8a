# SPDX-License-Identifier: Apache-2.0
"""A machine by its commands: every process its own, found by name, stopped whole."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from virtio_crq.hypervisor.statedirectory import make_own_directory

FILE = """\
[machine]
name = "{name}"
[partition.vios1]
memory = "16MiB"
[partition.web1]
memory = "16MiB"
[[adapter]]
client = "web1"
server = "vios1"
slot = 2
window = "16MiB"
[[map]]
client = "web1"
target = "root"
backing = "ram:1MiB"
"""


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="crq-", dir="/tmp"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(path))
    yield path
    for machine in sorted(path.glob("virtio-crq/*")):
        run("down", "-m", machine.name)
    shutil.rmtree(path)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "virtio_crq.cli", *arguments], capture_output=True, text=True, timeout=60
    )


def good(*arguments: str) -> str:
    done = run(*arguments)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def machine_file(runtime: Path, name: str) -> str:
    path = runtime / f"{name}.toml"
    path.write_text(FILE.format(name=name))
    return str(path)


def processes(name: str) -> dict[str, int | None]:
    return {row["name"]: row["pid"] for row in json.loads(good("show", "--json", "-m", name))["partitions"]}


def test_a_machine_comes_up_is_looked_at_and_goes_down(runtime: Path) -> None:
    file = machine_file(runtime, "one")
    assert good("up", file, "--detach").startswith("machine one is up: hypervisor (")
    view = json.loads(good("show", "--json"))
    assert [(row["name"], row["state"]) for row in view["partitions"]] == [("vios1", "running"), ("web1", "off")]
    assert (view["adapters"][0]["client_queue"], view["adapters"][0]["server_queue"]) == ("closed", "open")
    assert "vios1" in good("show")
    again = run("up", file)
    assert (again.returncode, again.stderr) == (
        2,
        "virtio-crq: machine one is up already; stop it with: virtio-crq down -m one\n",
    )
    assert good("down") == "machine one is down: stopped vios1, hypervisor\n"
    assert list((runtime / "virtio-crq" / "one").glob("*.sock")) == []


def test_one_read_is_shown_call_by_call(runtime: Path) -> None:
    good("up", machine_file(runtime, "one"), "-d")
    entries = [json.loads(line) for line in good("trace", "web1/root", "--one", "--json").splitlines()]
    calls = [(entry["partition"], entry["call"]) for entry in entries]
    assert ("web1", "H_SEND_CRQ") in calls
    assert ("vios1", "H_COPY_RDMA") in calls
    assert 4096 in [entry["inputs"].get("length") for entry in entries]
    text = good("trace", "web1/root", "--one")
    assert "H_COPY_RDMA(length=0x1000, source_liobn=" in text
    assert "  device 0, queue 0: requests up to " in text
    assert "  device 0, queue 0: completions up to " in text
    assert text.splitlines()[-1].split()[1] == "calls:"
    assert run("trace", "nobody", "--one").stderr == "virtio-crq: no client 'nobody' in this machine\n"


def test_a_killed_server_is_started_again_by_hand(runtime: Path) -> None:
    good("up", machine_file(runtime, "one"), "-d")
    killed = processes("one")["vios1"]
    assert killed is not None
    assert run("start", "vios1").stderr == f"virtio-crq: vios1 runs already, as process {killed}\n"
    descriptor = os.pidfd_open(killed)
    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    os.close(descriptor)
    assert good("start", "vios1").startswith("vios1 runs as process ")
    assert processes("one")["vios1"] not in (None, killed)
    assert run("start", "web1").stderr == "virtio-crq: no server 'web1' in machine one; there are vios1\n"


def test_a_machine_that_a_command_made_for_itself_is_meant_by_who_names_it_alone(runtime: Path) -> None:
    good("up", machine_file(runtime, "bench-1"), "-d")
    make_own_directory("bench-1")
    others = "(but for what commands run for themselves: bench-1)"
    said = f"virtio-crq: no machine is up {others}; start one with: virtio-crq up FILE\n"
    assert (run("show").returncode, run("down").stderr) == (2, said)
    good("up", machine_file(runtime, "one"), "-d")
    assert good("disk", "read", "web1/root", "--length", "3") == "\0\0\0"
    assert good("show").startswith("machine one,")
    assert good("show", "-m", "bench-1").startswith("machine bench-1,")
    assert good("down") == "machine one is down: stopped vios1, hypervisor\n"


def test_with_several_machines_up_commands_ask_which(runtime: Path) -> None:
    for name in ("one", "two"):
        good("up", machine_file(runtime, name), "-d")
    done = run("show")
    assert (done.returncode, done.stderr) == (
        2,
        "virtio-crq: several machines are up (one, two); say which with --machine NAME\n",
    )
    assert "machine two" in good("show", "--machine", "two")
    good("down", "-m", "one")
    assert "machine two" in good("show")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_foreground_machine_stops_whole(runtime: Path, number: int) -> None:
    up = subprocess.Popen(
        [sys.executable, "-u", "-m", "virtio_crq.cli", "up", machine_file(runtime, "one")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert up.stdout is not None
    assert up.stdout.readline().startswith("machine one is up: ")
    assert up.stdout.readline() == "Ctrl-C stops it\n"
    up.send_signal(number)
    out, err = up.communicate(timeout=60)
    assert (out, err, up.returncode) == ("stopping machine one\n", "", 0)
    assert not (runtime / "virtio-crq" / "one").exists()
    assert run("show").stderr == "virtio-crq: no machine is up; start one with: virtio-crq up FILE\n"


def test_a_foreground_machine_tells_of_a_death_and_a_return(runtime: Path) -> None:
    up = subprocess.Popen(
        [sys.executable, "-u", "-m", "virtio_crq.cli", "up", machine_file(runtime, "one")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert up.stdout is not None
    up.stdout.readline()
    up.stdout.readline()
    killed = processes("one")["vios1"]
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    assert up.stdout.readline().startswith(f"vios1 (process {killed}) was killed by SIGKILL; its log: ")
    assert up.stdout.readline() == "start it again with: virtio-crq start vios1\n"
    good("start", "vios1")
    assert up.stdout.readline().endswith("is back\n")
    up.send_signal(signal.SIGINT)
    up.communicate(timeout=60)


def test_a_server_that_cannot_start_takes_the_machine_down_again(runtime: Path) -> None:
    file = runtime / "m.toml"
    file.write_text(FILE.format(name="one").replace("ram:1MiB", "file:missing.img"))
    done = run("up", str(file))
    assert done.returncode == 2
    assert "missing.img" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "no machine is up" in run("show").stderr


def test_of_two_that_bring_one_machine_up_at_once_one_does(runtime: Path) -> None:
    file = machine_file(runtime, "contested")
    command = [sys.executable, "-m", "virtio_crq.cli", "up", file, "--detach"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=60)[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 2], said
    refusal = next(text for text in said if text)
    assert "is just being started or stopped" in refusal or "is up already" in refusal
    assert None not in (processes("contested")["vios1"], json.loads(good("vios", "lsmap", "--json")))


def test_a_machine_file_that_was_changed_meanwhile_is_named(runtime: Path) -> None:
    file = Path(machine_file(runtime, "changed"))
    good("up", str(file), "--detach")
    os.kill(processes("changed")["vios1"] or 0, signal.SIGKILL)
    file.write_text(file.read_text().replace("slot = 2", "slot = 2\nserver_slot = 9"))
    for _ in range(100):  # until the machine has noticed
        done = run("start", "vios1")
        if "runs already" not in done.stderr:
            break
    assert done.returncode == 2
    assert "slot 9 of vios1, to web1, is not in the running machine" in done.stderr
    (runtime / "virtio-crq" / "changed" / "machine-file").unlink()
    done = run("start", "vios1")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


def test_names_that_a_terminal_cannot_show_are_shown_somehow(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = Path(machine_file(runtime, "named"))
    (runtime / "Bär.img").write_bytes(bytes(1 << 20))
    file.write_text(file.read_text().replace("ram:1MiB", "file:Bär.img"))
    good("up", str(file), "--detach")
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    assert "B\\xe4r.img" in good("vios", "lsmap")
