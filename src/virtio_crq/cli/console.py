# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq console attach`: this terminal is the console's, until the escape key."""

import contextlib
import fcntl
import os
import select
import socket
import struct
import sys
import termios
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from virtio_crq.cli.selection import MachineOption
from virtio_crq.cli.selection import select as select_machine
from virtio_crq.cli.viosserver import serving_target, split
from virtio_crq.errors import UsageError
from virtio_crq.vios.control import ask

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, add_completion=False)
ESCAPE = 0x1D  # Ctrl-], which telnet and virsh have, too
PIECE = 4096
MOST_PENDING = 1 << 16  # bytes that a pipe may be ahead of the console; a person may always type the escape key
LOOK_MILLISECONDS = 250  # between looks at the size of the terminal, which interrupts no poll (PEP 475)
RETRY_SECONDS = 0.5  # between looks for a server that has gone


@app.callback()
def _group() -> None:
    """Consoles that a VIOS serves to its clients."""


@app.command()
def attach(
    target: Annotated[str, typer.Argument(metavar="CLIENT/NAME", help="A console as `vios lsmap` shows it.")],
    port: Annotated[str, typer.Option(metavar="NAME", help="A port by its name; the console itself without it.")] = "",
    machine: MachineOption = None,
) -> None:
    """Attach this terminal to a console; Ctrl-] detaches.

    The size of the terminal is the console's. When the server goes away it is waited for.

    Example:
      virtio-crq console attach web1/tty
    """
    place = Place(select_machine(machine), target, port)
    with _raw(sys.stdin.fileno()) as person:
        if person:
            print(f"attached to {target}; Ctrl-] detaches", end="\r\n", flush=True)
        Attachment(place, person).run()
    if person:
        print(f"detached from {target}")


class Place:
    """Where a console is to be found, asked anew each time: the next server's pty is another one."""

    def __init__(self, state: Path, target: str, port: str) -> None:
        self.state = state
        self.client, self.name = split(target)
        self.target = target
        self.port = port
        self.server = Path()
        self.kind = ""

    def open(self) -> int:
        self.server, view = serving_target(self.state, self.target)
        port = self._port(view)
        self.kind = port["kind"]
        if self.kind == "log":
            raise UsageError(f"{self.target} is written to a log and cannot be attached to; read {port['path']}")
        try:
            return _connect(port["path"]) if self.kind == "socket" else _open_pty(port["path"])
        except OSError as error:
            raise UsageError(f"{port['path']}: {error.strerror}") from None

    def _port(self, view: dict[str, Any]) -> dict[str, Any]:
        if view["device"] != "console":
            raise UsageError(f"{self.target} is no console, but {view['device']}")
        for port in view["ports"]:
            if port["name"] == self.port:
                return dict(port)
        names = ", ".join(port["name"] for port in view["ports"] if port["name"]) or "none"
        raise UsageError(f"{self.target} has no port {self.port!r}; it has: {names}")

    def resize(self, descriptor: int, columns: int, rows: int) -> None:
        if self.port:
            return  # only the console itself has a size
        if self.kind == "pty":
            fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        else:
            ask(self.server, "console-size", client=self.client, target=self.name, columns=columns, rows=rows)


class Attachment:
    """Bytes between this process's terminal, or pipes, and the console. `person`: they are a terminal."""

    def __init__(self, place: Place, person: bool) -> None:
        self._place = place
        self._person = person
        self._input = sys.stdin.fileno()
        self._output = sys.stdout.fileno()
        self._pending = bytearray()
        self._ended = False  # nothing more comes from this side
        self._size: tuple[int, ...] = ()  # what the console was told
        self._console = place.open()

    def run(self) -> None:
        """Until the escape key, or the end of a pipe whose bytes were all taken."""
        try:
            while self._turn():
                pass
        finally:
            os.close(self._console)

    def _turn(self) -> bool:
        if self._person:
            self._compare_sizes()
        poll = select.poll()
        poll.register(self._console, select.POLLIN | (select.POLLOUT if self._pending else 0))
        if not self._ended and (self._person or len(self._pending) < MOST_PENDING):
            poll.register(self._input, select.POLLIN)
        ready = dict(poll.poll(LOOK_MILLISECONDS))
        if self._input in ready and not self._type():
            return False
        if self._console in ready and not self._talk(ready[self._console]):
            return self._return()
        return not (self._ended and not self._pending)

    def _compare_sizes(self) -> None:
        size = tuple(os.get_terminal_size(self._input))
        if size != self._size:
            self._size = size
            with contextlib.suppress(OSError, UsageError):  # it may just have gone; the next one is told as well
                self._place.resize(self._console, *size)

    def _type(self) -> bool:
        """Take what was typed; False on the escape key."""
        data = os.read(self._input, PIECE)
        if not data:
            self._ended = True
        place = data.find(ESCAPE) if self._person else -1
        self._pending += data if place < 0 else data[:place]
        return place < 0

    def _talk(self, events: int) -> bool:
        """Move what can be moved; False when the far end has gone."""
        try:
            if events & select.POLLOUT and self._pending:
                del self._pending[: os.write(self._console, self._pending)]
            if events & (select.POLLIN | select.POLLHUP | select.POLLERR):
                data = os.read(self._console, PIECE)
                if not data:
                    return False
                _write_all(self._output, data)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True

    def _return(self) -> bool:
        """Wait for the next server; False on the escape key."""
        self._say("the server has gone; waiting for it")
        os.close(self._console)
        self._console = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        while True:
            try:
                opened = self._place.open()
            except UsageError:
                if not self._person:
                    raise
                if select.select([self._input], [], [], RETRY_SECONDS)[0] and not self._type():
                    return False
                continue
            os.close(self._console)
            self._console, self._size = opened, ()
            self._say("the server is back")
            return True

    def _say(self, text: str) -> None:
        if self._person:
            _write_all(self._output, f"\r\n[{text}]\r\n".encode())


def _open_pty(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)


def _connect(path: str) -> int:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(path)
        connection.setblocking(False)
        return connection.detach()


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


@contextlib.contextmanager
def _raw(descriptor: int) -> Iterator[bool]:
    """The terminal raw meanwhile; False when it is none."""
    if not os.isatty(descriptor):
        yield False
        return
    before = termios.tcgetattr(descriptor)
    tty.setraw(descriptor)
    try:
        yield True
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
