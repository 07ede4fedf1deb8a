# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq guests witness`: IBM's own drivers over our hypervisor, and what one of their I/Os costs."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from virtio_crq.cli.guestplan import find_qemu
from virtio_crq.cli.interruption import terminated_as_interrupted
from virtio_crq.cli.ownmachine import machine_up
from virtio_crq.cli.reportfile import check_report_file, write_report_file
from virtio_crq.cli.scratch import scratch
from virtio_crq.cli.tables import table
from virtio_crq.errors import UsageError, VirtioCrqError
from virtio_crq.guests.cache import KERNELS, Lab
from virtio_crq.guests.qemu import Qemu
from virtio_crq.guests.witnesschecks import CHECKS, WitnessCheck, healthy
from virtio_crq.guests.witnesscounts import LOADS, Cost, Entry, counted, one_read, purpose
from virtio_crq.guests.witnesses import MACHINE, Pair, Parts, make_parts
from virtio_crq.hypervisor.machinefile import read_machine_file
from virtio_crq.papr.profiles import DEFAULT, PROFILES

FIRST = 2  # so many checks come before the counting, which needs a pair that was not killed yet


def witness(
    kernel: Annotated[str, typer.Option(metavar="NAME", help=f"Of both guests: {', '.join(KERNELS)}.")] = KERNELS[0],
    counts_only: Annotated[bool, typer.Option("--counts", help="Only count; nobody is killed.")] = False,
    trace: Annotated[bool, typer.Option("--trace", help="Show every hypercall of one 4 KiB read.")] = False,
    profile: Annotated[str, typer.Option(metavar="NAME", help=f"{', '.join(PROFILES)}.")] = DEFAULT.name,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the report there.", metavar="FILE")] = None,
    qemu: Annotated[str | None, typer.Option(metavar="PATH", help="The qemu-system-ppc64 to use.")] = None,
) -> None:
    """Let IBM's own drivers testify: ibmvscsi in one guest, ibmvscsis in another, nothing of ours in their kernels.

    Two stock kernels log in to each other over the emulated CRQ, carry a verified file system, reboot and are killed;
    what each driver does then is checked. In between, the engine counts what one of their I/Os costs. It needs what
    ./lab fetches, and takes about a minute. Status 1 when a check failed.

    Examples:
      virtio-crq guests witness
      virtio-crq guests witness --kernel 7.2 --json witness.json
      virtio-crq guests witness --counts --trace
    """
    if kernel not in KERNELS:
        raise UsageError(f"no kernel {kernel!r}: say {', '.join(KERNELS)}")
    if profile not in PROFILES:
        raise UsageError(f"no platform profile {profile!r}; there are {', '.join(PROFILES)}")
    check_report_file(json_file)
    console = Console()
    lab, fit = Lab.open(), find_qemu(qemu)
    with terminated_as_interrupted():
        try:
            with scratch("witness") as place:
                with console.status("making the guests' initial file systems"):
                    parts = make_parts(lab, kernel, place)
                console.print(f"kernel {kernel}: {parts.release}, QEMU {fit.version}, profile {profile}")
                hearing = Hearing(console, parts, profile)
                with own_pair(place, parts, fit, profile) as (state, pair):
                    hearing.hold(state, pair, CHECKS[:FIRST] if counts_only else CHECKS, trace)
        except KeyboardInterrupt:
            console.print("stopped; nothing is left behind")
            raise SystemExit(130) from None
    write_report_file(json_file, hearing.to_json())
    if not hearing.passed:
        raise SystemExit(1)


@contextmanager
def own_pair(work: Path, parts: Parts, qemu: Qemu, profile: str = DEFAULT.name) -> Iterator[tuple[Path, Pair]]:
    """Both guests, not started yet, on a machine of their own; its state directory."""
    file = work / "witness.toml"
    file.write_text(MACHINE.format(name=f"witness-{os.getpid()}", profile=profile))
    with machine_up(read_machine_file(file)) as state, Pair(state, parts, qemu) as pair:
        yield state, pair


class Hearing:
    """The checks in their order, counting after the first two; a check that fails ends it, with both consoles."""

    def __init__(self, console: Console, parts: Parts, profile: str) -> None:
        self._console = console
        self._facts: dict[str, Any] = {"release": parts.release, "profile": profile, "modules": dict(parts.modules)}
        self._checks: list[dict[str, Any]] = []
        self._costs: list[Cost] = []
        self._trace: list[Entry] = []
        self._begun = time.monotonic()

    @property
    def passed(self) -> bool:
        return all(row["result"] == "passed" for row in self._checks)

    def hold(self, state: Path, pair: Pair, checks: Sequence[WitnessCheck], trace: bool) -> None:
        with self._console.status("booting both guests") as status:
            pair.boot(lambda text: status.update(text))
        for number, check in enumerate(checks, 1):
            if not self._one(pair, check):
                return
            if number == FIRST:
                self._count(state, pair, trace)

    def _one(self, pair: Pair, check: WitnessCheck) -> bool:
        begun = time.monotonic()
        try:
            with self._console.status(check.shows):
                detail = check.run(pair)
                healthy(pair)
            result, word = "passed", "passed"
        except VirtioCrqError as error:
            detail, result, word = str(error), "failed", "FAILED"
        seconds = round(time.monotonic() - begun, 1)
        row: dict[str, Any] = {
            "name": check.name,
            "shows": check.shows,
            "result": result,
            "seconds": seconds,
            "detail": detail,
        }
        self._checks.append(row)
        self._say(f"  {word}  {check.name:<15} {seconds:5.1f} s  {detail}")
        if result == "failed":
            consoles = {side.name: side.guest.console.last_lines() for side in (pair.server, pair.client)}
            row["consoles"] = consoles
            for name, lines in consoles.items():
                self._say(*(f"    {name} | {line}" for line in lines))
        return result == "passed"

    def _count(self, state: Path, pair: Pair, trace: bool) -> None:
        with self._console.status("counting") as status:
            for load in LOADS:
                status.update(f"counting {load.name}")
                self._costs.append(counted(state, pair, load))
        header = ("per I/O, both partitions", "calls", "TCE", "signal", "copies", "bytes", "interrupts")
        rows = [
            (
                cost.load,
                *(f"{value:.2f}" for value in (cost.calls, cost.tce_calls, cost.signal_calls, cost.copies)),
                *(f"{cost.bytes:,.0f}", f"{cost.interrupts:.2f}"),
            )
            for cost in self._costs
        ]
        self._say("", *table(header, rows).splitlines(), "")
        if trace:
            self._trace = one_read(state, pair)
            begun = self._trace[0]["time_ns"]
            self._say("one 4 KiB read, microseconds since the first call:", *_lines(self._trace, begun), "")

    def _say(self, *lines: str) -> None:
        for line in lines:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def to_json(self) -> dict[str, Any]:
        return {
            **self._facts,
            "seconds": round(time.monotonic() - self._begun, 1),
            "checks": self._checks,
            "costs": [cost.to_json() for cost in self._costs],
            "trace": [dict(entry) for entry in self._trace],
        }


def _lines(entries: Sequence[Entry], begun: int) -> list[str]:
    """In the order in which the calls ended."""
    return [_line(entry, begun) for entry in entries]


def _line(entry: Entry, begun: int) -> str:
    arguments = ", ".join(f"{name}={value:#x}" for name, value in entry["inputs"].items())
    answer = "" if entry["code"] == "H_SUCCESS" else f" = {entry['code']}"
    time = f"{(entry['time_ns'] - begun) / 1000:>9.1f}"
    return f"{time}  {entry['partition']:<10} {entry['call']:<12} {purpose(entry)}: {arguments}{answer}"
