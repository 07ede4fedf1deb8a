# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq vios map`, `unmap` and `resize`: the mapping changed while the machine runs."""

from pathlib import Path
from typing import Annotated

import typer

from virtio_crq.cli.selection import MachineOption, select
from virtio_crq.cli.viosserver import serving_client, serving_target, split
from virtio_crq.vios.control import ask
from virtio_crq.vios.mapping import BLOCK, DEFAULT_QUEUES, DEVICE_TYPES, MOST_QUEUES

PATIENCE = 30  # seconds: another VIOS may hold the image, and gives it up within ten
WITH_PATH = ("file", "socket", "log")
TargetArgument = Annotated[str, typer.Argument(metavar="CLIENT/NAME", help="A target as `vios lsmap` shows it.")]


def map_target(
    client: Annotated[str, typer.Argument(metavar="CLIENT", help="Who is to see the device.")],
    backing: Annotated[str, typer.Argument(metavar="BACKING", help="What stands behind it, as in the machine file.")],
    name: Annotated[str, typer.Option("--as", metavar="NAME", help="The target's name.")],
    device: Annotated[str, typer.Option(metavar="TYPE", help=f"{', '.join(DEVICE_TYPES)}.")] = BLOCK,
    port: Annotated[
        list[str] | None, typer.Option(metavar="NAME=BACKING", help="A further port of a console; may be repeated.")
    ] = None,
    queues: Annotated[
        int, typer.Option(metavar="N", min=1, max=MOST_QUEUES, help="Request queues of a disk.")
    ] = DEFAULT_QUEUES,
    readonly: Annotated[bool, typer.Option("--readonly", help="Writes are I/O errors.")] = False,
    server: Annotated[
        str | None, typer.Option(metavar="NAME", help="The server, when the client has adapters to several.")
    ] = None,
    machine: MachineOption = None,
) -> None:
    """Show a client one more device, at once.

    It stays when the server is started again, and goes with the machine: `up` maps what the machine file says.

    Examples:
      virtio-crq vios map web1 file:data.img --as data
      virtio-crq vios map web1 file:logs.img --as logs --queues 4
      virtio-crq vios map web1 pty: --as tty --device console
    """
    path = serving_client(select(machine), client, server)
    ports = []
    for text in port or []:
        word, equals, rest = text.partition("=")
        ports.append(f"{word}{equals}{absolute(rest)}")
    request = {"client": client, "target": name, "backing": absolute(backing), "device": device, "ports": ports}
    number = ask(path, "map", patience=PATIENCE, readonly=readonly, queues=queues, **request)
    print(f"{client}/{name} is device {number}")


def unmap(
    target: TargetArgument,
    force: Annotated[bool, typer.Option("--force", help="Even while the client's driver has it.")] = False,
    machine: MachineOption = None,
) -> None:
    """Take a device from its client, at once. What its driver had under way ends there in errors.

    Without --force a device that a driver runs is left alone.

    Example:
      virtio-crq vios unmap web1/data
    """
    path, _ = serving_target(select(machine), target)
    client, name = split(target)
    ask(path, "unmap", patience=PATIENCE, client=client, target=name, force=force)


def resize(
    target: TargetArgument,
    size: Annotated[str | None, typer.Argument(metavar="SIZE", help="Grow the file to this; else as it is.")] = None,
    machine: MachineOption = None,
) -> None:
    """Tell the client's driver the new size of its disk, growing the file behind it if a size is given.

    Examples:
      virtio-crq vios resize web1/data 2G
      virtio-crq vios resize web1/data
    """
    path, _ = serving_target(select(machine), target)
    client, name = split(target)
    answer = ask(path, "resize", client=client, target=name, size=size)
    print(f"{target} has {answer['size']} bytes" + ("" if answer["changed"] else ", as before"))


def absolute(backing: str) -> str:
    """A relative path counts from where the command was given; the server's own directory is nobody's business."""
    kind, colon, path = backing.partition(":")
    if kind not in WITH_PATH or not path:
        return backing
    return f"{kind}{colon}{Path.cwd() / path}"
