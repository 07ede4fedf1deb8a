# SPDX-License-Identifier: Apache-2.0
"""What stands behind the ports of a console: `pty:`, `socket:PATH` or `log:PATH` for each."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from virtio_crq.errors import UsageError
from virtio_crq.vios.consoleterminal import ConsoleTerminal
from virtio_crq.vios.logterminal import LogTerminal
from virtio_crq.vios.ptyterminal import PtyTerminal
from virtio_crq.vios.socketterminal import SocketTerminal
from virtio_crq.vios.watch import Watch

PTY, SOCKET, LOG = "pty", "socket", "log"
MOST_PORTS = 16
LONGEST_NAME = 32  # bytes of a port's name


@dataclass(frozen=True)
class PortSpec:
    """One port; port 0 has no name."""

    name: str
    kind: str
    path: str = ""

    def __str__(self) -> str:
        return f"{self.name}={self.kind}:{self.path}" if self.name else f"{self.kind}:{self.path}"


def parse_ports(backing: str, ports: Sequence[str], base: Path) -> tuple[PortSpec, ...]:
    """Port 0 from `backing`, the others from NAME=BACKING; relative paths count from `base`."""
    specs = [_parse("", backing, base)]
    for text in ports:
        name, equals, rest = text.partition("=")
        if not equals or not name or not rest:
            raise UsageError(f"port {text!r} is not NAME=BACKING")
        if len(name.encode()) > LONGEST_NAME or "/" in name or not name.isprintable():
            raise UsageError(f"port name {name!r}: at most {LONGEST_NAME} bytes, and no '/'")
        if any(spec.name == name for spec in specs):
            raise UsageError(f"two ports are called {name!r}")
        specs.append(_parse(name, rest, base))
    if len(specs) > MOST_PORTS:
        raise UsageError(f"a console has at most {MOST_PORTS} ports")
    return tuple(specs)


def _parse(name: str, text: str, base: Path) -> PortSpec:
    kind, colon, path = text.partition(":")
    if kind not in (PTY, SOCKET, LOG) or not colon:
        raise UsageError(f"backing {text!r} is not pty:, socket:PATH or log:PATH")
    if kind == PTY:
        if path:
            raise UsageError(f"backing {text!r}: a pty has its name from the machine; write pty:")
        return PortSpec(name, kind)
    if not path or "\0" in path:
        raise UsageError(f"backing {text!r} names no {'socket' if kind == SOCKET else 'file'}")
    return PortSpec(name, kind, str(base / path))


def open_terminals(
    specs: Sequence[PortSpec], links: Path | None, name: str, watch: Watch
) -> tuple[ConsoleTerminal, ...]:
    """One for each port, or none at all. `name` is CLIENT:TARGET: a pty's stable name in `links` is made of it."""
    with ExitStack() as stack:
        terminals = []
        for number, spec in enumerate(specs):
            terminal = _open(spec, links, name, watch, console=number == 0)
            stack.callback(terminal.close)
            terminals.append(terminal)
        stack.pop_all()
        return tuple(terminals)


def _open(spec: PortSpec, links: Path | None, name: str, watch: Watch, *, console: bool) -> ConsoleTerminal:
    if spec.kind == SOCKET:
        return SocketTerminal(Path(spec.path), watch, console=console)
    if spec.kind == LOG:
        return LogTerminal(Path(spec.path), watch, console=console)
    link = None if links is None else links / ":".join(["console", name, *([spec.name] if spec.name else [])])
    return PtyTerminal(link, watch, console=console)
