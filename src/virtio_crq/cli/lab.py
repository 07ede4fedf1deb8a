# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq lab`, run by ./lab: QEMU, kernels, our module for them and programs, into a cache outside the tree."""

from pathlib import Path
from typing import Annotated

import typer

from virtio_crq.cli.interruption import terminated_as_interrupted
from virtio_crq.cli.labreport import LabReport
from virtio_crq.errors import UsageError
from virtio_crq.guests.cache import KERNELS, lab_directory
from virtio_crq.guests.lab.download import Downloads
from virtio_crq.guests.lab.filling import Filling
from virtio_crq.guests.lab.kernelpackages import kernel_part
from virtio_crq.guests.lab.manifest import locked
from virtio_crq.guests.lab.part import Archive
from virtio_crq.guests.lab.programs import QEMU, TOOLCHAIN, USERLAND
from virtio_crq.guests.lab.suite import MIRROR, host_architecture, host_proxies
from virtio_crq.guests.lab.transport import Toolchain, build_transport

SOURCE = Path("linux/virtio_crq")


def lab(
    mirror: Annotated[
        str, typer.Option("--mirror", metavar="URL", help="Debian's archive, or a mirror of it.")
    ] = MIRROR,
    source: Annotated[
        Path,
        typer.Option("--source", metavar="DIRECTORY", help="Sources of the guest's module. Default linux/virtio_crq."),
    ] = SOURCE,
) -> None:
    """Fetch and build what real guests need: QEMU, three kernels, our module for them, programs.

    It goes to $VIRTIO_CRQ_LAB, by default ~/.cache/virtio-crq/lab, and needs neither root nor a second run: what is
    there stays. Interrupted, it continues.

    Examples:
      virtio-crq lab
    """
    root = lab_directory()
    report = LabReport()
    with terminated_as_interrupted(), report, locked(root, report):
        try:
            _fill(root, mirror, source, report)
        except KeyboardInterrupt:
            report.say("stopped; run ./lab again, it continues here")
            raise SystemExit(130) from None
        except OSError as error:
            raise UsageError(f"{error}: see that {root} can be written and has room, then run ./lab again") from None


def _fill(root: Path, mirror: str, source: Path, report: LabReport) -> None:
    native = host_architecture()
    archive = Archive(root / "apt", mirror, native, report)
    filling = Filling(root, archive, Downloads(root / "debs", report, host_proxies()), report)
    toolchain = root / "parts" / TOOLCHAIN.key
    parts = [QEMU, TOOLCHAIN, *(kernel_part(name, toolchain) for name in KERNELS), USERLAND]
    for part in parts:
        filling.need(part)
    filling.tidy()
    for name in KERNELS:
        if source.is_dir() and build_transport(root, filling.manifest, name, source, Toolchain(toolchain / "usr/bin")):
            report.say(f"kernel {name}: module built")
    report.say(f"the lab in {root} is complete")
