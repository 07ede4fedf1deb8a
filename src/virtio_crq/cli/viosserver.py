# SPDX-License-Identifier: Apache-2.0
"""Which of a machine's servers a command means, by the client or the target that it serves."""

import re
from pathlib import Path
from typing import Any

from virtio_crq.errors import UsageError
from virtio_crq.hypervisor.conversation import ask as ask_hypervisor
from virtio_crq.vios.control import ask, socket_path

NO_CLIENT = "no VIOS of this machine has an adapter to {!r}"
TARGET = re.compile(r"([^/]+)/([^/]+)")


def sockets(state: Path) -> list[Path]:
    """Where the servers of the machine answer."""
    found = sorted(state.glob(socket_path(state, "*").name))
    if not found:
        raise UsageError("no VIOS of this machine is running")
    return found


def split(text: str) -> tuple[str, str]:
    """CLIENT/NAME as two words."""
    words = TARGET.fullmatch(text)
    if words is None:
        raise UsageError(f"{text!r} is not of the form CLIENT/NAME")
    return words[1], words[2]


def serving_client(state: Path, client: str, server: str | None) -> Path:
    """The server to which the client has an adapter; which one must be said when there are several."""
    if server is not None:
        known = [row["name"] for row in ask_hypervisor(state, "show")["partitions"] if row["server"]]
        if server not in known:
            raise UsageError(f"no server {server!r} in machine {state.name}; there are {', '.join(known) or 'none'}")
        return socket_path(state, server)
    found = [path for path in sockets(state) if any(row["client"] == client for row in ask(path, "lsmap"))]
    if not found:
        raise UsageError(NO_CLIENT.format(client))
    if len(found) > 1:
        names = ", ".join(path.stem.removeprefix("vios-") for path in found)
        raise UsageError(f"{client} has adapters to {names}; say which with --server NAME")
    return found[0]


def serving_target(state: Path, text: str) -> tuple[Path, dict[str, Any]]:
    """The server that has this target mapped, and what its mapping view says of it."""
    client, name = split(text)
    known: list[str] | None = None
    for path in sockets(state):
        for adapter in ask(path, "lsmap"):
            if adapter["client"] == client:
                known = [*(known or []), *(target["target"] for target in adapter["targets"])]
                for target in adapter["targets"]:
                    if target["target"] == name:
                        return path, target
    if known is None:
        raise UsageError(NO_CLIENT.format(client))
    raise UsageError(f"{client} has no target {name!r}; it has: {', '.join(known) or 'none'}")
