# SPDX-License-Identifier: Apache-2.0
"""Rows for people: first what carries over to hardware, then time in the emulator, then time with the prices added."""

from collections.abc import Callable, Iterable, Sequence

from rich.console import Console
from rich.table import Table

from virtio_crq.bench.row import COPY_BYTES_PER_SECOND, HYPERCALL_SECONDS, Row

Cells = Callable[[Row], list[str]]

COUNTS = (
    "Per I/O, both partitions: hypercalls (of these TCE), copies, bytes, the client's own copies (bounce), interrupts: "
    "what carries over to hardware"
)
EMULATED = "Time in the emulator, where a hypercall is a function call"
PRICED = f"Time with prices: {HYPERCALL_SECONDS * 1e6:g} µs a hypercall, {COPY_BYTES_PER_SECOND / 1e9:g} GB/s a copy"


def report(rows: Sequence[Row], console: Console, platform: str = "") -> None:
    """The three tables of each backing, on the platform of that profile."""
    for backing in dict.fromkeys(row.backing for row in rows):
        chosen = [row for row in rows if row.backing == backing]
        where = f" · platform {platform}" if platform else ""
        console.print(f"\n[bold]backing {backing}[/bold] · data plane {chosen[0].dataplane}{where}")
        _print(console, COUNTS, ["calls", "TCE", "copies", "bytes", "bounce", "intr", "batch"], chosen, _counts)
        _print(console, EMULATED, ["IOPS", "MiB/s", "p50 µs", "p99 µs", "CPU µs", "raw", "ratio"], chosen, _times)
        _print(console, PRICED, ["IOPS"], chosen, lambda row: [f"{row.priced_iops:,.0f}"])
    report_instead(rows, console)
    if any(row.resident is not None and row.resident < 1 for row in rows):
        console.print(
            "[bold]The file was not all in memory during some rows (`resident` below 1): compare with care.[/bold]"
        )


def report_instead(rows: Iterable[Row], console: Console) -> None:
    """Where something else ran than the rung asked for."""
    for said in dict.fromkeys(_instead(row) for row in rows if row.asked):
        console.print(f"[bold]{said}[/bold]", soft_wrap=True, highlight=False)


def _instead(row: Row) -> str:
    axes = (f"{axis} {getattr(row, axis) or 'none'} instead of {value}" for axis, value in row.asked.items())
    return f"{row.name} ran with {', '.join(axes)}"


def _counts(row: Row) -> list[str]:
    return [
        f"{row.hcalls_per_io:.2f}",
        f"{row.tce_hcalls_per_io:.2f}",
        f"{row.copies_per_io:.2f}",
        f"{row.bytes_copied_per_io:,.0f}",
        f"{row.bounce_copies_per_io:.2f}",
        f"{row.interrupts_per_io:.3f}",
        f"{row.batch:.1f}",
    ]


def _times(row: Row) -> list[str]:
    raw = ["–", "–"]
    if row.raw_iops is not None and row.raw_ratio is not None:
        raw = [f"{row.raw_iops:,.0f}", f"{row.raw_ratio:.3f}"]
    times = [f"{row.p50_us:,.1f}", f"{row.p99_us:,.1f}", f"{row.cpu_us_per_io:.1f}"]
    return [f"{row.iops:,.0f}", f"{row.mib_per_s:,.0f}", *times, *raw]


def _print(console: Console, title: str, columns: Sequence[str], rows: Sequence[Row], cells: Cells) -> None:
    console.print(f"\n{title}", style="bold", soft_wrap=True)  # a table's own title is folded to the table's width
    console.print(_table(columns, rows, cells))


def _table(columns: Sequence[str], rows: Sequence[Row], cells: Cells) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("case", "rung", "notify"):
        table.add_column(name, no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    previous = ""
    for row in rows:
        table.add_row(row.case if row.case != previous else "", row.name, row.notify, *cells(row))
        previous = row.case
    return table
