# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq bench study`: all that docs/copy-study.md shows, measured, drawn and written into the documents."""

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from virtio_crq.bench.image import pinned, written_by
from virtio_crq.bench.study import PARTS, CrowdPart, Part, quick
from virtio_crq.bench.studyfile import Journal
from virtio_crq.bench.studyplot import pictures
from virtio_crq.cli.bench import made_image, tell_pin, words
from virtio_crq.cli.interruption import terminated_as_interrupted
from virtio_crq.cli.storagedaemon import find_daemon
from virtio_crq.cli.studypages import regenerate_pages
from virtio_crq.cli.studystage import StudyMachines
from virtio_crq.cli.version import dataplane
from virtio_crq.errors import UsageError

UNFINISHED = 75  # sysexits.h, EX_TEMPFAIL: call again
WIDE = 132
COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())


def study(
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where results and pictures go.")] = None,
    part: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this part (repeatable).")] = None,
    brief: Annotated[bool, typer.Option("--quick", help="Everything once and briefly: counts hold, times do not.")] = (
        False
    ),
    at_most: Annotated[
        float,
        typer.Option(
            "--for", metavar="SECONDS", help="Stop after so long; the next call goes on.", show_default=False, min=0
        ),
    ] = 0.0,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Measure on this file; random writes go to it.")
    ] = None,
    regenerate: Annotated[
        bool,
        typer.Option("--regenerate", help="Renew the tables of a checkout's documents from docs/study, then stop."),
    ] = False,
) -> None:
    """Measure, count and draw everything of the study of the copy, docs/copy-study.md.

    It takes about ten minutes of a machine that does nothing else. What is measured is kept turn by turn: stopped by
    Ctrl-C or --for, it goes on where it was when it is called again. A part whose result stands is not measured again;
    remove its file in DIR for that. Exit status 75 says that --for is over and something is left.

    Examples:
      virtio-crq bench study --out study
      virtio-crq bench study --out study --part depths --quick
      virtio-crq bench study --regenerate
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)
    if regenerate:
        for path in regenerate_pages():
            console.print(f"renewed: {path}", soft_wrap=True, highlight=False)
        return
    if out is None:
        raise UsageError("where to? name a directory with --out, such as --out docs/study in a checkout")
    if dataplane() != "compiled":
        raise UsageError(f"the data plane is {dataplane()}: its times would say nothing")
    names = words([part.name for part in PARTS], part or [], "part")
    parts = [part for part in (quick(PARTS) if brief else PARTS) if part.name in names]
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out}: {error.strerror}") from None
    with terminated_as_interrupted():
        try:
            left = _measured(parts, out, at_most, file, console)
        except KeyboardInterrupt:
            console.print("stopped; call it again to go on")
            raise SystemExit(130) from None
    if left:
        console.print(f"{left} turns are left; call it again to go on", highlight=False)
        raise SystemExit(UNFINISHED)
    _drawn(out, console)


def _measured(parts: list[Part | CrowdPart], out: Path, at_most: float, file: Path | None, console: Console) -> int:
    """How many turns are left."""
    end = time.monotonic() + at_most if at_most else float("inf")
    journals = [(part, Journal(out, part.name)) for part in parts]
    program = find_peer(console)
    left = {part.name: journal.left(part.turns(bool(program))) for part, journal in journals}
    count = sum(map(len, left.values()))
    if not count:
        return 0
    with ExitStack() as stack:
        progress = stack.enter_context(
            Progress(*COLUMNS, console=console, transient=True, disable=not console.is_terminal)
        )
        files = Files(stack, progress, console, file, program)
        task = progress.add_task("", total=count)
        for part, journal in journals:
            for turn in left[part.name]:
                if time.monotonic() >= end:
                    return count
                progress.update(task, description=f"{part.name} · {turn.name}")
                record = files.machines(part).take(part, turn)
                if "error" in record:
                    console.print(f"{part.name} · {turn.name}: {record['error']}", soft_wrap=True, highlight=False)
                journal.add(turn, record)
                count -= 1
                progress.advance(task)
            if not journal.result.exists():
                journal.finish(part, files.machines(part).setting())
    return count


class Files:
    """Where parts are measured: on `named`, or on files of our own, each made in the manner that its loads want."""

    def __init__(
        self, stack: ExitStack, progress: Progress, console: Console, named: Path | None, program: str
    ) -> None:
        self._stack = stack
        self._progress = progress
        self._console = console
        self._named = named
        self._program = program
        self._made: dict[int, StudyMachines] = {}

    def machines(self, part: Part | CrowdPart) -> StudyMachines:
        cases = part.cases() if isinstance(part, Part) else ()
        unit = 0 if self._named else written_by(cases)
        if unit not in self._made:
            path = (self._named or made_image(self._stack, self._progress, cases)).absolute()
            image = self._stack.enter_context(pinned(path))
            tell_pin(image, self._console)
            self._made[unit] = StudyMachines(path, image, self._program)
        return self._made[unit]


def find_peer(console: Console) -> str:
    """The program of the peer; empty where it is not installed, and said."""
    try:
        return find_daemon()
    except UsageError as error:
        console.print(f"without a peer: {error}", soft_wrap=True, highlight=False)
        return ""


def _drawn(out: Path, console: Console) -> None:
    for path in pictures(out):
        console.print(f"drawn: {path}", soft_wrap=True, highlight=False)
