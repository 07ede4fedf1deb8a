# SPDX-License-Identifier: Apache-2.0
"""The hypervisor's process with partitions in processes of their own: coming, going, dying."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from virtio_crq.errors import UsageError
from virtio_crq.hypervisor.attachment import attach
from virtio_crq.hypervisor.conversation import LONGEST_REQUEST, PROTOCOL, Conversation, ask
from virtio_crq.hypervisor.statedirectory import ATTACH_SOCKET, answers, machines_up, make_state_directory

MACHINE = """\
[machine]
name = "dm"
[partition.vios1]
memory = "4MiB"
[partition.web1]
memory = "4MiB"
[partition.db1]
memory = "4MiB"
[[adapter]]
client = "web1"
server = "vios1"
slot = 2
window = "1MiB"
[[adapter]]
client = "db1"
server = "vios1"
slot = 2
window = "1MiB"
"""
DEADLINE = 20.0


class Child:
    """A process that answers lines with lines."""

    def __init__(self, directory: Path, name: str) -> None:
        script = Path(__file__).with_name("daemon_partition.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(directory), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self, text: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()
        return self.line()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short runtime directory: Unix socket names have 107 bytes."""
    path = Path(tempfile.mkdtemp(prefix="crq-", dir="/tmp"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(path))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def daemon(runtime: Path) -> Iterator[subprocess.Popen[bytes]]:
    file = runtime / "m.toml"
    file.write_text(MACHINE)
    process = subprocess.Popen(
        [sys.executable, "-m", "virtio_crq.cli", "hypervisor", str(file)], stderr=subprocess.PIPE
    )
    wait_until(lambda: answers(runtime / "virtio-crq" / "dm" / ATTACH_SOCKET) or process.poll() is not None)
    yield process
    process.terminate()
    process.communicate(timeout=DEADLINE)


@pytest.fixture
def directory(daemon: subprocess.Popen[bytes], runtime: Path) -> Path:
    return runtime / "virtio-crq" / "dm"


@pytest.fixture
def children() -> Iterator[list[Child]]:
    started: list[Child] = []
    yield started
    for child in started:
        child.close()


def wait_until(holds: Any) -> None:
    end = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < end, "it did not come true"
        os.sched_yield()


def start(children: list[Child], directory: Path, name: str, first: str | None = None) -> Child:
    child = Child(directory, name)
    children.append(child)
    line = child.line()
    assert first is None or line == first
    return child


def states(directory: Path) -> dict[str, str]:
    return {row["name"]: row["state"] for row in ask(directory, "show")["partitions"]}


def post(partition: str, unit_address: int, event: int) -> bytes:
    request = {"do": "post_event", "partition": partition, "unit_address": unit_address, "event": event}
    return json.dumps(request).encode() + b"\n"


@pytest.mark.clause("CRQ-H-8", "CRQ-H-18", "CRQ-H-19")
def test_a_killed_partition_is_told_to_its_partner_and_can_start_again(directory: Path, children: list[Child]) -> None:
    server = start(children, directory, "vios1", "registered 2")
    client = start(children, directory, "web1", "registered 0")
    assert states(directory) == {"vios1": "running", "web1": "running", "db1": "off"}
    assert client.ask("write 0x8000 5ec2e75ec2e70000") == "written"
    assert client.ask("send 0x8000000000000001") == "0"
    client.kill()
    wait_until(lambda: states(directory)["web1"] == "off")
    assert server.ask("ring 0").startswith("8000000000000001")
    assert server.ask("ring 1") == "ff01" + "00" * 14
    assert server.ask("send 0x8000000000000000") == "2"  # H_Closed
    again = start(children, directory, "web1", "registered 0")
    assert again.ask("read 0x8000") == "00" * 8, "memory of the dead partition must not be seen"
    assert server.ask("send 0x8000000000000002") == "0"
    assert again.ask("ring 0").startswith("8000000000000002")


def test_a_restart_that_overtakes_the_news_of_the_death_waits_for_it(directory: Path, children: list[Child]) -> None:
    start(children, directory, "vios1", "registered 2")
    for _ in range(5):
        client = start(children, directory, "web1", "registered 0")
        client.kill()


def test_a_partition_that_runs_is_not_handed_out_again(directory: Path, children: list[Child]) -> None:
    client = start(children, directory, "web1", "registered 2")
    second = start(children, directory, "web1")
    assert second.process.wait(DEADLINE) == 0
    with pytest.raises(UsageError, match=f"partition web1 runs already, as process {client.process.pid}"):
        attach(directory, "web1")


def test_detaching_powers_off(directory: Path, children: list[Child]) -> None:
    server = start(children, directory, "vios1", "registered 2")
    client = start(children, directory, "web1", "registered 0")
    assert client.ask("detach") == "detached"
    assert states(directory)["web1"] == "off"
    assert server.ask("ring 0").startswith("ff01")
    with attach(directory, "web1") as partition:
        assert partition.name == "web1"
        assert states(directory)["web1"] == "running"
    assert states(directory)["web1"] == "off"


def test_losing_the_connection_alone_ends_nothing(directory: Path) -> None:
    """The process may still be writing to its memory: only its death, or its word, ends the partition."""
    with Conversation(directory) as conversation:
        conversation.ask("attach", partition="web1", protocol=PROTOCOL)
        for descriptor in conversation.descriptors:
            os.close(descriptor)
    assert states(directory)["web1"] == "running"
    with pytest.raises(UsageError, match=f"runs already, as process {os.getpid()}"):
        attach(directory, "web1")


def test_another_client_is_not_disturbed_by_a_death(directory: Path, children: list[Child]) -> None:
    start(children, directory, "vios1", "registered 2")
    other = start(children, directory, "db1")
    client = start(children, directory, "web1", "registered 0")
    client.kill()
    wait_until(lambda: states(directory)["web1"] == "off")
    assert other.ask("read 0x8000") == "00" * 8
    assert states(directory)["db1"] == "running"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (b"nonsense\n", "a request is one line of JSON"),
        (b"[1]\n", "a request is a JSON object"),
        (b'{"do":"fly"}\n', "unknown request 'fly'; there are attach, counters"),
        (b'{"do":"attach","partition":"web1","protocol":99}\n', "attach protocol 99, but this hypervisor speaks 1"),
        (b'{"do":"attach","partition":"web1"}\n', "attach protocol None"),
        (b'{"do":"attach","partition":"nobody","protocol":1}\n', "no partition 'nobody'"),
        (b'{"do":"detach"}\n', "this connection is no partition"),
        (b'{"do":"read_trace","after":"x"}\n', "invalid literal"),
        (b'{"do":"post_event"}\n', "post_event takes a partition, a unit_address, and an event from 1 to 255"),
        (post("web1", 0x30000002, 256), "an event from 1 to 255"),
        (post("web1", 0x30000002, True), "an event from 1 to 255"),
        (post("nobody", 0x30000002, 6), "no partition 'nobody'"),
        (post("web1", 0x30000009, 6), "partition web1 has no adapter 0x30000009"),
        (post("web1", 0x30000002, 6), "event 0x6 cannot be posted to adapter 0x30000002 of web1: its CRQ is closed"),
        (b"x" * (LONGEST_REQUEST + 2), "a request is at most"),
    ],
)
def test_a_bad_request_is_answered_and_the_daemon_goes_on(directory: Path, request_: bytes, message: str) -> None:
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(directory / ATTACH_SOCKET))
        raw.settimeout(DEADLINE)
        raw.sendall(request_)
        assert message in raw.recv(1 << 16).decode()
    assert states(directory)["web1"] == "off"


def test_an_event_of_the_platform_can_be_posted_to_who_listens(directory: Path, children: list[Child]) -> None:
    start(children, directory, "vios1", "registered 2")
    client = start(children, directory, "web1", "registered 0")
    suspend = {"partition": "web1", "unit_address": 0x30000002, "event": 0x06}
    assert ask(directory, "post_event", **suspend) is None
    assert client.ask("ring 0") == "ff06" + "00" * 14
    assert ask(directory, "show")["adapters"][0]["client_queue"] == "disabled"
    assert client.ask("send 0x8000000000000000") == "2"  # H_Closed
    with pytest.raises(UsageError, match="adapter 0x30000002 of web1: its CRQ is disabled"):
        ask(directory, "post_event", **suspend)


def test_a_connection_is_one_partition(directory: Path) -> None:
    with Conversation(directory) as conversation:
        conversation.ask("attach", partition="web1", protocol=PROTOCOL)
        with pytest.raises(UsageError, match="this connection is partition web1 already"):
            conversation.ask("attach", partition="db1", protocol=PROTOCOL)
        conversation.ask("detach")
        for descriptor in conversation.descriptors:
            os.close(descriptor)


def test_calls_are_traced_by_name_while_tracing_is_on(directory: Path) -> None:
    with attach(directory, "web1") as partition:
        node = partition.adapters()[0]
        port = partition.open(node.unit_address)
        port.map(0, 0, 4096, 3)
        ask(directory, "trace", on=True)
        port.call(0xFC, node.unit_address, 0, 4096)
        ask(directory, "trace", on=False)
        port.call(0x100, node.unit_address)
    entries = ask(directory, "read_trace", after=0)
    shown = [(entry["partition"], entry["call"], entry["code"]) for entry in entries]
    assert shown == [("web1", "H_REG_CRQ", "H_CLOSED")]
    assert entries[0]["inputs"] == {"ua": node.unit_address, "ioba": 0, "length": 4096}
    assert entries[0]["unit_address"] == node.unit_address
    counters = ask(directory, "counters")["web1"]
    assert (counters["H_REG_CRQ"], counters["H_FREE_CRQ"]) == (1, 1)
    assert ask(directory, "reset_counters") is None
    assert ask(directory, "counters")["web1"].get("H_REG_CRQ", 0) == 0


def test_a_second_hypervisor_of_the_same_machine_is_refused(directory: Path, runtime: Path) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "virtio_crq.cli", "hypervisor", str(runtime / "m.toml")], capture_output=True, text=True
    )
    assert (second.returncode, second.stderr) == (2, "virtio-crq: machine dm is up already\n")


def test_a_killed_hypervisor_leaves_nothing_in_the_way(
    daemon: subprocess.Popen[bytes], directory: Path, runtime: Path
) -> None:
    partition = attach(directory, "web1")
    daemon.kill()
    daemon.wait()
    assert machines_up() == []
    partition.close()  # nobody to tell; no error
    with pytest.raises(UsageError, match="the hypervisor of machine dm does not run"):
        attach(directory, "web1")
    again = subprocess.Popen([sys.executable, "-m", "virtio_crq.cli", "hypervisor", str(runtime / "m.toml")])
    try:
        wait_until(lambda: machines_up() == ["dm"])
        attach(directory, "web1").close()
    finally:
        again.terminate()
        assert again.wait(DEADLINE) == 0


def test_shutdown_ends_the_daemon_and_its_socket(daemon: subprocess.Popen[bytes], directory: Path) -> None:
    ask(directory, "shutdown")
    assert daemon.wait(DEADLINE) == 0
    assert not (directory / ATTACH_SOCKET).exists()


def test_the_state_directory_is_its_owners_alone(directory: Path, runtime: Path) -> None:
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / ATTACH_SOCKET).stat().st_mode & 0o777 == 0o600
    (runtime / "virtio-crq" / "open").mkdir(mode=0o755)
    with pytest.raises(UsageError, match="must be a directory of yours with mode 0700"):
        make_state_directory("open")


def test_a_runtime_directory_too_long_for_sockets_is_told(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = runtime / ("x" * 80)
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    with pytest.raises(UsageError, match="too long for sockets"):
        make_state_directory("dm")
