# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq guests`: what real guests have to show."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from virtio_crq.cli.guestbench import bench
from virtio_crq.cli.guesthouse import GuestHouse
from virtio_crq.cli.guestimage import image
from virtio_crq.cli.guestpair import pair
from virtio_crq.cli.guestplan import DLPAR, find_qemu
from virtio_crq.cli.guestslot import slot
from virtio_crq.cli.guestwitness import witness
from virtio_crq.cli.interruption import held_back, terminated_as_interrupted
from virtio_crq.cli.reportfile import check_report_file, write_report_file
from virtio_crq.cli.tablenames import completed, told
from virtio_crq.errors import UsageError
from virtio_crq.guests.cache import BUSYBOX, KERNELS, Lab
from virtio_crq.guests.initramfs import STANDARD, make_initramfs
from virtio_crq.guests.modules import ModuleTree
from virtio_crq.guests.qemu import Qemu, check_firmware
from virtio_crq.guests.rootimage import make_root_image
from virtio_crq.guests.rungs import DEFAULT, RUNGS, Rung, chosen_rung
from virtio_crq.guests.suite.check import Check, Result, chosen
from virtio_crq.guests.suite.run import play
from virtio_crq.guests.suite.scene import Scene
from virtio_crq.guests.suite.table import TABLE

DATA_BYTES = 128 << 20
SCRATCH = Path("/var/tmp")  # a real file system; /tmp may be memory
ALL = "all"
MODULES = (*STANDARD, DLPAR)

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="What real guests have to show.")


app.command("bench")(bench)
app.command("image")(image)
app.command("pair")(pair)
app.command("slot")(slot)
app.command("witness")(witness)


@app.command("test")
def run_suite(
    kernel: Annotated[str, typer.Option(metavar="NAME", help=f"{', '.join(KERNELS)}, or all of them.")] = KERNELS[0],
    only: Annotated[list[str] | None, typer.Option(metavar="CHECK", help="Only this check (repeatable).")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the report there.", metavar="FILE")] = None,
    qemu: Annotated[str | None, typer.Option(metavar="PATH", help="The qemu-system-ppc64 to use.")] = None,
    firmware: Annotated[str, typer.Option(metavar="NAME", help="vof, or slof: slower, and it shows itself.")] = "vof",
    rung: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help=f"The way in which the module carries requests: {told(RUNGS)}.",
            autocompletion=completed(RUNGS),
        ),
    ] = DEFAULT.name,
    listing: Annotated[bool, typer.Option("--list", help="Only list the checks.")] = False,
) -> None:
    """Boot real kernels on a machine of their own and check what they have to show.

    It needs what ./lab fetches. Status 1 when a check failed; its last console lines are shown, and the report has
    them, too: kernel, hashes, devices bound, every check with its result.

    Examples:
      virtio-crq guests test --list
      virtio-crq guests test --kernel 6.12
      virtio-crq guests test --kernel all --json report.json
      virtio-crq guests test --only kills --only hostile
      virtio-crq guests test --rung per-request
    """
    console = Console()
    if listing:
        for row in TABLE:
            console.print(f"{row.name:<12} {row.shows}", markup=False, highlight=False, soft_wrap=True)
        return
    checks = chosen(TABLE, only or [])
    if kernel != ALL and kernel not in KERNELS:
        raise UsageError(f"no kernel {kernel!r}: say {', '.join(KERNELS)} or {ALL}")
    way = chosen_rung(rung)
    check_firmware(firmware)
    check_report_file(json_file)
    lab, fit = Lab.open(), find_qemu(qemu)
    names = KERNELS if kernel == ALL else (kernel,)
    for name in names:
        lab.kernel(name)  # all of them are there before the first is booted
    reports = []
    with terminated_as_interrupted():
        try:
            with tempfile.TemporaryDirectory(prefix="virtio-crq-guests-", dir=SCRATCH) as place:
                work = Path(place)
                with console.status("making a root file system"):
                    root = make_root_image(lab.userland(), work / "root.pristine")
                for name in names:
                    reports.append(_run(name, checks, lab, fit, firmware, work, root, console, way))
                    write_report_file(json_file, reports)  # each when it is there: the next may be interrupted
        except KeyboardInterrupt:
            console.print("stopped; nothing is left behind")
            raise SystemExit(130) from None
    failed = sum(row["result"] == "failed" for report in reports for row in report["checks"])
    if failed:
        raise SystemExit(1)


def _run(
    name: str,
    checks: tuple[Check, ...],
    lab: Lab,
    qemu: Qemu,
    firmware: str,
    work: Path,
    root: Path,
    console: Console,
    rung: Rung,
) -> dict[str, Any]:
    """The report of one kernel."""
    parts = lab.kernel(name)
    initramfs = make_initramfs(
        ModuleTree(parts.modules), lab.userland() / BUSYBOX, transport=parts.transport, names=MODULES
    )
    begun = time.monotonic()
    console.print(f"\nkernel {name}: {parts.release}, QEMU {qemu.version}", highlight=False)
    with _house(work, root, qemu, rung) as house:
        scene = Scene(
            house,
            parts,
            initramfs,
            initramfs.write(work / "initramfs.gz"),
            firmware=firmware,
            parameters=rung.parameters,
        )
        results = play(checks, scene, _Teller(console))
    return {
        "kernel": name,
        "release": parts.release,
        "qemu": qemu.version,
        "firmware": firmware,
        "rung": rung.name,
        "packages": [vars(package) for package in parts.packages],
        "seconds": round(time.monotonic() - begun, 1),
        **scene.facts,
        "checks": [result.to_json() for result in results],
    }


@contextmanager
def _house(work: Path, root: Path, qemu: Qemu, rung: Rung) -> Iterator[GuestHouse]:
    """The machine, with images that no kernel has seen before."""
    shutil.copyfile(root, work / "root.img")
    with (work / "data.img").open("wb") as image:
        image.truncate(DATA_BYTES)
    house = GuestHouse(work, qemu, rung)
    try:
        house.open()
        yield house
    finally:
        with held_back():
            house.close()


class _Teller:
    """A line a check; while one runs, on a terminal, its name."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = console.status("")

    def __call__(self, check: Check, result: Result | None) -> None:
        if result is None:
            self._status.update(f"{check.name}: {check.shows}")
            self._status.start()
            return
        self._status.stop()
        word = "passed" if result.passed else "FAILED"
        line = f"  {word}  {result.name:<12} {result.seconds:5.1f} s  {result.detail}"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        for last in result.console:
            self._console.print(f"            | {last}", markup=False, highlight=False, soft_wrap=True)
