# SPDX-License-Identifier: Apache-2.0
"""A console end to end over a machine in this process: both directions, sizes, ports, and how it comes back."""

import fcntl
import os
import select
import socket
import struct
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from virtio_crq.cli.clientpartition import connects
from virtio_crq.cli.serving import places
from virtio_crq.client.client import Client
from virtio_crq.client.connection import State
from virtio_crq.client.console import Console
from virtio_crq.hypervisor.machine import Machine
from virtio_crq.hypervisor.machinefile import parse_machine_file
from virtio_crq.message import conversations
from virtio_crq.vios.consoledevice import ConsoleDevice
from virtio_crq.vios.mapping import MapEntry
from virtio_crq.vios.ptyterminal import PtyTerminal
from virtio_crq.vios.server import Server, Settings
from virtio_crq.vios.watch import Watch
from virtio_crq.virtio.console import Control, Event

TEXT = """
[machine]
name = "console"
[partition.vios1]
memory = "16M"
[partition.web1]
memory = "16M"
[[adapter]]
client = "web1"
slot = 2
server = "vios1"
"""
CONTENT = parse_machine_file(TEXT, Path("machine.toml"))
PATIENCE = 10.0


class Scene:
    """A server whose client has one console; `with` starts both."""

    def __init__(self, directory: Path, entry: MapEntry) -> None:
        self.directory = directory
        self.entry = entry

    def __enter__(self) -> "Scene":
        self.machine = Machine(CONTENT.definition()).__enter__()
        self.partition = self.machine.attach("vios1")
        self.serve()
        self.guest = self.machine.attach("web1")
        self.client = Client(connects(self.guest))
        self.client.open()
        return self

    def __exit__(self, *exception: object) -> None:
        self.client.close()
        self.guest.close()
        self.server.close()
        self.partition.close()
        self.machine.__exit__(None, None, None)

    def serve(self) -> None:
        """A server, or its next life."""
        settings = Settings(self.directory, workers=1, polling=0, ports=self.directory / "open", links=self.directory)
        self.server = Server(places(CONTENT, "vios1", self.partition), [self.entry], settings)
        self.server.start()

    @property
    def console(self) -> Console:
        return self.client.console()

    @property
    def link(self) -> Path:
        return self.directory / "console:web1:tty"

    def until(self, holds: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < deadline, f"no {what}"
            self.client.turn(0.01)

    def target(self) -> dict[str, object]:
        found: dict[str, object] = self.server.commands()["lsmap"]({})[0]["targets"][0]
        return found


class Terminal:
    """Somebody who has the pty, or a socket, open. Reads go on while the client does."""

    def __init__(self, scene: Scene, descriptor: int) -> None:
        self.scene = scene
        self.descriptor = descriptor
        os.set_blocking(descriptor, False)

    def take(self) -> bytes:
        try:
            return os.read(self.descriptor, 65536)
        except BlockingIOError:
            return b""

    def expect(self, wanted: bytes) -> None:
        got = bytearray()

        def came() -> bool:
            got.extend(self.take())
            return len(got) >= len(wanted)

        self.scene.until(came, f"output; got {len(got)} of {len(wanted)} bytes")
        assert bytes(got) == wanted

    def say(self, data: bytes) -> None:
        while data:
            select.select([], [self.descriptor], [], PATIENCE)
            data = data[os.write(self.descriptor, data) :]

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def opened(scene: Scene) -> Terminal:
    terminal = Terminal(scene, os.open(scene.link, os.O_RDWR | os.O_NOCTTY))
    scene.until(lambda: scene.target()["ports"][0]["connected"], "notice of the terminal")  # type: ignore[index]
    return terminal


PTY = MapEntry("web1", "tty", "pty:", device="console")


@pytest.fixture
def pty(tmp_path: Path) -> Iterator[Scene]:
    with Scene(tmp_path, PTY) as scene:
        yield scene


def test_bytes_pass_both_ways(pty: Scene) -> None:
    terminal = opened(pty)
    pty.console.write(b"login: ")
    terminal.expect(b"login: ")
    terminal.say(b"root\r")
    assert pty.console.read() == b"root\r"
    everything = bytes(range(256)) * 4  # raw: nothing is translated
    pty.console.write(everything)
    terminal.expect(everything)
    os.close(terminal.descriptor)


@pytest.mark.clause("CRQ-D-106")
def test_input_waits_in_the_pty_until_the_driver_has_room(pty: Scene) -> None:
    terminal = opened(pty)
    sent = os.urandom(200_000)
    written = 0
    deadline = time.monotonic() + PATIENCE
    while written < len(sent) and time.monotonic() < deadline:  # nobody reads: it fills up and stays full
        try:
            written += os.write(terminal.descriptor, sent[written : written + 4096])
        except BlockingIOError:
            pty.client.turn(0.01)
            if len(pty.console.ports[0].inbox) >= 1 << 16 and not select.select([], [terminal.descriptor], [], 0.3)[1]:
                break
    assert written < len(sent), "a terminal that nobody reads takes everything"
    got = b""
    while len(got) < len(sent):
        got += pty.console.read()
        if written < len(sent) and select.select([], [terminal.descriptor], [], 0)[1]:
            written += os.write(terminal.descriptor, sent[written : written + 4096])
    assert got == sent


def test_a_slow_reader_gets_all_of_it(tmp_path: Path) -> None:
    """Of a port for programs, however long that takes; the driver's writes wait meanwhile."""
    with Scene(
        tmp_path, MapEntry("web1", "tty", "pty:", device="console", ports=("agent=socket:agent.sock",))
    ) as scene:
        scene.until(lambda: any(port.name == "agent" for port in scene.console.ports), "port")
        agent = scene.console.port("agent").number
        with socket.socket(socket.AF_UNIX) as reader:
            reader.connect(str(tmp_path / "agent.sock"))
            scene.until(lambda: scene.console.port("agent").host_open, "PORT_OPEN")
            data = os.urandom(1 << 20)
            transfer = scene.console.start_write(data, agent)
            for _ in range(150):
                scene.client.turn(0.01)
            assert not transfer.done, "more was taken than a socket holds"
            Terminal(scene, reader.fileno()).expect(data)
            scene.client.wait([transfer])


def test_a_reader_who_stopped_does_not_stop_the_console(pty: Scene) -> None:
    terminal = opened(pty)
    began = time.monotonic()
    pty.console.write(bytes(100_000))
    assert time.monotonic() - began < PATIENCE
    assert pty.target()["counters"]["discarded"] > 50_000  # type: ignore[index]
    while terminal.take():
        pass
    pty.client.turn(0.3)
    pty.console.write(b"and on")
    terminal.expect(b"and on")


def test_a_program_at_a_socket_that_stopped_reading_does_not_stop_the_console_either(tmp_path: Path) -> None:
    with Scene(tmp_path, MapEntry("web1", "tty", "socket:tty.sock", device="console")) as scene:
        with socket.socket(socket.AF_UNIX) as reader:
            reader.connect(str(tmp_path / "tty.sock"))
            scene.until(lambda: scene.target()["ports"][0]["connected"], "notice of the reader")  # type: ignore[index]
            transfer = scene.console.start_write(bytes(1 << 20))
            scene.until(lambda: transfer.done, "end of the write")
        assert scene.target()["counters"]["discarded"] > 500_000  # type: ignore[index]


def test_what_comes_while_nobody_is_there_is_discarded_and_counted(pty: Scene) -> None:
    pty.console.write(b"to nobody")
    assert pty.target()["counters"]["discarded"] == len(b"to nobody")  # type: ignore[index]
    terminal = opened(pty)
    pty.console.write(b"to somebody")
    terminal.expect(b"to somebody")
    os.close(terminal.descriptor)
    scene = pty
    scene.until(lambda: not scene.target()["ports"][0]["connected"], "notice of the hang-up")  # type: ignore[index]
    again = opened(pty)
    again.say(b"back")
    assert pty.console.read() == b"back"


@pytest.mark.clause("CRQ-D-54")
def test_a_new_size_of_the_pty_reaches_the_driver(pty: Scene) -> None:
    terminal = opened(pty)
    assert pty.console.size == (0, 0)
    terminal.resize(132, 43)
    pty.until(lambda: pty.console.size == (132, 43), "new size")
    terminal.resize(80, 24)
    pty.until(lambda: pty.console.size == (80, 24), "new size")


@pytest.mark.clause("CRQ-D-107")
def test_an_emergency_write_needs_no_driver(pty: Scene) -> None:
    terminal = opened(pty)
    console = pty.console
    pty.client.connections[0].run(console.emergency_write(ord("!")))
    terminal.expect(b"!")
    pty.client.connections[0].run(conversations.reset_device(console.number))
    pty.client.connections[0].run(console.emergency_write(ord("?")))
    terminal.expect(b"?")
    failure = pty.client.connections[0].failure
    assert failure is None
    pty.client.connections[0].run(conversations.write_config(console.number, 0, b"\x50\0"))
    pty.until(lambda: pty.client.connections[0].failure, "refusal")
    assert "config" in str(pty.client.connections[0].failure)


PORTS = MapEntry("web1", "tty", "pty:", device="console", ports=("agent=socket:agent.sock", "boot.log=log:boot.log"))


@pytest.fixture
def ports(tmp_path: Path) -> Iterator[Scene]:
    with Scene(tmp_path, PORTS) as scene:
        scene.until(lambda: all(port.name for port in scene.console.ports[1:]), "ports")
        yield scene


def connected(scene: Scene) -> Terminal:
    caller = socket.socket(socket.AF_UNIX)
    caller.connect(str(scene.directory / "agent.sock"))
    scene.until(lambda: scene.console.port("agent").host_open, "PORT_OPEN")
    return Terminal(scene, caller.detach())


def test_ports_are_announced_with_name_and_state(ports: Scene) -> None:
    console = ports.console
    assert [(port.name, port.console, port.host_open) for port in console.ports] == [
        ("", True, True),
        ("agent", False, False),
        ("boot.log", False, True),
    ]
    terminal = connected(ports)
    os.close(terminal.descriptor)
    ports.until(lambda: not console.port("agent").host_open, "PORT_OPEN with 0")


def test_each_port_has_its_own_bytes(ports: Scene) -> None:
    console = ports.console
    agent, log = console.port("agent").number, console.port("boot.log").number
    tty, program = opened(ports), connected(ports)
    console.open_port(agent)
    for number in range(50):
        console.write(b"tty %d\n" % number)
        console.write(b"agent %d\n" % number, agent)
        console.write(b"log %d\n" % number, log)
    tty.expect(b"".join(b"tty %d\n" % number for number in range(50)))
    program.expect(b"".join(b"agent %d\n" % number for number in range(50)))
    assert (ports.directory / "boot.log").read_bytes() == b"".join(b"log %d\n" % number for number in range(50))
    program.say(b"for the agent")
    tty.say(b"for the tty")
    assert console.read(agent) == b"for the agent"
    assert console.read() == b"for the tty"


@pytest.mark.clause("CRQ-D-106")
def test_a_closed_port_takes_no_input(ports: Scene) -> None:
    console = ports.console
    agent = console.port("agent").number
    program = connected(ports)
    program.say(b"early")
    for _ in range(50):
        ports.client.turn(0.01)
    assert not console.ports[agent].inbox
    console.open_port(agent)
    assert console.read(agent) == b"early"


def test_a_second_user_of_a_socket_is_sent_away_and_the_next_one_is_not(ports: Scene) -> None:
    first = connected(ports)
    with socket.socket(socket.AF_UNIX) as second:
        second.connect(str(ports.directory / "agent.sock"))
        Terminal(ports, second.fileno()).expect(b"this console has another user\r\n")
    os.close(first.descriptor)
    ports.until(lambda: not ports.console.port("agent").host_open, "end of the first")
    third = connected(ports)
    ports.console.write(b"hello", 1)
    third.expect(b"hello")


def test_a_size_is_a_control_message_where_there_are_ports(ports: Scene) -> None:
    opened(ports).resize(100, 30)
    ports.until(lambda: ports.console.size == (100, 30), "RESIZE")


def restart(scene: Scene) -> None:
    scene.server.close()
    scene.until(lambda: scene.client.connections[0].state is State.AWAY, "loss")
    scene.serve()
    scene.until(lambda: scene.client.connections[0].state is State.UP, "return")


@pytest.mark.clause("CRQ-D-105")
def test_ports_stay_open_through_the_servers_return(ports: Scene) -> None:
    console = ports.console
    agent = console.port("agent").number
    console.open_port(agent)
    before = connected(ports)
    before.say(b"a")
    assert console.read(agent) == b"a"
    restart(ports)
    assert os.read(before.descriptor, 1) == b"", "whoever was connected sees the end"
    ports.until(lambda: not console.port("agent").host_open, "PORT_OPEN after the return")
    after = connected(ports)
    after.say(b"b")
    assert console.read(agent) == b"b"
    tty = opened(ports)
    tty.say(b"c")
    assert console.read() == b"c"
    assert console.broken is None


@pytest.mark.clause("CRQ-D-104", "CRQ-F-44")
def test_output_is_not_put_out_twice_and_what_no_server_saw_is_put_out(ports: Scene) -> None:
    console = ports.console
    agent = console.port("agent").number
    program = connected(ports)
    stuck = console.start_write(b"x" * (1 << 20), agent)  # more than a socket holds: its rest is in flight
    for _ in range(30):
        ports.client.turn(0.01)
    assert not stuck.done
    ports.server.close()
    ports.until(lambda: ports.client.connections[0].state is State.AWAY, "loss")
    seen = 0
    while data := os.read(program.descriptor, 1 << 16):
        seen += len(data)
    ports.serve()
    log = console.start_write(b"while away\n", console.port("boot.log").number)
    ports.client.wait([stuck, log])
    assert (ports.directory / "boot.log").read_bytes() == b"while away\n"
    counters = ports.target()["counters"]
    assert counters["not_repeated"] > 0  # type: ignore[index]
    assert seen + counters["not_repeated"] + counters["discarded"] >= 1 << 20  # type: ignore[index]


def test_a_look_at_a_pty_that_was_just_given_back_does_not_end_the_watch(tmp_path: Path) -> None:
    watch = Watch()
    terminal = PtyTerminal(None, watch, console=True)
    terminal.close()
    terminal.look()  # the watch's thread may have been about to
    watch.close()


def test_the_ptys_name_stays(pty: Scene) -> None:
    first = os.readlink(pty.link)
    terminal = opened(pty)
    restart(pty)
    os.close(terminal.descriptor)
    assert pty.link.exists()
    opened(pty).say(b"again")
    assert pty.console.read() == b"again"
    assert first.startswith("/dev/pts/")
    pty.server.close()
    assert not pty.link.is_symlink()


@pytest.mark.clause("CRQ-F-45")
@pytest.mark.parametrize("said", [b"short", Control(9, Event.PORT_ADD).encode(), Control(0, Event.PORT_READY).encode()])
def test_a_control_message_that_cannot_be_stops_the_console(ports: Scene, said: bytes) -> None:
    device = ports.server.adapters[0].targets[0].device
    assert isinstance(device, ConsoleDevice)
    device._mail.held += said  # as if this server said it
    device.store.knock()
    ports.until(lambda: ports.console.broken, "end of the console")
    assert "console-control" in str(ports.console.broken)
