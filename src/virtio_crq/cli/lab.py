# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq lab`, run by ./lab: QEMU, kernels, our module for them and programs, into a cache outside the tree."""

from pathlib import Path
from typing import Annotated

import typer

from virtio_crq.cli.interruption import terminated_as_interrupted
from virtio_crq.cli.labreport import LabReport
from virtio_crq.errors import UsageError, VirtioCrqError
from virtio_crq.guests.cache import CROSS, KERNELS, lab_directory
from virtio_crq.guests.lab.filling import Filling
from virtio_crq.guests.lab.given import given_compiler, given_kernel, given_qemu, given_userland, host_qemu
from virtio_crq.guests.lab.kernelpackages import kernel_part
from virtio_crq.guests.lab.lint import CHECKPATCH, lint_build, lint_style
from virtio_crq.guests.lab.manifest import locked
from virtio_crq.guests.lab.programs import QEMU, TOOLCHAIN, USERLAND
from virtio_crq.guests.lab.suite import MIRROR
from virtio_crq.guests.lab.transport import Toolchain, build_transport

SOURCE = Path("linux/virtio_crq")


def lab(
    qemu: Annotated[
        str | None, typer.Option(metavar="PATH", help="A qemu-system-ppc64 of yours, plugin API 7.")
    ] = None,
    kernel: Annotated[
        list[str] | None,
        typer.Option(metavar="VERSION=DIRECTORY", help="A kernel of yours with modules and headers (repeatable)."),
    ] = None,
    userland: Annotated[
        Path | None, typer.Option(metavar="DIRECTORY", help="A tree of ppc64le programs of yours.")
    ] = None,
    cross: Annotated[
        str | None,
        typer.Option(metavar="PREFIX", help=f"Build with the host's compiler, gcc after such a prefix as {CROSS}."),
    ] = None,
    mirror: Annotated[str, typer.Option("--mirror", metavar="URL", help="Debian's archive, or a mirror.")] = MIRROR,
    source: Annotated[
        Path, typer.Option("--source", metavar="DIRECTORY", help="The guest's module. Default linux/virtio_crq.")
    ] = SOURCE,
    update: Annotated[bool, typer.Option("--update", help="Replace what the archive has in a newer version.")] = False,
    lint: Annotated[
        bool, typer.Option("--lint", help="Also run W=1, sparse and checkpatch over the module; findings fail.")
    ] = False,
) -> None:
    """Fetch and build what real guests need: QEMU, three kernels, our module for them, programs.

    It goes to $VIRTIO_CRQ_LAB, by default ~/.cache/virtio-crq/lab, and needs no root. What is there stays;
    interrupted, it continues. Where there is no APT, or something of yours is wanted instead, give it by option:
    the directory of a kernel holds what its packages do, or vmlinux, lib/modules/RELEASE and build.

    Examples:
      virtio-crq lab
      virtio-crq lab --lint
      virtio-crq lab --qemu /opt/qemu/bin/qemu-system-ppc64 --kernel 6.12=/srv/kernel
    """
    if not (source / "Kbuild").is_file():
        raise UsageError(f"no module in {source}: run this in a clone of the project, or name its folder by --source")
    root = lab_directory()
    report = LabReport()
    with terminated_as_interrupted(), report, locked(root, report):
        try:
            filling = Filling.at(root, mirror, report)
            _take(filling, qemu, kernel or [], userland, cross)
            tools = _fill(filling, update)
            _build(filling, source, tools, report)
            if lint:
                _lint(filling, source, tools, report)
        except KeyboardInterrupt:
            report.say("stopped; run ./lab again, it continues here")
            raise SystemExit(130) from None
        except OSError as error:
            raise UsageError(f"{error}: see that {root} can be written and has room, then run ./lab again") from None
    report.say(f"the lab in {root} is complete")


def _take(filling: Filling, qemu: str | None, kernels: list[str], userland: Path | None, cross: str | None) -> None:
    """What a person gives stays given; of QEMU, the host's own is next."""
    if qemu is not None:
        filling.manifest.put(QEMU.key, given_qemu(qemu))
    elif not filling.have(QEMU) and (facts := host_qemu()):
        filling.manifest.put(QEMU.key, facts)
    for text in kernels:
        filling.manifest.put(*given_kernel(text))
    if userland is not None:
        filling.manifest.put(USERLAND.key, given_userland(userland))
    if cross is not None:
        filling.manifest.put(TOOLCHAIN.key, given_compiler(cross))


def _fill(filling: Filling, update: bool) -> Toolchain:
    filling.need(TOOLCHAIN, update)
    prefix = filling.manifest.parts[TOOLCHAIN.key].get("prefix")
    tree = None if prefix else filling.place(TOOLCHAIN)
    for part in (QEMU, *(kernel_part(name, tree) for name in KERNELS), USERLAND):
        filling.need(part, update)
    filling.tidy()
    return Toolchain(tree / "usr/bin") if tree else Toolchain(None, prefix)


def _build(filling: Filling, source: Path, tools: Toolchain, report: LabReport) -> None:
    for name in KERNELS:
        if build_transport(filling.root, filling.manifest, name, source, tools):
            report.say(f"kernel {name}: module built")


def _lint(filling: Filling, source: Path, tools: Toolchain, report: LabReport) -> None:
    filling.need(CHECKPATCH)
    filling.tidy()
    found = lint_style(source, filling.root / filling.manifest.parts[CHECKPATCH.key]["path"])
    for name in KERNELS:
        headers = filling.root / filling.manifest.parts[f"kernel-{name}"]["build"]
        found += [f"{name}: {line}" for line in lint_build(source, headers, filling.root / "lint" / name, tools)]
    for line in found:
        report.say(line)
    if found:
        raise VirtioCrqError(f"{len(found)} findings in {source}")
    report.say(f"{source}: nothing found by W=1, sparse and checkpatch, for {', '.join(KERNELS)}")
