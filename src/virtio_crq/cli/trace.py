# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq trace`: every hypercall with its arguments by name, as the engine saw it."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from virtio_crq.cli.anatomy import meaning
from virtio_crq.cli.selection import MachineOption, select
from virtio_crq.errors import UsageError
from virtio_crq.hypervisor.conversation import Conversation
from virtio_crq.papr.entry import from_registers

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
    machine: MachineOption = None,
) -> None:
    """Show every hypercall with its arguments by name, as the engine saw it, until Ctrl-C.

    With CLIENT/NAME --one, and no process being that client, one block of the disk is read to have something to show.
    Times are microseconds since the first call shown.

    Examples:
      virtio-crq trace
      virtio-crq trace web1/root --one
      virtio-crq trace web1 --json
    """
    directory = select(machine)
    with Conversation(directory) as hypervisor:
        wanted = _ends(hypervisor, connection)
        shown: Counter[str] = Counter()
        try:
            with _something_to_show(hypervisor, directory, connection if one else None) as act:
                begun = 0
                for entry in follow(hypervisor, one, wanted, act):
                    shown[entry["call"]] += 1
                    begun = begun or entry["time_ns"]
                    print(json.dumps(entry) if as_json else render(entry, begun), flush=True)
        except KeyboardInterrupt:
            pass
        if not as_json:
            print(summary(shown))


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
    hypervisor: Conversation, directory: Path, connection: str | None
) -> Iterator[Callable[[], object]]:
    """One read of the disk meant, by this process as the client; nothing when that client runs and acts by itself."""
    client, _, name = (connection or "").partition("/")
    states = {row["name"]: row["state"] for row in hypervisor.ask("show")["partitions"]}
    if not name or states.get(client) != "off":
        yield lambda: None
        return
    from virtio_crq.cli.clientpartition import client_partition

    with client_partition(directory, client) as running:
        disk = running.disk(name)
        time.sleep(SETTLE_SECONDS)  # the connection's own calls are over
        yield lambda: disk.read(0, disk.block_size * (ONE_READ // disk.block_size or 1))


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


def render(entry: Entry, begun: int) -> str:
    """One call on one line: microseconds since `begun`, who, what, with which arguments, and the answer."""
    inputs = entry["inputs"]
    arguments = ", ".join(f"{name}={value:#x}" for name, value in inputs.items())
    outputs = ", ".join(f"{name}={value:#x}" for name, value in entry["outputs"].items())
    answer = entry["code"] + (f" {outputs}" if outputs else "")
    said = f"  {meaning(from_registers(inputs['high'], inputs['low']))}" if entry["call"] == "H_SEND_CRQ" else ""
    time = f"{(entry['time_ns'] - begun) / 1000:>10.1f}"
    return f"{time} µs  {entry['partition']:<10} {entry['call']}({arguments}) = {answer}{said}"


def summary(shown: Counter[str]) -> str:
    if not shown:
        return "no calls"
    parts = ", ".join(f"{count} {name}" for name, count in sorted(shown.items()))
    return f"{sum(shown.values())} calls: {parts}"
