# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq guests bench`: three disks of one guest on the same pinned file, in one boot."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from virtio_crq.bench.image import Image, pinned
from virtio_crq.cli.bench import WIDE, made_image, tell_pin
from virtio_crq.cli.guestbenchreport import report
from virtio_crq.cli.guestbenchstage import GATHERING, Bench
from virtio_crq.cli.guestplan import find_qemu
from virtio_crq.cli.guestrungs import report_rungs, rungs_measured
from virtio_crq.cli.guestwitness import own_pair
from virtio_crq.cli.interruption import terminated_as_interrupted
from virtio_crq.cli.reportfile import check_report_file, write_report_file
from virtio_crq.cli.scratch import scratch
from virtio_crq.cli.tablenames import completed, told
from virtio_crq.errors import UsageError
from virtio_crq.guests.cache import KERNELS, Lab
from virtio_crq.guests.comparison import Plan, compare, judged, ratios, summarize
from virtio_crq.guests.fio import LOADS, chosen_loads
from virtio_crq.guests.qemu import check_firmware
from virtio_crq.guests.rungs import RUNGS, chosen_rungs
from virtio_crq.guests.stockdisks import AIO, DISKS
from virtio_crq.guests.witnesscounts import LOADS as WITNESSED
from virtio_crq.guests.witnesscounts import counted
from virtio_crq.guests.witnesses import make_parts


def bench(
    kernel: Annotated[str, typer.Option(metavar="NAME", help="One of the lab's: 6.1, 6.12, 7.2.")] = KERNELS[0],
    case: Annotated[list[str] | None, typer.Option(help="Only this load (repeatable).", metavar="NAME")] = None,
    rounds: Annotated[int, typer.Option(metavar="N", min=1, help="How often each load is run on each disk.")] = 5,
    seconds: Annotated[float, typer.Option(metavar="N", min=0.2, help="How long each run of fio takes.")] = 3.0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write everything there.", metavar="FILE")] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Measure on this file; writes are then left out.")
    ] = None,
    aio: Annotated[
        str, typer.Option(metavar="NAME", help="How QEMU's own disks read the file: io_uring or threads.")
    ] = AIO[0],
    gathering: Annotated[
        int,
        typer.Option(metavar="MICROSECONDS", min=0, help="How much later our server tells a busy driver; 0: never."),
    ] = GATHERING,
    firmware: Annotated[str, typer.Option(metavar="NAME", help="vof, or slof: slower to boot.")] = "vof",
    qemu: Annotated[str | None, typer.Option(metavar="PATH", help="The qemu-system-ppc64 to use.")] = None,
    pair: Annotated[
        bool, typer.Option("--pair/--no-pair", help="Count the stock pair's hypercalls, too: two more guests.")
    ] = True,
    rungs: Annotated[
        bool, typer.Option("--rungs", help="Instead of three disks, ours carried in each of the ways.")
    ] = False,
    rung: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Only this way (repeatable): {told(RUNGS)}.", metavar="NAME", autocompletion=completed(RUNGS)
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="End with status 1 when a bar is missed.")] = False,
) -> None:
    """Compare three disks of one guest: ibmvscsi, virtio-blk-pci, virtio-crq.

    One boot of a stock kernel; the three disks are on the same file, held in memory, and take turns. fio runs in the
    guest. The I/O server sleeps when it has nothing to do, as QEMU's own devices do.

    Examples:
      virtio-crq guests bench
      virtio-crq guests bench --kernel 6.12 --case randread-4k-qd16 --rounds 9
      virtio-crq guests bench --json disks.json
      virtio-crq guests bench --rungs --case randread-4k-qd16
    """
    if aio not in AIO:
        raise UsageError(f"aio {aio!r} is not one of {', '.join(AIO)}")
    check_firmware(firmware)
    check_report_file(json_file)
    loads = [load for load in chosen_loads(case or []) if not (file and load.write)]
    if not loads:
        raise UsageError("only loads that write were chosen, and those are not run on a file of yours")
    disks = [disk.name for disk in DISKS]
    if rungs or rung:
        disks = [each.name for each in chosen_rungs(rung or [])]
    plan = Plan(loads, disks, rounds, seconds)
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)
    setting = Bench(Lab.open(), kernel, aio, gathering, firmware, qemu)
    with terminated_as_interrupted():
        try:
            if rungs or rung:
                with _prepared(plan, file, console) as (image, work, tell):
                    found = rungs_measured(setting, plan, image, work, tell)
                report_rungs(found, console)
                write_report_file(json_file, found)
                return
            found = _measured(setting, plan, file, console)
            found["stock_pair"] = _stock_pair(setting, plan, console) if pair else []
        except KeyboardInterrupt:
            console.print("stopped; nothing is left behind")
            raise SystemExit(130) from None
    report(found, console)
    write_report_file(json_file, found)
    if strict and not all(bar["met"] for bar in found["bars"]):
        raise SystemExit(1)


def _stock_pair(setting: Bench, plan: Plan, console: Console) -> list[dict[str, Any]]:
    """What one I/O of ibmvscsi against ibmvscsis costs over our own hypervisor, where that was counted."""
    loads = [load for load in WITNESSED if load.name in {each.name for each in plan.loads}]
    if not loads:
        return []
    with (
        console.status("counting the stock pair's hypercalls"),
        scratch("witness") as place,
    ):
        parts = make_parts(setting.lab, setting.kernel, place)
        with own_pair(place, parts, find_qemu(setting.qemu)) as (state, pair):
            pair.boot()
            return [counted(state, pair, load).to_json() for load in loads]


@contextmanager
def _prepared(plan: Plan, file: Path | None, console: Console) -> Iterator[tuple[Image, Path, Callable[[str], None]]]:
    """The pinned file, a place for the guest's files, and who is to be told what runs."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with ExitStack() as stack:
        progress = stack.enter_context(
            Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        )
        path = file or made_image(stack, progress)
        image = stack.enter_context(pinned(path))
        tell_pin(image, console)
        task = progress.add_task("the guest boots", total=len(plan))
        work = stack.enter_context(scratch("guestbench"))
        done = 0

        def tell(what: str) -> None:
            nonlocal done
            progress.update(task, description=what, completed=done)
            done += 1

        yield image, work, tell


def _measured(setting: Bench, plan: Plan, file: Path | None, console: Console) -> dict[str, Any]:
    with _prepared(plan, file, console) as (image, work, tell), setting.stage(image, work) as stage:
        before = image.resident()
        samples = compare(plan, stage, tell)
        summaries = summarize(samples)
        beside = ratios(summaries)
        return {
            "setting": {**stage.setting(), "rounds": plan.rounds, "seconds": plan.seconds},
            "resident": {"before": round(before, 4), "after": round(image.resident(), 4)},
            "commands": {load.name: load.command("DEVICE", plan.seconds) for load in LOADS if load in plan.loads},
            "summary": [row.to_json() for row in summaries],
            "ratios": beside,
            "bars": judged(beside),
            "samples": [row.to_json() for row in samples],
        }
