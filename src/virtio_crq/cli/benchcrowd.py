# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq bench clients`: what many clients of one server get together, beside one that has it for itself."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from virtio_crq.bench.case import BACKINGS, CROWDED, POLLING, RUNGS
from virtio_crq.bench.case import chosen as rungs
from virtio_crq.bench.crowd import CROWDS, CrowdPlan, CrowdRow, chosen, measure, medians
from virtio_crq.bench.image import IMAGE_BYTES, pinned
from virtio_crq.cli.bench import made_image, tell_pin, words
from virtio_crq.cli.crowdmachine import CrowdMachines
from virtio_crq.cli.interruption import terminated_as_interrupted
from virtio_crq.cli.reportfile import check_report_file, write_report_file
from virtio_crq.cli.tablenames import completed, told

WIDE = 132


def clients(
    crowd: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Only this crowd (repeatable): {told(CROWDS)}.", metavar="NAME", autocompletion=completed(CROWDS)
        ),
    ] = None,
    rung: Annotated[
        str,
        typer.Option(help=f"The preset to measure on: {told(RUNGS)}.", metavar="NAME", autocompletion=completed(RUNGS)),
    ] = CROWDED,
    backing: Annotated[str, typer.Option(help="file or null.", metavar="KIND")] = "file",
    notify: Annotated[str, typer.Option(help="polling, sleeping or at-once.", metavar="MODE")] = "sleeping",
    workers: Annotated[int, typer.Option(metavar="N", help="Threads of the server; 0: one for each core.", min=0)] = 1,
    rounds: Annotated[int, typer.Option(metavar="N", help="How often; the table has medians.", min=1)] = 3,
    seconds: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long each row is measured.", min=0.05, max=3600)
    ] = 1.0,
    apart: Annotated[bool, typer.Option("--apart", help="Each client that works is a process of its own.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all rows there.", metavar="FILE")] = None,
) -> None:
    """Measure crowds: many clients on one server, each a partition with a disk of its own.

    16 clients with much in flight, and with little, are set against one client that has the server for itself; 64 that
    ask for nothing show what it costs to have them. One thread drives all clients of a crowd and looks at each in turn,
    so that the server is what is measured; --apart has them compete for cores, each a process.

    Examples:
      virtio-crq bench clients
      virtio-crq bench clients --crowd 16-qd2 --workers 1 --notify polling
      virtio-crq bench clients --crowd 16-qd2 --apart
      virtio-crq bench clients --crowd 64-idle --json idle.json
    """
    plan = CrowdPlan(
        crowds=chosen(crowd or []),
        rung=rungs(RUNGS, [rung], "rung")[0].name,
        notify=words(tuple(POLLING), [notify], "notify")[0],
        workers=workers,
        seconds=seconds,
        rounds=rounds,
    )
    words(BACKINGS, [backing], "backing")
    check_report_file(json_file)
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)
    with terminated_as_interrupted():
        try:
            rows = _measured(plan, backing, apart, console)
        except KeyboardInterrupt:
            console.print("stopped; nothing is left behind")
            raise SystemExit(130) from None
    console.print(_table(medians(rows)))
    write_report_file(json_file, [row.to_json() for row in rows])


def _measured(plan: CrowdPlan, backing: str, apart: bool, console: Console) -> list[CrowdRow]:
    with ExitStack() as stack:
        progress = stack.enter_context(Progress(console=console, transient=True, disable=not console.is_terminal))
        path, size = None, IMAGE_BYTES
        if backing == "file":
            path = made_image(stack, progress)
            image = stack.enter_context(pinned(path))
            tell_pin(image, console)
            size = image.size
        task = progress.add_task("", total=len(plan.crowds) * plan.rounds)
        rung = next(row for row in RUNGS if row.name == plan.rung)
        machines = CrowdMachines(path, size, rung, plan.notify, plan.workers, apart)
        return list(measure(plan, machines.stage, lambda what: progress.update(task, description=what, advance=1)))


def _table(rows: list[CrowdRow]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("crowd", no_wrap=True)
    for name in ("IOPS", "of one", "goal", "slowest", "calls", "copies", "intr", "server CPU", "MiB each"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.crowd,
            f"{row.iops:,.0f}" if row.load else "–",
            _number(row.ratio),
            _number(row.goal),
            _number(row.slowest if row.load else None),
            _number(row.hcalls_per_io),
            _number(row.copies_per_io),
            _number(row.interrupts_per_io),
            f"{row.server_cpu:.4f}",
            f"{row.server_mib_per_client:.2f}",
        )
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
