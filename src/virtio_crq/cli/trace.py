# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq trace`: every hypercall with its arguments by name, as the engine saw it."""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from virtio_crq.cli.anatomy import is_transfer
from virtio_crq.cli.axes import FetchOption, MapOption, RingOption, client_options
from virtio_crq.cli.selection import MachineOption, select
from virtio_crq.cli.tracewords import Fold, render, words
from virtio_crq.errors import UsageError
from virtio_crq.hypervisor.conversation import Conversation

LOOK_SECONDS = 0.05  # between looks at the trace ring
SETTLE_SECONDS = 0.2
ONE_READ = 4096  # bytes
QUIET_LOOKS = 4  # with --one: the exchange is over after this many looks without a new call

Entry = dict[str, Any]


def trace(
    connection: Annotated[
        str | None, typer.Argument(metavar="CLIENT[/NAME]", help="Only the connection of this client.")
    ] = None,
    one: Annotated[
        bool, typer.Option("--one", help="Stop after the next exchange: wait for calls, then for quiet.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    fold: Annotated[bool, typer.Option("--fold", help="Of a run of one call only the first and the last.")] = False,
    machine: MachineOption = None,
    fetch: FetchOption = None,
    ring: RingOption = None,
    map_: MapOption = None,
) -> None:
    """Show every hypercall with its arguments by name, as the engine saw it, until Ctrl-C.

    With CLIENT/NAME --one, and no process being that client, one block of the disk is read to have something to show,
    carried as --fetch, --ring and --map say.
    Times are microseconds since the first call shown.

    Examples:
      virtio-crq trace
      virtio-crq trace web1/root --one
      virtio-crq trace web1/root --one --fetch batched --map per-request
      virtio-crq trace web1 --json
      virtio-crq trace web1 --fold
    """
    directory, axes = select(machine), {"fetch": fetch, "ring": ring, "map": map_}
    with Conversation(directory) as hypervisor:
        wanted = _ends(hypervisor, connection)
        say = words(hypervisor.ask("show")["adapters"])
        shown: Counter[str] = Counter()
        run = Fold()
        try:
            with _something_to_show(hypervisor, directory, connection if one else None, axes) as act:
                begun = 0
                for entry in follow(hypervisor, one, wanted, act):
                    shown[entry["call"]] += 1
                    begun = begun or entry["time_ns"]
                    if as_json:
                        print(json.dumps(entry), flush=True)
                        continue
                    line = render(entry, begun, say)
                    for each in run.add(entry, line) if fold else [line]:
                        print(each, flush=True)
        except KeyboardInterrupt:
            pass
        if not as_json:
            print(*run.end(), summary(shown), sep="\n")


def follow(
    hypervisor: Conversation, one: bool, wanted: set[tuple[str, int]] | None, act: Callable[[], object]
) -> Iterator[Entry]:
    """Calls from now on, among them those of `act`; tracing is on only while somebody follows."""
    after = max((entry["sequence"] for entry in _read_all(hypervisor, 0)), default=0)
    hypervisor.ask("trace", on=True)
    try:
        act()
        quiet, seen = 0, False
        while not (one and seen and quiet >= QUIET_LOOKS):
            entries = hypervisor.ask("read_trace", after=after)
            after = entries[-1]["sequence"] if entries else after
            mine = [entry for entry in entries if wanted is None or _end(entry) in wanted]
            yield from mine
            seen = seen or bool(mine)
            quiet = 0 if mine else quiet + 1
            if not entries:
                time.sleep(LOOK_SECONDS)
    finally:
        hypervisor.ask("trace", on=False)


@contextmanager
def _something_to_show(
    hypervisor: Conversation, directory: Path, connection: str | None, axes: dict[str, str | None]
) -> Iterator[Callable[[], object]]:
    """One read of the disk meant, by this process as the client; when that client runs, whoever steers it may begin."""
    client, _, name = (connection or "").partition("/")
    states = {row["name"]: row["state"] for row in hypervisor.ask("show")["partitions"]}
    if not name or states.get(client) != "off":
        yield lambda: print("tracing; Ctrl-C ends it", file=sys.stderr, flush=True)
        return
    from virtio_crq.cli.clientpartition import client_partition
    from virtio_crq.cli.disk import told_as_failure

    with client_partition(directory, client, client_options(directory, client, **axes)) as running:
        disk = running.disk(name)
        time.sleep(SETTLE_SECONDS)  # the connection's own calls are over

        def read_one() -> None:
            with told_as_failure():
                disk.read(0, disk.block_size * (ONE_READ // disk.block_size or 1))

        yield read_one


def _read_all(hypervisor: Conversation, after: int) -> Iterator[Entry]:
    while entries := hypervisor.ask("read_trace", after=after):
        yield from entries
        after = entries[-1]["sequence"]


def _end(entry: Entry) -> tuple[str, int]:
    return entry["partition"], entry["unit_address"]


def _ends(hypervisor: Conversation, connection: str | None) -> set[tuple[str, int]] | None:
    """Both ends of the client's connections: (partition, unit address)."""
    if connection is None:
        return None
    client = connection.partition("/")[0]
    wires = [wire for wire in hypervisor.ask("show")["adapters"] if wire["client"] == client]
    if not wires:
        raise UsageError(f"no client {client!r} in this machine")
    ends = {(wire["client"], wire["unit_address"]) for wire in wires}
    return ends | {(wire["server"], wire["server_unit_address"]) for wire in wires}


def summary(shown: Counter[str]) -> str:
    if not shown:
        return "no calls"
    parts = ", ".join(f"{count} {name}" for name, count in sorted(shown.items()))
    calls = sum(count for name, count in shown.items() if not is_transfer(name))
    return f"{calls} calls: {parts}"
