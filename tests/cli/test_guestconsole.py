# SPDX-License-Identifier: Apache-2.0
"""A guest's console over a socket pair, in a terminal of its own and without one."""

import os
import pty
import socket
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from virtio_crq.cli.guestconsole import LEAVE, SETTLED, GuestConsole
from virtio_crq.guests.terminal import Terminal


class Scene:
    """A guest's end, the console's terminal, and what came out on the screen."""

    def __init__(self, screen: Path) -> None:
        self.path = screen
        here, self.guest = socket.socketpair()
        self.guest.settimeout(20)
        self.terminal = Terminal(here, "console")
        self.screen = os.open(screen, os.O_RDWR | os.O_CREAT)

    def run(self, keyboard: int, silence: float | None = None) -> "Running":
        return Running(GuestConsole(self.terminal, keyboard, self.screen, silence))

    def shown(self) -> bytes:
        return self.path.read_bytes()

    def close(self) -> None:
        self.guest.close()
        self.terminal.close()
        os.close(self.screen)


class Running:
    """A console that runs in a thread."""

    def __init__(self, console: GuestConsole) -> None:
        self.why = ""
        self.thread = threading.Thread(target=self._run, args=(console,), daemon=True)
        self.thread.start()

    def _run(self, console: GuestConsole) -> None:
        self.why = console.run()

    def ended(self) -> str:
        self.thread.join(20)
        assert not self.thread.is_alive()
        return self.why


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path / "screen")
    yield made
    made.close()


@pytest.fixture
def nothing() -> Iterator[int]:
    descriptor = os.open(os.devnull, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def received(guest: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        data += guest.recv(length - len(data))
    return data


def test_all_that_a_guest_says_is_shown_though_it_came_before_and_at_its_end(scene: Scene, nothing: int) -> None:
    scene.guest.sendall(b"before\r\n")
    scene.terminal.wait_for(b"before", 20)
    running = scene.run(nothing)
    scene.guest.sendall(b"x" * 300_000)
    scene.guest.sendall(b"reboot: Power down\r\n")
    scene.guest.shutdown(socket.SHUT_RDWR)
    assert running.ended() == "ended"
    assert scene.shown() == b"before\r\n" + b"x" * 300_000 + b"reboot: Power down\r\n"


def test_keys_go_to_the_guest_as_they_are_and_the_terminal_is_restored(scene: Scene) -> None:
    controller, keyboard = pty.openpty()
    before = termios.tcgetattr(keyboard)
    running = scene.run(keyboard)
    scene.guest.sendall(b"guest# ")
    scene.terminal.wait_for(b"# ", 20)
    while termios.tcgetattr(keyboard) == before:
        assert running.thread.is_alive()
    os.write(controller, b"\x03\x04\r")  # the guest's to understand
    assert received(scene.guest, 3) == b"\x03\x04\r"
    os.write(controller, LEAVE)
    assert running.ended() == "left"
    assert termios.tcgetattr(keyboard) == before
    os.close(controller)
    os.close(keyboard)


def test_a_terminal_is_restored_when_the_console_fails(scene: Scene) -> None:
    controller, keyboard = pty.openpty()
    before = termios.tcgetattr(keyboard)
    full = os.open("/dev/full", os.O_WRONLY)
    scene.guest.sendall(b"said")
    scene.terminal.wait_for(b"said", 20)
    with pytest.raises(OSError, match="No space left"):
        GuestConsole(scene.terminal, keyboard, full).run()
    assert termios.tcgetattr(keyboard) == before
    for descriptor in (controller, keyboard, full):
        os.close(descriptor)


def test_a_pipes_lines_are_typed_at_prompts_and_its_end_is_control_d(scene: Scene) -> None:
    read, write = os.pipe()
    os.write(write, b"uname -a\npoweroff")
    os.close(write)
    running = scene.run(read)
    scene.guest.sendall(b"[ 0.1] booting: wait\r\n\x1b[1mguest# \x1b[0m\x1b[6n")
    assert received(scene.guest, 9) == b"uname -a\n"
    scene.guest.sendall(b"uname -a\r\nLinux\r\nguest login: ")
    assert received(scene.guest, 9) == b"poweroff\n"
    scene.guest.sendall(b"poweroff\r\nguest# ")
    assert received(scene.guest, 1) == b"\x04"
    scene.guest.shutdown(socket.SHUT_RDWR)
    assert running.ended() == "ended"
    os.close(read)


@pytest.mark.parametrize(
    "shown",
    [
        b"guest# [   12.345678] virtio_crq 72000010: the partner is away\r\n",
        b"gue[   12.345678][  T31] hwrng: no data\r\n[   12.345679] again: why?\r\nst# ",
        b"[    0.100000] a kernel\r\n\x1b[1mguest# \x1b[0m[  112.345678] late: \r\n",
    ],
)
def test_a_kernels_message_does_not_hide_a_prompt(scene: Scene, shown: bytes) -> None:
    read, write = os.pipe()
    os.write(write, b"uptime\nid\n")
    running = scene.run(read)
    scene.guest.sendall(shown)
    assert received(scene.guest, 7) == b"uptime\n"
    # Nor is one that was answered a new prompt because the kernel spoke behind it.
    scene.guest.sendall(b"[   13.000000] random: ready?\r\n")
    scene.terminal.wait_for(b"ready", 20)
    scene.guest.settimeout(4 * SETTLED)
    with pytest.raises(TimeoutError):
        scene.guest.recv(1)
    scene.guest.settimeout(20)
    scene.guest.sendall(b"uptime\r\n up 1 min\r\nguest# ")
    assert received(scene.guest, 3) == b"id\n"
    scene.guest.shutdown(socket.SHUT_RDWR)
    assert running.ended() == "ended"
    for descriptor in (read, write):
        os.close(descriptor)


def test_another_prompt_is_asked_for_when_none_is_seen_and_once_only(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "typed").write_bytes(b"id\n")
    keyboard = os.open(tmp_path / "typed", os.O_RDONLY)
    times = iter(range(0, 1_000_000, 7))  # each look is seven seconds later
    console = GuestConsole(scene.terminal, keyboard, scene.screen, 300, clock=lambda: float(next(times)))
    scene.guest.sendall(b"guest# hidden by somebody\r\n")
    running = Running(console)
    assert received(scene.guest, 1) == b"\n"
    scene.guest.sendall(b"\r\n")  # an echo, and nobody who answers
    assert running.ended() == "silent"
    scene.guest.setblocking(False)
    with pytest.raises(BlockingIOError):
        scene.guest.recv(1)
    os.close(keyboard)


def test_lines_that_a_guest_left_when_it_rebooted_are_its_successors(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "typed").write_bytes(b"reboot\nuptime\n")
    keyboard = os.open(tmp_path / "typed", os.O_RDONLY)
    left = bytearray()
    successor = Scene(tmp_path / "second")
    for each, line in ((scene, b"reboot\n"), (successor, b"uptime\n")):
        console = GuestConsole(each.terminal, keyboard, each.screen, None, left)
        running = Running(console)
        each.guest.sendall(b"guest# ")
        assert received(each.guest, len(line)) == line
        each.guest.shutdown(socket.SHUT_RDWR)
        assert running.ended() == "ended"
    successor.close()
    os.close(keyboard)


def test_a_device_that_is_no_terminal_gives_no_input(scene: Scene, nothing: int) -> None:
    running = scene.run(nothing, silence=1.0)
    scene.guest.sendall(b"guest# ")
    assert running.ended() == "silent"
    scene.guest.setblocking(False)
    with pytest.raises(BlockingIOError):
        scene.guest.recv(1)


def test_a_guest_that_never_says_anything_is_given_up(scene: Scene, nothing: int) -> None:
    assert scene.run(nothing, silence=0.0).ended() == "silent"
    assert scene.shown() == b""
