# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq disk`: copy, export, list, read. The command itself is the client partition while it runs."""

import asyncio
import json
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from virtio_crq.axes import PUSH
from virtio_crq.cli.axes import FetchOption, MapOption, RingOption, client_options
from virtio_crq.cli.clientpartition import client_partition
from virtio_crq.cli.selection import MachineOption, select
from virtio_crq.cli.tables import table
from virtio_crq.client.client import Client
from virtio_crq.client.copy import DiskEnd, LocalSource, LocalTarget, Source, Target, copy
from virtio_crq.client.disk import Disk
from virtio_crq.client.nbdserver import NbdServer
from virtio_crq.client.silence import Silence
from virtio_crq.errors import UsageError, VirtioCrqError
from virtio_crq.hypervisor.conversation import ask

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, add_completion=False)
DISK = re.compile(r"(?P<client>[^/.~][^/]*)/(?P<disk>[^/]+)")
READ_PIECE = 1 << 20

DiskArgument = Annotated[str, typer.Argument(metavar="CLIENT/NAME", help="A disk as its server maps it.")]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON.")]


@app.command("copy")
def copy_command(
    source: Annotated[str, typer.Argument(metavar="SRC", help="A local path, or CLIENT/NAME.")],
    target: Annotated[str, typer.Argument(metavar="DST", help="A local path, or CLIENT/NAME.")],
    machine: MachineOption = None,
    fetch: FetchOption = None,
    ring: RingOption = None,
    map_: MapOption = None,
) -> None:
    """Copy a disk: from or to a local file, or to another disk.

    The command is the client partition while it copies. A path that looks like a disk is written ./dir/file.

    Examples:
      virtio-crq disk copy root.img web1/root
      virtio-crq disk copy web1/root backup.img
      virtio-crq disk copy web1/root db1/data
    """
    if not is_disk(source) and not is_disk(target):
        raise UsageError(f"neither {source} nor {target} is a disk; a disk is written CLIENT/NAME")
    with ExitStack() as stack:
        clients = Clients(select(machine), stack, fetch=fetch, ring=ring, map=map_)
        origin: Source = clients.end(source) if is_disk(source) else stack.enter_context(LocalSource(Path(source)))
        goal: Target = clients.end(target) if is_disk(target) else stack.enter_context(LocalTarget(Path(target)))
        if isinstance(origin, DiskEnd) and isinstance(goal, DiskEnd) and origin.disk is goal.disk:
            raise UsageError(f"{source} and {target} are the same disk")
        with _progress(f"{origin.name} → {goal.name}", origin.size) as advance:
            asyncio.run(_attached(list(clients.opened.values()), copy(origin, goal, advance)))
    print(f"copied {origin.size} bytes from {origin.name} to {goal.name}")


@app.command()
def export(
    disk: Annotated[str, typer.Argument(metavar="CLIENT[/NAME]", help="One disk, or all of a client's.")],
    nbd: Annotated[Path, typer.Option("--nbd", metavar="SOCKET", help="Serve NBD on this Unix socket.")],
    machine: MachineOption = None,
    fetch: FetchOption = None,
    ring: RingOption = None,
    map_: MapOption = None,
) -> None:
    """Serve disks to ordinary tools until Ctrl-C.

    The command is the client partition while it serves. The second line is for another terminal.

    Examples:
      virtio-crq disk export --nbd /tmp/web1.sock web1/root
      qemu-img info 'nbd+unix:///root?socket=/tmp/web1.sock'
    """
    name, _slash, wanted = disk.partition("/")
    state = select(machine)
    with client_partition(state, name, client_options(state, name, fetch=fetch, ring=ring, map=map_)) as client:
        disks = [client.disk(wanted)] if wanted else client.disks()
        if not disks:
            raise UsageError(f"client {name} has no disks")
        client.on_idle = listening(client, name)
        asyncio.run(_export(client, disks, nbd, name))


async def _export(client: Client, disks: list[Disk], path: Path, name: str) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with client.attached(), NbdServer({disk.name: disk for disk in disks}, path):
        for disk in disks:
            state = ", read-only" if disk.readonly else ""
            print(f"{name}/{disk.name}: {disk.capacity} bytes{state} at nbd+unix:///{disk.name}?socket={path}")
        print("Ctrl-C ends the export", flush=True)
        await stop.wait()


@app.command("list")
def list_command(
    client: Annotated[str | None, typer.Argument(metavar="CLIENT", help="One client; all without it.")] = None,
    machine: MachineOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the disks of clients that no other process is.

    The command is each client partition in turn, as it asks the devices themselves.

    Examples:
      virtio-crq disk list
      virtio-crq disk list web1 --json
    """
    state = select(machine)
    rows: list[dict[str, Any]] = []
    for name in [client] if client else _clients(state):
        try:
            with client_partition(state, name) as partition:
                rows += [described(name, disk) for disk in partition.disks()]
        except UsageError as error:
            if client:
                raise
            print(f"virtio-crq: {error}", file=sys.stderr)
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    heads = ("disk", "bytes", "block", "state", "fetch", "map", "identity")
    columns = ("disk", "bytes", "block_size", "state", "fetch", "map", "identity")
    print(table(heads, [tuple(row[column] for column in columns) for row in rows]))


@app.command()
def read(
    disk: DiskArgument,
    offset: Annotated[int, typer.Option(metavar="BYTE", help="First byte.", min=0)] = 0,
    length: Annotated[int | None, typer.Option(metavar="BYTES", help="How many; to the end without it.", min=0)] = None,
    machine: MachineOption = None,
) -> None:
    """Write a stretch of a disk to standard output.

    Example:
      virtio-crq disk read web1/root --length 4096 | xxd | head
    """
    with ExitStack() as stack:
        end = Clients(select(machine), stack).end(disk)
        size = end.size - offset if length is None else length
        if offset + size > end.size or size < 0:
            raise UsageError(f"disk {disk} ends at {end.size}")
        for at in range(offset, offset + size, READ_PIECE):
            with told_as_failure():
                data = read_any(end.disk, at, min(READ_PIECE, offset + size - at))
            sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


class Clients:
    """The client partitions that one command is, each attached once."""

    def __init__(self, state: Path, stack: ExitStack, **axes: str | None) -> None:
        self.state = state
        self.axes = axes
        self.opened: dict[str, Client] = {}
        self._stack = stack

    def end(self, text: str) -> DiskEnd:
        """The disk that CLIENT/NAME means."""
        found = DISK.fullmatch(text)
        if found is None:
            raise UsageError(f"{text!r} is not of the form CLIENT/NAME")
        name = found["client"]
        if name not in self.opened:
            options = client_options(self.state, name, **self.axes)
            client = self.opened[name] = self._stack.enter_context(client_partition(self.state, name, options))
            client.on_idle = listening(client, name)
        return DiskEnd(self.opened[name].disk(found["disk"]), text)


def listening(client: Client, name: str) -> Callable[[], None]:
    """What is to be done now and then, so that a server's silence is told of."""
    return Silence(client.disks, partial(say_silent, name), time.monotonic).look


def say_silent(client: str, disk: Disk, seconds: float) -> None:
    """Nothing else changes: a disk is there for ever, as a file system on it expects."""
    told = f"{client}/{disk.name}: the server has not answered for {seconds:.0f} s; still waiting"
    print(told, file=sys.stderr, flush=True)


def is_disk(text: str) -> bool:
    """CLIENT/NAME has one slash and does not begin like a path."""
    return DISK.fullmatch(text) is not None


def read_any(disk: Disk, offset: int, length: int) -> bytes:
    """Any bytes, whatever the disk's block size."""
    begin = offset // disk.block_size * disk.block_size
    end = -(-(offset + length) // disk.block_size) * disk.block_size
    return disk.read(begin, end - begin)[offset - begin : offset - begin + length]


def described(client: str, disk: Disk) -> dict[str, Any]:
    return {
        "disk": f"{client}/{disk.name}",
        "bytes": disk.capacity,
        "block_size": disk.block_size,
        "read_only": disk.readonly,
        "state": "broken" if disk.broken else "read-only" if disk.readonly else "read-write",
        "fetch": PUSH if disk.pushed else f"by the server, {disk.ring_layout} ring",
        "map": disk.site.options.map,
        "identity": disk.identity.hex(),
    }


def _clients(state: Path) -> list[str]:
    return sorted({row["client"] for row in ask(state, "show")["adapters"]})


@contextmanager
def told_as_failure() -> Iterator[None]:
    """A request that the device failed is one line, and status 1."""
    try:
        yield
    except OSError as error:
        raise VirtioCrqError(error.strerror or str(error)) from error


async def _attached(clients: list[Client], work: Any) -> None:
    async with AsyncExitStack() as stack:
        for client in clients:
            await stack.enter_async_context(client.attached())
        with told_as_failure():
            await work


@contextmanager
def _progress(text: str, size: int) -> Iterator[Any]:
    """A bar on standard error when that is a terminal; the function that moves it."""
    columns = (TextColumn(text), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=size)
        yield lambda done: bar.advance(task, done)
