# SPDX-License-Identifier: Apache-2.0
"""Consoles and mappings by command, with every role a process: attach, resize, a killed server, run-time mappings."""

import contextlib
import fcntl
import os
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator

import pytest
from machinetext import machine_text, mapped
from runningmachine import COMMAND, RunningMachine

from virtio_crq.cli.clientpartition import client_partition
from virtio_crq.client.client import Client
from virtio_crq.vios.control import ask, socket_path

MACHINE = machine_text(
    mapped("web1/tty", "pty:", 'device = "console"', 'ports = ["agent=socket:agent.sock", "kept=log:kept.log"]'),
    memory="64M",
)
PATIENCE = 20.0
ESCAPE = b"\x1d"


def until(client: Client, holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"no {what}"
        client.turn(0.01)


def attached(machine: RunningMachine) -> bool:
    """Whether the server has noticed somebody at the pty."""
    adapters = ask(socket_path(machine.state, "vios1"), "lsmap")
    return bool(adapters[0]["targets"][0]["ports"][0]["connected"])


class Person:
    """Somebody at a terminal of a size, who types a command."""

    def __init__(self, machine: RunningMachine, client: Client, *arguments: str) -> None:
        self.client = client
        self.seen = b""
        self.terminal, other = os.openpty()
        self.resize(91, 27)
        self.process = subprocess.Popen(
            [*COMMAND, *arguments], env=machine.environment, stdin=other, stdout=other, stderr=other
        )
        os.close(other)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: bytes) -> None:
        os.write(self.terminal, text)

    def until(self, holds: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < deadline, f"no {what}; seen {self.seen!r}"
            self.client.turn(0.01)
            if select.select([self.terminal], [], [], 0)[0]:
                with contextlib.suppress(OSError):  # the command has ended
                    self.seen += os.read(self.terminal, 4096)

    def sees(self, text: bytes) -> None:
        self.until(lambda: text in self.seen, f"{text!r}")
        self.seen = self.seen.partition(text)[2]

    def leaves(self) -> None:
        self.type(ESCAPE)
        self.until(lambda: self.process.poll() is not None, "end")
        assert self.process.returncode == 0
        os.close(self.terminal)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMachine]:
    with RunningMachine(tmp_path_factory.mktemp("console"), MACHINE) as machine:
        yield machine


@pytest.fixture
def client(machine: RunningMachine) -> Iterator[Client]:
    with client_partition(machine.state, "web1") as client:
        yield client


@pytest.mark.timeout(120)
def test_a_person_attaches_types_resizes_and_outlives_a_killed_server(machine: RunningMachine, client: Client) -> None:
    console = client.console()
    person = Person(machine, client, "console", "attach", "web1/tty")
    person.sees(b"Ctrl-] detaches")
    person.until(lambda: console.size == (91, 27), "size of the terminal")
    person.until(lambda: attached(machine), "notice of the terminal")
    client.wait([console.start_write(b"login: ")])
    person.sees(b"login: ")
    person.type(b"root\r")
    assert console.read() == b"root\r"
    person.resize(120, 50)
    person.until(lambda: console.size == (120, 50), "new size")
    machine.kill("vios1")
    person.sees(b"the server has gone")
    machine.start("vios1")
    person.sees(b"the server is back")
    person.until(lambda: attached(machine), "notice of the terminal")
    client.wait([console.start_write(b"still here")])
    person.sees(b"still here")
    person.type(b"and I")
    assert console.read() == b"and I"
    person.leaves()


@pytest.mark.timeout(60)
def test_a_program_speaks_to_a_named_port_through_pipes(machine: RunningMachine, client: Client) -> None:
    console = client.console()
    until(client, lambda: any(port.name == "agent" for port in console.ports), "port")
    agent = console.port("agent").number
    console.open_port(agent)
    arguments = [*COMMAND, "console", "attach", "web1/tty", "--port", "agent"]
    with subprocess.Popen(
        arguments, env=machine.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as program:
        assert program.stdin
        assert program.stdout
        program.stdin.write(b"uptime\n")
        program.stdin.flush()
        assert console.read(agent) == b"uptime\n"
        client.wait([console.start_write(b"1 day\n", agent)])
        assert program.stdout.readline() == b"1 day\n"
        program.stdin.close()
        assert program.wait(PATIENCE) == 0


@pytest.mark.timeout(60)
def test_targets_are_mapped_grown_and_taken_away_by_command(machine: RunningMachine, client: Client) -> None:
    (machine.directory / "data.img").write_bytes(bytes(1 << 20))
    assert "web1/data is device 1" in machine.must("vios", "map", "web1", "file:data.img", "--as", "data")
    until(client, lambda: [disk for disk in client.disks() if disk.name == "data"], "disk")
    disk = client.disk("data")
    disk.write(0, b"d" * 4096)
    assert machine.must("vios", "resize", "web1/data", "2M") == "web1/data has 2097152 bytes\n"
    until(client, lambda: disk.capacity == 2 << 20, "new size")
    refused = machine.run("vios", "unmap", "web1/data")
    assert refused.returncode == 2
    assert "in use by its driver" in refused.stderr
    machine.kill("vios1")
    machine.start("vios1")
    assert disk.read(0, 4096) == b"d" * 4096
    machine.must("vios", "unmap", "web1/data", "--force")
    until(client, lambda: disk.broken, "end of the disk")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("console", "attach", "tty"), "'tty' is not of the form CLIENT/NAME"),
        (("console", "attach", "web1/none"), "web1 has no target 'none'; it has: tty"),
        (("console", "attach", "web1/tty", "--port", "x"), "web1/tty has no port 'x'; it has: agent, kept"),
        (("console", "attach", "web1/tty", "--port", "kept"), "is written to a log and cannot be attached to; read "),
        (("vios", "map", "web9", "ram:1M", "--as", "x"), "no VIOS of this machine has an adapter to 'web9'"),
        (("vios", "map", "web1", "ram:1M", "--as", "tty"), "the target name is mapped twice"),
        (("vios", "unmap", "web1/none"), "web1 has no target 'none'; it has: tty"),
        (("vios", "unmap", "web9/none"), "no VIOS of this machine has an adapter to 'web9'"),
        (("vios", "map", "web1", "ram:999999T", "--as", "x"), "bytes of memory for a disk"),
        (("vios", "map", "web1", "null:9999999T", "--as", "x"), "is more than a disk can have"),
        (("vios", "map", "web1", "ram:1M", "--as", "x", "--server", "v"), "no server 'v' in machine"),
        (("vios", "map", "web1", "pty:", "--as", "x", "--device", "console", "--port", "p"), "port 'p' is not NAME=B"),
        (("vios", "resize", "web1/tty", "1M"), "only a target with file:"),
    ],
)
def test_bad_input_is_one_line_and_status_2(machine: RunningMachine, arguments: tuple[str, ...], says: str) -> None:
    done = machine.run(*arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
