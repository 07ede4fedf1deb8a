# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq guests pair`: IBM's own drivers in two guests that a person boots and steers by hand."""

from pathlib import Path
from typing import Annotated

import typer

from virtio_crq.errors import UsageError
from virtio_crq.guests.cache import KERNELS, Lab
from virtio_crq.guests.witnesses import CLIENT, MACHINE, SERVER, Parts, make_parts
from virtio_crq.papr.profiles import DEFAULT, PROFILES

FILE, NAME = "pair.toml", "pair"


def pair(
    directory: Annotated[Path, typer.Argument(metavar="DIRECTORY", help="Where to put the files; made if need be.")],
    kernel: Annotated[str, typer.Option(metavar="NAME", help=f"Of both guests: {', '.join(KERNELS)}.")] = KERNELS[0],
    profile: Annotated[str, typer.Option(metavar="NAME", help=f"{', '.join(PROFILES)}.")] = DEFAULT.name,
) -> None:
    """Make a machine of two guests with IBM's own drivers, to be booted and steered by hand.

    The directory gets a machine file and an initial file system for either guest: target has the stock ibmvscsis and
    a script that offers a disk, initiator has the stock ibmvscsi and a script that loads it; both are in /witness.
    Nothing of ours is in their kernels. It needs what ./lab fetches.

    Examples:
      virtio-crq guests pair pair
      virtio-crq guests pair pair --kernel 7.2
    """
    if kernel not in KERNELS:
        raise UsageError(f"no kernel {kernel!r}: say {', '.join(KERNELS)}")
    if profile not in PROFILES:
        raise UsageError(f"no platform profile {profile!r}; there are {', '.join(PROFILES)}")
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is there already, and is no directory")
    lab = Lab.open()
    lab.kernel(kernel)
    try:
        directory.mkdir(exist_ok=True)
        parts = make_parts(lab, kernel, directory)
        (directory / FILE).write_text(machine_text(parts, kernel, profile))
    except OSError as error:
        raise UsageError(f"{directory}: {error.strerror}") from None
    print(f"{directory / FILE}: guests {SERVER} (ibmvscsis) and {CLIENT} (ibmvscsi), kernel {parts.release}")


def machine_text(parts: Parts, kernel: str, profile: str) -> str:
    """The witnesses' own machine file, with what each guest runs."""
    text = MACHINE.format(name=NAME, profile=profile)
    for name, initrd in ((SERVER, parts.server_initrd), (CLIENT, parts.client_initrd)):
        row = f"[partition.{name}]\n"
        text = text.replace(row, f'{row}kernel = "{kernel}"\ninitrd = "{initrd.name}"\n')
    return text
