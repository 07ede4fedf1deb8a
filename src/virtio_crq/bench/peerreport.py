# SPDX-License-Identifier: Apache-2.0
"""The comparison with peers for people: first what carries over to hardware, then time, then time with prices."""

from collections.abc import Callable, Mapping, Sequence

from rich.console import Console
from rich.table import Table

from virtio_crq.bench.case import RUNGS
from virtio_crq.bench.goals import HEADER, Reached, cells, reached
from virtio_crq.bench.peers import Summary
from virtio_crq.bench.report import EMULATED, PRICED

COUNTS = (
    "Per I/O, both partitions: hypercalls, copies, bytes, the client's own copies (bounce), interrupts. "
    "A peer maps its client's memory and has none"
)
GOALS = "What was aimed at: all goals of a load in a mode are of one row, and both sides of a ratio are in that mode"
NOTE = "Medians of the rounds; a ratio is the median of the ratios within a round."

Cells = Callable[[Summary], list[str]]


def report(
    summaries: Sequence[Summary], raw: Mapping[str, tuple[float, str]], peers: Sequence[str], console: Console
) -> None:
    """Three tables, with a block of rows for each case and mode; the raw file ends each case of the second."""
    ours = [row for row in summaries if row.rung not in peers]
    _print(console, COUNTS, ["calls", "TCE", "copies", "bytes", "bounce", "intr"], ours, _counts, {})
    times = ["IOPS", "lowest–highest", "p50 µs", "p99 µs", "CPU µs", "/ peer", "/ raw"]
    _print(console, EMULATED, times, summaries, _times, raw)
    priced = f"{PRICED}. The peer pays nothing"
    _print(console, priced, ["IOPS", "/ peer"], summaries, _priced, {})
    _print_goals(console, summaries)
    console.print(f"\n{NOTE}", soft_wrap=True, highlight=False)


def _print_goals(console: Console, summaries: Sequence[Summary]) -> None:
    """Each goal with the row that its figure is of, and the mode that both sides of a ratio are in."""
    found = goals_reached(summaries)
    if not found:
        return
    console.print(f"\n{GOALS}", style="bold", soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for name in HEADER:
        table.add_column(name, no_wrap=True)
    for each in found:
        table.add_row(*cells(each))
    console.print(table)


def goals_reached(summaries: Sequence[Summary]) -> list[Reached]:
    how = {rung.name: rung.data for rung in RUNGS}
    return reached([row.flat() for row in summaries], lambda row: how.get(row["rung"], ""))


def _counts(row: Summary) -> list[str]:
    found = row.medians
    return [
        f"{found['hcalls_per_io']:.2f}",
        f"{found['tce_hcalls_per_io']:.2f}",
        f"{found['copies_per_io']:.2f}",
        f"{found['bytes_copied_per_io']:,.0f}",
        f"{found['bounce_copies_per_io']:.2f}",
        f"{found['interrupts_per_io']:.3f}",
    ]


def _times(row: Summary) -> list[str]:
    found = row.medians
    return [
        f"{found['iops']:,.0f}",
        f"{row.lowest:,.0f}–{row.highest:,.0f}",
        f"{found['p50_us']:,.1f}",
        f"{found['p99_us']:,.1f}",
        f"{found['cpu_us_per_io']:.1f}",
        _ratio(row.vs_peer),
        _ratio(row.vs_raw),
    ]


def _priced(row: Summary) -> list[str]:
    return [f"{row.medians['priced_iops']:,.0f}", _ratio(row.priced_vs_peer)]


def _ratio(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f}"


def _print(
    console: Console,
    title: str,
    columns: Sequence[str],
    rows: Sequence[Summary],
    cells: Cells,
    raw: Mapping[str, tuple[float, str]],
) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("case", "notify", "rung"):
        table.add_column(name, no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for case in dict.fromkeys(row.case for row in rows):
        shown = case
        for row in (row for row in rows if row.case == case):
            table.add_row(shown, row.notify, row.rung, *cells(row))
            shown = ""
        if case in raw:
            rate, engine = raw[case]
            table.add_row("", "", f"raw {engine}", f"{rate:,.0f}", *["–"] * (len(columns) - 1))
    console.print(f"\n{title}", style="bold", soft_wrap=True)
    console.print(table)
