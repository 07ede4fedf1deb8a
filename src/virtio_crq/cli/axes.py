# SPDX-License-Identifier: Apache-2.0
"""Which way a client partition of ours carries: what a command says, else the machine file, else the best."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from virtio_crq.axes import CLIENT
from virtio_crq.client.device import Options
from virtio_crq.hypervisor.machinerows import MachineFile

NOTE = "clients.json"  # in the state directory: what the machine file says of its clients

FetchOption = Annotated[
    str | None,
    typer.Option("--fetch", metavar="KIND", help="push, or batched: the server reads rings.", show_default=False),
]
RingOption = Annotated[
    str | None,
    typer.Option(
        "--ring", metavar="LAYOUT", help="Where it is read: packed if that is offered, or split.", show_default=False
    ),
]
MapOption = Annotated[
    str | None,
    typer.Option("--map", metavar="KIND", help="pool: memory stays mapped; or per-request.", show_default=False),
]


def write_note(directory: Path, machine: MachineFile) -> None:
    """Keep what the machine was made with; its file may be another one tomorrow."""
    said = {row.name: {key: getattr(row, key) for key in CLIENT} for row in machine.clients() if not row.server}
    (directory / NOTE).write_text(json.dumps({name: _said(axes) for name, axes in said.items()}))


def client_options(directory: Path, client: str, **said: str | None) -> Options:
    """How `client` works, unless a command `said` otherwise. A machine that was made by hand has no note."""
    try:
        noted = json.loads((directory / NOTE).read_text()).get(client, {})
    except FileNotFoundError:
        noted = {}
    return Options(**noted | _said(said))


def _said(axes: Mapping[str, str | None]) -> dict[str, str]:
    return {key: value for key, value in axes.items() if value is not None}
