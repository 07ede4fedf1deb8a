# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq bench peers`: our rungs beside a vhost-user back-end, by the same load on the same file."""

import os
import platform
import stat
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from virtio_crq.bench.case import NOTIFIES, RUNGS, chosen
from virtio_crq.bench.grammar import cases
from virtio_crq.bench.image import pinned
from virtio_crq.bench.peerreport import goals_reached, report
from virtio_crq.bench.peers import (
    ANY_BACKEND,
    DEFAULT_POLL,
    PEERS,
    STORAGE_DAEMON,
    Comparison,
    compare,
    raw_rates,
    summarize,
)
from virtio_crq.bench.report import report_instead
from virtio_crq.bench.rounds import Sample
from virtio_crq.cli.bench import WIDE, CaseNames, RungNames, made_image, tell_pin, words
from virtio_crq.cli.benchmachine import Bench
from virtio_crq.cli.interruption import held_back, terminated_as_interrupted
from virtio_crq.cli.peerstage import PeerBench
from virtio_crq.cli.reportfile import check_report_file, write_report_file
from virtio_crq.cli.storagedaemon import AIO, arguments, find_daemon, version
from virtio_crq.cli.version import dataplane
from virtio_crq.errors import UsageError
from virtio_crq.hypervisor.statedirectory import make_own_directory
from virtio_crq.papr.profiles import DEFAULT
from virtio_crq.vios.mapping import MOST_QUEUES


def peers(
    case: CaseNames = None,
    rung: RungNames = None,
    notify: Annotated[list[str] | None, typer.Option(help="polling or sleeping (repeatable).", metavar="MODE")] = None,
    rounds: Annotated[int, typer.Option(metavar="N", min=1, help="How often each load is run on each.")] = 3,
    seconds: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long each row is measured.", min=0.05, max=3600)
    ] = 0.5,
    queues: Annotated[int, typer.Option(metavar="N", min=1, max=MOST_QUEUES, help="Queues of each disk.")] = 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write everything there.", metavar="FILE")] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Measure on this file; random writes go to it.")
    ] = None,
    socket: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Compare with the vhost-user-blk back-end that listens there."),
    ] = None,
    aio: Annotated[str, typer.Option(metavar="KIND", help="How the storage daemon reads: io_uring, threads.")] = AIO[0],
    daemon: Annotated[
        Path | None, typer.Option(metavar="PATH", help="The qemu-storage-daemon to use.", show_default=False)
    ] = None,
) -> None:
    """Compare our rungs with a back-end that maps its client's memory, by vhost-user.

    The peer is QEMU's storage daemon on the same file, held in memory, or whatever listens at --socket. One load
    generator drives all, one after the other in each round. Polling: the front-end looks at the ring, and the daemon's
    iothread polls as long as serves it best (tried first). Sleeping: the front-end sleeps on an eventfd, and the daemon
    is as it comes. What our rungs pay a hypervisor stands beside; the peer pays nothing. All loads on all rungs take
    about seven minutes; a load that decides something deserves --rounds 5 --seconds 2.

    Examples:
      virtio-crq bench peers
      virtio-crq bench peers --case randread-4k-qd32 --case randread-4k-qd1 --rounds 3
      virtio-crq bench peers --socket /run/spdk/vhost.0 --json peers.json
    """
    if aio not in AIO:
        raise UsageError(f"aio {aio!r} is not one of {', '.join(AIO)}")
    comparison = Comparison(
        cases=cases(case or []),
        rungs=chosen(RUNGS, rung or [], "rung"),
        peer=ANY_BACKEND if socket else STORAGE_DAEMON,
        notifies=words(NOTIFIES, notify or [], "notify"),
        rounds=rounds,
        seconds=seconds,
        dataplane=dataplane(),
        queues=queues,
        **({"polls": ()} if socket else {}),
    )
    check_report_file(json_file)
    program = "" if socket else find_daemon(daemon)
    if socket:
        check_socket(socket)
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)
    with terminated_as_interrupted():
        try:
            found = _measured(comparison, PeerChoice(program, aio, socket), file, console)
        except KeyboardInterrupt:
            console.print("stopped; nothing is left behind")
            raise SystemExit(130) from None
    write_report_file(json_file, found)


def check_socket(path: Path) -> None:
    """What is no socket is said at once, not after the first row of ours."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    if not stat.S_ISSOCK(mode):
        raise UsageError(f"{path} is not a socket")


class PeerChoice:
    """Which peer: a program of our starting, or a socket."""

    def __init__(self, program: str, aio: str, socket: Path | None) -> None:
        self.program = program
        self.aio = aio
        self.socket = socket

    def setting(self, queues: int) -> dict[str, Any]:
        if self.socket is not None:
            return {"socket": str(self.socket)}
        places = Path("FILE"), Path("SOCKET"), Path("PIDFILE")
        said = arguments(self.program, *places, self.aio, DEFAULT_POLL, queues)
        return {"version": version(self.program), "aio": self.aio, "cache": "page cache (writeback)", "command": said}


def _measured(comparison: Comparison, choice: PeerChoice, file: Path | None, console: Console) -> dict[str, Any]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with ExitStack() as stack:
        progress = stack.enter_context(
            Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        )
        path = (file or made_image(stack, progress, comparison.cases)).absolute()
        image = stack.enter_context(pinned(path))
        tell_pin(image, console)
        task = progress.add_task("", total=len(comparison))
        done = 0

        def tell(what: str) -> None:
            nonlocal done
            progress.update(task, description=what, completed=done)
            done += 1

        with held_back():
            directory = make_own_directory(f"peers-{os.getpid()}")
            peer = PeerBench(path, directory, comparison.cases, choice.program, choice.aio, choice.socket)
            stack.callback(peer.clear)
        own = Bench(path, image.size, comparison.cases)
        before = image.resident()
        samples, tuned = compare(comparison, image, own.stage, peer.stages, tell)
        found = _found(comparison, choice, samples, tuned)
        found["resident"] = {"before": round(before, 4), "after": round(image.resident(), 4)}
    _tell(comparison, samples, found, console)
    return found


def _found(
    comparison: Comparison, choice: PeerChoice, samples: list[Sample], tuned: list[dict[str, Any]]
) -> dict[str, Any]:
    setting = {
        "peer": comparison.peer.name,
        **choice.setting(comparison.queues),
        "rounds": comparison.rounds,
        "seconds": comparison.seconds,
        "queues": comparison.queues,
        "dataplane": comparison.dataplane,
        "profile": DEFAULT.name,
        "processors": os.cpu_count(),
        "kernel": platform.release(),
    }
    raw = {case: {"iops": round(rate, 1), "engine": engine} for case, (rate, engine) in raw_rates(samples).items()}
    return {
        "setting": setting,
        "tuning": tuned,
        "raw": raw,
        "goals": [asdict(each) for each in goals_reached(summarize(samples, comparison.peer.name))],
        "summary": [row.to_json() for row in summarize(samples, comparison.peer.name)],
        "rows": [sample.to_json() for sample in samples],
    }


def _tell(comparison: Comparison, samples: list[Sample], found: dict[str, Any], console: Console) -> None:
    setting = found["setting"]
    peer = (
        f"{setting['peer']} {setting['version']}, aio={setting['aio']}" if "version" in setting else setting["socket"]
    )
    console.print(
        f"\nPeer: {peer} · {comparison.rounds} rounds of {comparison.seconds:g} s · data plane {setting['dataplane']}"
        f" · platform {setting['profile']}",
        soft_wrap=True,
        highlight=False,
    )
    for case in dict.fromkeys(row["case"] for row in found["tuning"]):
        tried = [f"{row['poll_max_ns']} ns {row['iops']:,.0f}" for row in found["tuning"] if row["case"] == case]
        console.print(f"{case}: poll-max-ns tried, best first: {', '.join(tried)}", soft_wrap=True, highlight=False)
    report(summarize(samples, comparison.peer.name), raw_rates(samples), PEERS, console)
    report_instead((sample.row for sample in samples), console)
    if min(found["resident"].values()) < 1:
        console.print("[bold]The file was not all in memory: compare with care.[/bold]")
