# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq bench`: counts and times of one I/O, along the rungs, beside the raw file."""

import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from virtio_crq.bench.case import BACKINGS, CASES, NOTIFIES, POLLING, RUNGS, Case, chosen
from virtio_crq.bench.grammar import cases
from virtio_crq.bench.image import IMAGE_BYTES, Image, fill, pinned, written_by
from virtio_crq.bench.report import report
from virtio_crq.bench.rounds import Sample, in_rounds, middles
from virtio_crq.bench.run import Plan
from virtio_crq.cli.benchmachine import Bench
from virtio_crq.cli.interruption import held_back, terminated_as_interrupted
from virtio_crq.cli.reportfile import check_report_file, write_report_file
from virtio_crq.cli.scratch import SCRATCH
from virtio_crq.cli.tablenames import completed, told
from virtio_crq.cli.version import dataplane
from virtio_crq.client.device import POOL_LIMIT
from virtio_crq.errors import UsageError
from virtio_crq.papr.profiles import DEFAULT, PROFILES
from virtio_crq.vios.mapping import MOST_QUEUES

WIDE = 132
CaseNames = Annotated[
    list[str] | None,
    typer.Option(
        help=f"Only this load (repeatable): {told(CASES)}, or another such as randwrite-16k-qd8.",
        metavar="NAME",
        autocompletion=completed(CASES),
    ),
]
RungNames = Annotated[
    list[str] | None,
    typer.Option(
        help=f"Only this preset (repeatable): {told(RUNGS)}.", metavar="NAME", autocompletion=completed(RUNGS)
    ),
]


def bench(
    context: typer.Context,
    case: CaseNames = None,
    rung: RungNames = None,
    backing: Annotated[list[str] | None, typer.Option(help="file or null (repeatable).", metavar="KIND")] = None,
    notify: Annotated[
        list[str] | None, typer.Option(help="polling, sleeping or at-once (repeatable).", metavar="MODE")
    ] = None,
    seconds: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long each row is measured.", min=0.05, max=3600)
    ] = 2.0,
    rounds: Annotated[int, typer.Option(metavar="N", min=1, help="Measure all so often in turn; show medians.")] = 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all rows there.", metavar="FILE")] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Measure on this file; random writes go to it.")
    ] = None,
    queues: Annotated[
        list[int] | None, typer.Option(metavar="N", min=1, max=MOST_QUEUES, help="Queues of the disk (repeatable).")
    ] = None,
    pool_limit: Annotated[
        int, typer.Option(metavar="BYTES", help="With map=pool: longer data is mapped for its request.", min=0)
    ] = POOL_LIMIT,
    profile: Annotated[
        str, typer.Option(metavar="NAME", help="On this platform: lopar-minimum, power8 or power9.")
    ] = DEFAULT.name,
    interpreted: Annotated[bool, typer.Option("--interpreted", help="Measure an interpreted data plane, too.")] = False,
) -> None:
    """Measure, and count what one I/O costs.

    Without options: all loads on all rungs. A rung is a way of carrying: how rings are fetched, memory mapped, data
    moved. Beside it the raw file, by the better of io_uring and pread, in the same run. Where a machine cannot have
    what a rung asks for, such as sub-CRQs, a line tells; in the file ring, fetch, map and carrier are what ran, and
    asked is what should have run instead.

    Examples:
      virtio-crq bench
      virtio-crq bench --case randread-4k-qd32 --rung batched --rung naive
      virtio-crq bench --case seqread-128k-qd8 --rounds 5 --json rows.json
      virtio-crq bench --case randread-4k-qd32 --rung push-sub-pool --queues 1 --queues 2 --queues 4
    """
    if context.invoked_subcommand is not None:
        return  # one of the verbs below
    if dataplane() != "compiled" and not interpreted:
        raise UsageError(f"the data plane is {dataplane()}; measure it anyway with --interpreted")
    plan = Plan(
        cases=cases(case or []),
        rungs=chosen(RUNGS, rung or [], "rung"),
        backings=words(BACKINGS, backing or [], "backing"),
        notifies=words(tuple(POLLING), notify or NOTIFIES, "notify"),
        seconds=seconds,
        dataplane=dataplane(),
        queues=queues or (1,),
    )
    if profile not in PROFILES:
        raise UsageError(f"profile {profile!r} is not one of {', '.join(PROFILES)}")
    check_report_file(json_file)
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)  # a file or a pipe has no edge at which a table had to be cut
    with terminated_as_interrupted():
        try:
            samples = _measured(plan, rounds, file, console, pool_limit, profile)
        except KeyboardInterrupt:
            console.print("stopped; nothing is left behind")
            raise SystemExit(130) from None
    report(middles(samples), console, profile)
    if rounds > 1:
        console.print(f"\nMedians of {rounds} rounds.", highlight=False)
    write_report_file(json_file, [{**sample.to_json(), "profile": profile} for sample in samples])


def _measured(
    plan: Plan, rounds: int, file: Path | None, console: Console, pool_limit: int, profile: str
) -> list[Sample]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with ExitStack() as stack:
        progress = stack.enter_context(
            Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        )
        image, path = None, SCRATCH
        if "file" in plan.backings:
            path = file or made_image(stack, progress, plan.cases)
            image = stack.enter_context(pinned(path))
            tell_pin(image, console)
        task = progress.add_task("", total=rounds * len(plan))
        done = 0

        def tell(what: str) -> None:
            nonlocal done
            progress.update(task, description=what, completed=done)
            done += 1

        size = image.size if image else IMAGE_BYTES
        machines = Bench(path.absolute(), size, plan.cases, pool_limit, profile)
        return list(in_rounds(plan, rounds, image, machines.stage, tell))


def made_image(stack: ExitStack, progress: Progress, cases: Sequence[Case] = ()) -> Path:
    """A file of our own for these loads, gone afterwards."""
    with held_back():
        directory = Path(tempfile.mkdtemp(prefix="virtio-crq-bench-", dir=SCRATCH))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
    if shutil.disk_usage(directory).free < IMAGE_BYTES * 5 // 4:
        raise UsageError(f"{SCRATCH} has no room for a file of {IMAGE_BYTES >> 20} MiB; name one with --file")
    path = directory / "image"
    task = progress.add_task(f"writing a file of {IMAGE_BYTES >> 20} MiB", total=IMAGE_BYTES >> 20)
    fill(path, IMAGE_BYTES, lambda done: progress.update(task, completed=done >> 20), written_by(cases))
    progress.remove_task(task)
    return path


def tell_pin(image: Image, console: Console) -> None:
    if image.refusal:
        console.print(
            f"{image.path} could not be locked into memory ({image.refusal}); `resident` says what stayed. "
            "Raise the limit with: ulimit -l unlimited",
            soft_wrap=True,
        )


def words(known: Sequence[str], names: Sequence[str], what: str) -> Sequence[str]:
    for name in names:
        if name not in known:
            raise UsageError(f"{what} {name!r} is not one of {', '.join(known)}")
    return names or known
