# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq vios explain`: what the planner chose for recent requests of a target, and why."""

import json
import sys
from typing import Annotated

import typer

from virtio_crq.cli.selection import MachineOption, select
from virtio_crq.cli.viosmap import TargetArgument
from virtio_crq.cli.viosserver import serving_target, split
from virtio_crq.vios.control import ask
from virtio_crq.vios.explain import render


def explain(
    target: TargetArgument,
    last: Annotated[int, typer.Option(metavar="N", min=0, max=64, help="How many requests of each queue.")] = 16,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    machine: MachineOption = None,
) -> None:
    """Explain how recent requests of a target were carried.

    For each queue: what copies cost as measured, where redirecting pays, how far ahead is read; then its last requests:
    what was inline, copied or redirected, by how many copies, what was joined or split, and why.

    Examples:
      virtio-crq vios explain web1/root
      virtio-crq vios explain web1/root --last 4 --json
    """
    path, _ = serving_target(select(machine), target)
    client, name = split(target)
    queues = ask(path, "explain", client=client, target=name, last=last)
    if as_json:
        print(json.dumps(queues, indent=2))
    else:
        sys.stdout.write(render(target, queues))
