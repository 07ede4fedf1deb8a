# SPDX-License-Identifier: Apache-2.0
"""Checks of a console: both ways, both ways at once, its size, and a named port."""

import base64
import os

from virtio_crq.errors import VirtioCrqError
from virtio_crq.guests.suite.check import CheckFailed, check
from virtio_crq.guests.suite.scene import GUEST, Scene, Wire

CONSOLE, CHANNELS, PORT = "tty", "channels", "wire"
SIZES = ((97, 31), (132, 43))  # columns and rows that no console has by itself
LINES = 800
PIECE = 12 << 10
FIRST_OTHER = 2  # hvc0 and hvc1 are the platform's


@check("console", "a console both ways, resized under way, and a named port")
def console(scene: Scene) -> str:
    with scene.house.attached(f"{GUEST}/{CONSOLE}") as wire:
        wire.resize(*SIZES[0])
        held = held_terminals(scene)
        try:
            terminal = sized(scene, held, SIZES[0])
            wire.resize(*SIZES[1])
            sized(scene, [terminal], SIZES[1])
            _both_ways(scene, wire, terminal)
        finally:
            scene.run("killall sleep; true")
    with scene.house.attached(f"{GUEST}/{CHANNELS}", PORT) as wire:
        device = _named_port(scene, wire)
    return f"{terminal}, {LINES} lines while being typed to, {len(SIZES)} sizes; {PIECE} bytes over {device} and back"


def held_terminals(scene: Scene) -> list[str]:
    """The terminals that are no platform's, kept open: a terminal that nobody has open has no size."""
    each = f"for t in /dev/hvc[{FIRST_OTHER}-9]; do (: <>$t) 2>/dev/null && "
    consoles = len(scene.lines("ls /sys/bus/virtio/drivers/virtio_console | grep virtio; true"))
    # A console with several ports has its terminal only when its server has said which port that is.
    scene.until(lambda: len(scene.lines(each + "echo $t; done; true")) >= consoles, f"{consoles} terminals of consoles")
    terminals = scene.run(each + "{ (sleep 300 <>$t) >/dev/null 2>&1 & echo $t; }; done; true").split()
    if not terminals:
        raise CheckFailed("the guest has no terminal but its platform's")
    return terminals


def sized(scene: Scene, terminals: list[str], size: tuple[int, int]) -> str:
    """The terminal that has this size, once it has."""
    columns, rows = size
    ask = "; ".join(f"echo {terminal} $(stty -F {terminal} size)" for terminal in terminals)
    found = ""

    def there() -> bool:
        nonlocal found
        lines = [line.split() for line in scene.lines(ask)]
        found = "".join(name for name, *told in lines if told == [str(rows), str(columns)])
        return bool(found)

    scene.until(there, f"terminal of {columns} columns and {rows} rows in {', '.join(terminals)}")
    return found


def _both_ways(scene: Scene, wire: Wire, terminal: str) -> None:
    """The guest prints while it is typed to; each side gets all of it."""
    typed = [f"typed {number}" for number in range(20)]
    scene.run(
        f"stty -F {terminal} -echo; "  # kept as long as somebody has it open
        f"(head -n {len(typed)} <{terminal} >/run/typed; echo >/run/typed.done) >/dev/null 2>&1 & "
        f"(seq 1 {LINES} >{terminal}) >/dev/null 2>&1 &"
    )
    for line in typed:
        wire.send(line.encode() + b"\r")
    printed = "\r\n".join(str(number) for number in range(1, LINES + 1)).encode()
    _hear(scene, wire, printed, f"{LINES} lines of the guest's on its console")
    scene.until(lambda: scene.agent.run("test -e /run/typed.done").status == 0, "end of what was typed to the guest")
    got = scene.run("cat /run/typed").splitlines()
    if got != typed:
        raise CheckFailed(f"typed were {len(typed)} lines, the guest read {got}")


def _named_port(scene: Scene, wire: Wire) -> str:
    """A line goes to the port's device in the guest and comes back."""
    names = 'for p in /sys/class/virtio-ports/*; do n=; read -r n <$p/name; echo "${p##*/} $n"; done 2>/dev/null'
    ports = dict(line.split() for line in scene.lines(names) if len(line.split()) == 2)
    device = next((f"/dev/{port}" for port, name in ports.items() if name == PORT), None)
    if device is None:
        raise CheckFailed(f"no port is called {PORT}; there are: {', '.join(ports.values()) or 'none'}")
    scene.run(f"(exec 3<>{device}; head -n 1 <&3 >/run/wired; cat /run/wired >&3) >/dev/null 2>&1 &")
    line = base64.b64encode(os.urandom(PIECE * 3 // 4)) + b"\n"
    wire.send(line)
    _hear(scene, wire, line, f"return of {PIECE} bytes over {device}")
    return device


def _hear(scene: Scene, wire: Wire, expected: bytes, what: str) -> None:
    try:
        scene.until(lambda: expected in wire.heard(), what, 60)
    except VirtioCrqError as error:
        heard = wire.heard()
        raise CheckFailed(f"{error}; heard were {len(heard)} bytes, at last {heard[-60:]!r}") from None
