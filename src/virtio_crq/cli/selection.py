# SPDX-License-Identifier: Apache-2.0
"""Which machine a command means: the one that is up, or the one that `--machine` names."""

from pathlib import Path
from typing import Annotated

import typer

from virtio_crq.errors import UsageError
from virtio_crq.hypervisor.statedirectory import is_own, machines_up, state_directory

MachineOption = Annotated[
    str | None, typer.Option("--machine", "-m", metavar="NAME", help="The machine; needed when several are up.")
]


def select(machine: str | None) -> Path:
    """The state directory of the machine meant."""
    running = machines_up()
    if machine is not None:
        if machine not in running:
            raise UsageError(f"machine {machine!r} is not up" + (f"; up: {', '.join(running)}" if running else ""))
        return state_directory(machine)
    meant = [name for name in running if not is_own(name)]
    if len(meant) > 1:
        raise UsageError(f"several machines are up ({', '.join(meant)}); say which with --machine NAME")
    if not meant:
        others = f" (but for what commands run for themselves: {', '.join(running)})" if running else ""
        raise UsageError(f"no machine is up{others}; start one with: virtio-crq up FILE")
    return state_directory(meant[0])
