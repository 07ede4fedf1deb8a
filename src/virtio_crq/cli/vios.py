# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq vios`: the I/O server's process, its mapping view and its figures."""

import asyncio
import contextlib
import errno
import json
import logging
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from virtio_crq import axes
from virtio_crq.cli.selection import MachineOption, select
from virtio_crq.cli.viosexplain import explain
from virtio_crq.cli.viosmap import map_target, resize, unmap
from virtio_crq.cli.viosserver import sockets
from virtio_crq.errors import PartnerLost, UsageError
from virtio_crq.hypervisor.conversation import ask as ask_hypervisor
from virtio_crq.hypervisor.machinefile import read_machine_file
from virtio_crq.vios.control import ask, socket_path
from virtio_crq.vios.lsmap import render
from virtio_crq.vios.rates import rates, render_rates, wires

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, add_completion=False)
EXHAUSTED = (errno.EMFILE, errno.ENFILE)
SPARE = 10  # descriptors: the event loop, its socket, a worker, a few callers at a time
app.command("map")(map_target)
app.command()(unmap)
app.command("resize")(resize)
app.command()(explain)
log = logging.getLogger("virtio_crq.vios")
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON.")]


@app.command(hidden=True)
def run(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The server partition.")],
    file: Annotated[Path, typer.Option("--file", help="The machine file.")],
    machine: MachineOption = None,
    workers: Annotated[int, typer.Option(help="Worker threads; 0: one per core.")] = 0,
    pin: Annotated[int, typer.Option(help="The first worker's processor, the next one's is the next; -1: any.")] = -1,
    polling: Annotated[
        int, typer.Option(help="Microseconds to look for work before sleeping, at most; -1: never sleep.")
    ] = 32,
    fetch: Annotated[str, typer.Option(help="How requests come: push, batched or naive.")] = axes.FETCH.server[0],
    ring: Annotated[str, typer.Option(help="packed: drivers may choose a packed ring, or split.")] = axes.RING.server[
        0
    ],
    carrier: Annotated[
        str, typer.Option(help="What carries pushed requests where the platform has both: window or sub-crq.")
    ] = axes.CARRIER.server[0],
    gathering: Annotated[
        int, typer.Option(min=0, help="Microseconds that a busy driver is told later, so that it is told of more.")
    ] = 0,
    data: Annotated[
        str | None, typer.Option(help="How the data of files moves: redirect, copy or planned.", show_default=False)
    ] = None,
) -> None:
    """Run the server partition NAME of a machine whose hypervisor is up, until a signal ends it."""
    from virtio_crq.cli.serving import open_server

    said = {"fetch": fetch, "ring": ring, "data": data, "carrier": carrier}
    for key, known in axes.SERVER.items():
        if said[key] is not None and said[key] not in known:
            raise UsageError(f"{key} {said[key]!r} is not one of {', '.join(known)}")
    asleep = None if polling < 0 else polling
    # Standard error is the server's log file.
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    content = read_machine_file(file)
    state = select(machine or content.name)
    try:
        moves = data or content.data_of(name)
        with open_server(state, content, name, workers, asleep, fetch, gathering, moves, ring, pin, carrier) as opened:
            server, lifeline = opened

            async def serve() -> None:
                stop = asyncio.Event()
                asyncio.get_running_loop().set_exception_handler(_Complaints())
                for number in (signal.SIGTERM, signal.SIGINT):
                    asyncio.get_running_loop().add_signal_handler(number, stop.set)
                orphaned = _watch(lifeline, stop)
                await server.serve(socket_path(state, name), stop, lambda: print("serving", flush=True))
                if orphaned:
                    raise PartnerLost("the machine's hypervisor has ended")

            _check_spare()
            with asyncio.Runner() as runner:  # its loop is there before the coroutine is
                runner.run(serve())
    except OSError as error:
        if error.errno not in EXHAUSTED:
            raise
        raise UsageError(_exhausted()) from None


class _Complaints:
    """What the event loop complains of: callers who find no descriptor left are one line, not one each time."""

    def __init__(self) -> None:
        self._said = False

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in EXHAUSTED:
            loop.default_exception_handler(context)
        elif not self._said:
            self._said = True
            log.warning("callers wait: %s", _exhausted())


def _check_spare() -> None:
    """Refuse to begin with too few descriptors, rather than end in the middle."""
    with contextlib.ExitStack() as stack:
        for _ in range(SPARE):
            stack.callback(os.close, os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))


def _exhausted() -> str:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return f"no file descriptor is left, of {limit} that this process may open; raise the limit (ulimit -n)"


def _watch(lifeline: int, stop: asyncio.Event) -> list[bool]:
    """Stop when the hypervisor ends: nobody would clean up after this partition. The list is then no longer empty."""
    orphaned: list[bool] = []
    loop = asyncio.get_running_loop()

    def ended() -> None:
        loop.remove_reader(lifeline)
        orphaned.append(True)
        stop.set()

    loop.add_reader(lifeline, ended)
    return orphaned


@app.command()
def lsmap(machine: MachineOption = None, as_json: JsonOption = False) -> None:
    """Show every mapping, in the manner of VIOS's lsmap -all.

    For each server adapter: the client at its far end and their connection's state; for each target what backs it,
    its size and state, its queues, what was counted, and what was refused, by the rule's name.

    Examples:
      virtio-crq vios lsmap
      virtio-crq vios lsmap --json
    """
    adapters = _ask_all(machine, "lsmap")
    if as_json:
        print(json.dumps(adapters, indent=2))
    else:
        sys.stdout.write(render(adapters))


@app.command()
def stat(
    machine: MachineOption = None,
    as_json: JsonOption = False,
    interval: Annotated[float, typer.Option(metavar="SECONDS", help="How long to measure.", min=0.1, max=86400)] = 1.0,
) -> None:
    """Measure requests and bytes per second, and what a request costs.

    One line for each target, and for each queue of a disk that has several; IN is what clients read, OUT what they
    write. Hypervisor calls and copies per request are those of both partitions on the connection, all its targets
    together.

    Examples:
      virtio-crq vios stat
      virtio-crq vios stat --interval 5 --json
    """
    state = select(machine)
    wires_before, before, begun = wires(ask_hypervisor(state, "show")), _ask_all(machine, "lsmap"), time.monotonic()
    time.sleep(interval)
    after, ended, wires_after = _ask_all(machine, "lsmap"), time.monotonic(), wires(ask_hypervisor(state, "show"))
    rows = rates(before, after, ended - begun, wires_before, wires_after)
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        sys.stdout.write(render_rates(rows))


def _ask_all(machine: str | None, do: str) -> list[dict[str, Any]]:
    """The answers of all servers of the machine, one after the other."""
    return [adapter for path in sockets(select(machine)) for adapter in ask(path, do)]
