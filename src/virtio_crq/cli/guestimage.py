# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq guests image`: a root disk for a guest, made without privileges."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from virtio_crq.cli.interruption import terminated_as_interrupted
from virtio_crq.cli.labreport import LabReport
from virtio_crq.errors import UsageError
from virtio_crq.guests import debianimage, rootimage
from virtio_crq.guests.cache import Lab, lab_directory
from virtio_crq.guests.ext4image import tool
from virtio_crq.guests.lab.manifest import locked
from virtio_crq.guests.lab.suite import MIRROR

SMALL, DEBIAN = "small", "debian"
KINDS = {SMALL: rootimage.SIZE, DEBIAN: debianimage.SIZE}
SMALLEST_MIB, LARGEST_MIB = 256, 64 << 10
MIB = 1 << 20


def image(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="small or debian.")],
    file: Annotated[Path, typer.Argument(metavar="DEST", help="The image file to make.")],
    size: Annotated[
        int | None, typer.Option(metavar="MIB", min=SMALLEST_MIB, max=LARGEST_MIB, help="Its size.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    mirror: Annotated[str, typer.Option(metavar="URL", help="Debian's archive, or a mirror.")] = MIRROR,
) -> None:
    """Make a root disk for guests: an ext4 image, a sparse file.

    small: busybox, fio, e2fsprogs and what they need, from the lab; a shell in two seconds.
    debian: a small Debian with systemd, its packages fetched now and configured in the guest, once, at its first
    boot, which takes about a minute. Both are for tests: their consoles are root's without a password.

    Examples:
      virtio-crq guests image small root.img
      virtio-crq guests image debian debian.img --size 2048
    """
    if kind not in KINDS:
        raise UsageError(f"kind {kind!r} is not one of {', '.join(KINDS)}")
    _check(file, force)
    tool("mke2fs")
    tool("debugfs")
    wanted = size * MIB if size is not None else KINDS[kind]
    report = LabReport()
    with terminated_as_interrupted(), report:
        try:
            if kind == SMALL:
                rootimage.make_root_image(Lab.open().userland(), file, size=wanted)
            else:
                folder = lab_directory() / "debian"
                with locked(folder, report):
                    packages = debianimage.fetch_packages(folder, mirror, report)
                    report.say("unpacking")
                    debianimage.make_debian_image(packages, file, size=wanted)
        except KeyboardInterrupt:
            report.say("stopped; nothing was made")
            raise SystemExit(130) from None
        except OSError as error:
            raise UsageError(f"{error}: see that {file.parent} can be written and has room") from None
    print(f"{file}: {kind} root disk of {wanted >> 20} MiB, {file.stat().st_blocks * 512 >> 20} MiB of it used")


def _check(file: Path, force: bool) -> None:
    if not file.parent.is_dir():
        raise UsageError(f"{file.parent}: no such directory")
    if file.exists() and not file.is_file():
        raise UsageError(f"{file} is no ordinary file")
    if file.exists() and not force:
        raise UsageError(f"{file} is there already; say --force to replace it")
    free = shutil.disk_usage(file.parent).free
    if free < (1 << 30):
        raise UsageError(f"{file.parent} has {free >> 20} MiB left; an image needs about 1024 while it is made")
