# SPDX-License-Identifier: Apache-2.0
"""The comparison with peers for people: one table, what carries over to hardware before what does not."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from virtio_crq.bench.peers import Summary
from virtio_crq.bench.row import COPY_BYTES_PER_SECOND, HYPERCALL_SECONDS

COLUMNS = (
    "calls", "copies", "bytes", "intr", "IOPS", "lowest–highest", "p50 µs", "p99 µs", "CPU µs", "/ peer", "/ raw",
    "priced IOPS", "/ peer",
)  # fmt: skip
NOTE = (
    "Medians of the rounds; ratios are medians of ratios within a round. calls, copies, bytes, interrupts: of the "
    "hypervisor, per I/O, by both partitions; a peer maps its client's memory and has none. Priced: "
    f"{HYPERCALL_SECONDS * 1e6:g} µs a hypercall, {COPY_BYTES_PER_SECOND / 1e9:g} GB/s a copy; the peer pays nothing."
)


def report(
    summaries: Sequence[Summary], raw: Mapping[str, tuple[float, str]], peers: Sequence[str], console: Console
) -> None:
    """A block of rows for each case and mode, the raw file at the end of each case."""
    table = Table(box=None, pad_edge=False)
    for name in ("case", "notify", "rung"):
        table.add_column(name, no_wrap=True)
    for name in COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for case in dict.fromkeys(row.case for row in summaries):
        shown = case
        for notify in dict.fromkeys(row.notify for row in summaries if row.case == case):
            for row in summaries:
                if (row.case, row.notify) == (case, notify):
                    cells = _cells(row, row.rung in peers)
                    table.add_row(shown, notify, row.rung, *cells)
                    shown = ""
        if case in raw:
            rate, engine = raw[case]
            table.add_row("", "", f"raw {engine}", *["–"] * 4, f"{rate:,.0f}", *["–"] * 8)
    console.print(table)
    console.print(f"\n{NOTE}", soft_wrap=True, highlight=False)


def _cells(row: Summary, is_peer: bool) -> list[str]:
    found = row.medians
    counts = ["–"] * 4
    if not is_peer:
        counts = [
            f"{found['hcalls_per_io']:.2f}",
            f"{found['copies_per_io']:.2f}",
            f"{found['bytes_copied_per_io']:,.0f}",
            f"{found['interrupts_per_io']:.3f}",
        ]
    return [
        *counts,
        f"{found['iops']:,.0f}",
        f"{row.lowest:,.0f}–{row.highest:,.0f}",
        f"{found['p50_us']:,.1f}",
        f"{found['p99_us']:,.1f}",
        f"{found['cpu_us_per_io']:.1f}",
        _ratio(None if is_peer else row.vs_peer),
        _ratio(row.vs_raw),
        "–" if is_peer else f"{found['priced_iops']:,.0f}",
        _ratio(None if is_peer else row.priced_vs_peer),
    ]


def _ratio(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f}"
