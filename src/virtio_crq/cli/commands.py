# SPDX-License-Identifier: Apache-2.0
"""The table of commands. A command's module is imported only when it runs, so that `--help` answers at once.

To add a command: write `cli/NAME.py` with a function (or a `typer.Typer` for a group of verbs), then add a row.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Command:
    """`target` is `module:attribute` under `virtio_crq.cli`: a function, or a typer.Typer with verbs of its own."""

    name: str
    target: str
    summary: str
    hidden: bool = False

    @property
    def module(self) -> str:
        return f"virtio_crq.cli.{self.target.partition(':')[0]}"

    def load(self) -> Any:
        return getattr(import_module(self.module), self.target.partition(":")[2])


COMMANDS = (
    Command("up", "machine:up", "Start a machine: its hypervisor and its servers."),
    Command("down", "machine:down", "Stop a machine."),
    Command("start", "machine:start", "Start a server again, after it ended or was killed."),
    Command("show", "machine:show", "Show partitions, adapters, connections and counters."),
    Command("boot", "boot:boot", "Boot a real Linux guest; its console is this terminal."),
    Command("vios", "vios:app", "The I/O server: its mappings and its figures."),
    Command("console", "console:app", "Attach this terminal to a client's console."),
    Command("disk", "disk:app", "Copy a client's disk, or export it to other tools."),
    Command("trace", "trace:trace", "Show every hypercall and entry, as the engine saw it."),
    Command("bench", "benchcommands:app", "Measure, and count what one I/O costs."),
    Command("guests", "guests:app", "What real guests have to show."),
    Command("spec", "spec:spec", "List the clauses and the tests that cite them."),
    Command("demo", "demo:demo", "Carry a file system over CRQ, kill the server, check everything."),
    Command("lab", "lab:lab", "Fetch and build what real guests need, into a cache."),
    Command("version", "version:version", "Show the version and whether the data plane is compiled."),
    # A role of a running machine; `up` starts it.
    Command("hypervisor", "hypervisor:run", "Run the hypervisor of a machine file.", hidden=True),
)
