# SPDX-License-Identifier: Apache-2.0
"""Consoles of a real guest over its transport: output through the server's deaths, named ports, sizes."""

import fcntl
import os
import select
import socket
import struct
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from guestlab import Running
from modulehouse import GUEST, ONE_ADAPTER, ModuleHouse, house_of

pytestmark = pytest.mark.guest

MACHINE = f"""{ONE_ADAPTER}
[[map]]
client = "{GUEST}"
target = "tty"
device = "console"
backing = "pty:"
[[map]]
client = "{GUEST}"
target = "many"
device = "console"
backing = "log:many.log"
ports = ["agent=socket:agent.sock"]
"""
# Of one port, where the driver's probe makes the terminal, and of two, where that comes after it.
TOGETHER = 6
MANY = ONE_ADAPTER + "".join(
    f"""[[map]]
client = "{GUEST}"
target = "tty{number}"
device = "console"
backing = "log:tty{number}.log"
ports = [{f'"port=log:port{number}.log"' if number % 2 else ""}]
"""
    for number in range(TOGETHER)
)
ROUNDS = 8
PATIENCE = 20.0
# Where each virtio device hangs, and what its driver made of it. Dates are those of a look, not of a device.
PRESENT = "cd /sys/bus/virtio/devices; for d in *; do echo $d $(readlink $d); done; ls /dev/vport* /dev/hvc*"
DRIVER = "/sys/bus/vio/drivers/virtio_crq"
ADAPTER = f"{DRIVER}/30000002"


def until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, what
        os.sched_yield()


class Screen:
    """A terminal on the console's pty, whose stable name leads to another one after each start of the server."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)

    def read(self) -> bytes:
        ready, _, _ = select.select([self.descriptor], [], [], 0.1)
        try:
            return os.read(self.descriptor, 65536) if ready else b""
        except OSError:
            return b""

    def shows(self, text: bytes) -> None:
        seen = bytearray()

        def there() -> bool:
            seen.extend(self.read())
            return text in seen

        until(there, f"{text!r} in {bytes(seen[-200:])!r}")

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def close(self) -> None:
        os.close(self.descriptor)


def there(running: Running, command: str) -> bool:
    return running.agent.run(command).status == 0


def terminals(running: Running) -> list[str]:
    """The numbers under which virtio_console has registered the consoles that have a terminal by now."""
    said = running.says("cat /sys/kernel/debug/virtio-ports/vport* 2>/dev/null; true")
    ports = [dict(line.split(": ", 1) for line in port.splitlines() if ": " in line) for port in said.split("name:")]
    return [port["console_vtermno"] for port in ports if port.get("is_console") == "yes"]


def session(running: Running) -> int:
    return int(running.says(f"cat {ADAPTER}/session"))


def restart(house: ModuleHouse, running: Running) -> Screen:
    house.kill()
    until(lambda: session(running) == 0, "the guest hears of the death")
    house.start()
    until(lambda: session(running) != 0, "a new session")
    return Screen(house.directory / f"console:{GUEST}:tty")


@pytest.mark.parametrize(("kernel", "vcpus"), [("6.1", 1), ("6.1", 2), ("7.2", 1)])
def test_consoles_live_through_the_deaths_of_their_server(tmp_path: Path, kernel: str, vcpus: int) -> None:
    with house_of(tmp_path, MACHINE) as house, house.guest(kernel, vcpus) as running:
        until(lambda: there(running, "ls /dev/vport*p1 && true </dev/hvc2 && true </dev/hvc3"), "both consoles")
        screen = Screen(house.directory / f"console:{GUEST}:tty")
        tty = find_terminal(running, screen)
        before = running.says(PRESENT)
        check_typing(running, screen, tty)
        check_size(running, screen, tty)
        check_port(house, running)
        running.says(
            f"(i=0; while :; do i=$((i+1)); echo line-$i-{'x' * 60}; done) >{tty} 2>/run/err & echo $! >/run/pid"
        )
        for _ in range(3):
            screen.shows(b"line-")
            screen.close()
            screen = restart(house, running)
        for _ in range(4):  # while the new server still adds its ports, and the drivers answer
            screen.close()
            screen = restart(house, running)
        screen.shows(b"line-")
        assert running.says(PRESENT) == before, running.says(f"cat {ADAPTER}/rules; dmesg | tail")
        # For good: who writes goes on, what he writes is lost, and nobody waits with interrupts off.
        screen.close()
        house.kill()
        until(lambda: session(running) == 0, "the guest hears of the death")
        begun = time.monotonic()
        for _ in range(10):
            running.says("true")
        assert time.monotonic() - begun < PATIENCE / 2
        running.says("kill $(cat /run/pid); test ! -s /run/err")
        house.start()
        until(lambda: session(running) != 0, "a new session")
        screen = Screen(house.directory / f"console:{GUEST}:tty")
        check_typing(running, screen, tty)
        check_size(running, screen, tty)
        check_port(house, running)
        screen.close()


def find_terminal(running: Running, screen: Screen) -> str:
    """Which of the consoles is the one with the pty."""
    for name in ("/dev/hvc2", "/dev/hvc3"):
        # What comes while nobody has a console open its driver drops, and its settings are those of who opens it first.
        running.says(
            f"sleep 1000 <>{name} >/dev/null 2>&1 & usleep 200000; stty raw -echo <{name}; echo here-{name} >{name}"
        )
    found = bytearray()

    def named() -> bool:
        found.extend(screen.read())
        return b"\n" in found

    until(named, "a word on the pty")
    return found.split()[0].decode().removeprefix("here-")


def check_typing(running: Running, screen: Screen, tty: str) -> None:
    running.says(f"(head -n 1 <{tty} >/run/typed; mv /run/typed /run/heard) >/dev/null 2>&1 &")
    os.write(screen.descriptor, b"typed by hand\n")
    until(lambda: there(running, "test -s /run/heard"), "what was typed")
    assert running.says("cat /run/heard; rm /run/heard") == "typed by hand"
    running.says(f"echo answered >{tty}")
    screen.shows(b"answered")


def check_size(running: Running, screen: Screen, tty: str) -> None:
    for columns, rows in ((132, 43), (80, 24)):
        screen.resize(columns, rows)
        until(lambda: running.says(f"stty size <{tty}") == f"{rows} {columns}", f"size {columns}x{rows}")  # noqa: B023


def check_port(house: ModuleHouse, running: Running) -> None:
    """Both ways through the named port."""
    running.says("(head -n 1 <$(echo /dev/vport*p1) >/run/port; mv /run/port /run/ported) >/dev/null 2>&1 &")
    with socket.socket(socket.AF_UNIX) as far:
        far.settimeout(PATIENCE)
        far.connect(str(house.work / "agent.sock"))
        far.sendall(b"from the host\n")
        until(lambda: there(running, "test -s /run/ported"), "what the host said")
        assert running.says("cat /run/ported; rm /run/ported") == "from the host"
        running.says("echo from the guest >$(echo /dev/vport*p1)")
        assert far.makefile("rb").readline() == b"from the guest\n"


def test_consoles_that_come_together_have_a_terminal_each(tmp_path: Path) -> None:
    """Linux 6.1 numbers two consoles alike that it brings up at a time, and one of them has no terminal then."""
    with house_of(tmp_path, MANY) as house, house.guest("6.1", 2) as running:
        running.says("mount -t debugfs none /sys/kernel/debug")
        for _ in range(ROUNDS):
            until(lambda: len(terminals(running)) == TOGETHER, "all consoles")
            found = terminals(running)
            assert len(set(found)) == TOGETHER, found
            running.says(f"cd {DRIVER}; echo 30000002 >unbind; echo 30000002 >bind")
