# SPDX-License-Identifier: Apache-2.0
"""Prices for people: each rung at each price, and who is the fastest from which price on."""

from collections.abc import Sequence
from math import inf
from typing import Any

from rich.console import Console
from rich.table import Table

from virtio_crq.bench.case import Case
from virtio_crq.bench.price import COPIES, HYPERCALLS, Overtaking, fastest, iops, lead_ends
from virtio_crq.bench.results import Point, of, settings

FAR = 10e-6  # seconds a hypercall


def prices(points: Sequence[Point]) -> list[dict[str, Any]]:
    """Every point at every price, for programs."""
    return [
        {
            "case": point.case.name,
            "backing": point.backing,
            "notify": point.notify,
            "rung": point.rung,
            "iops": point.iops,
            "priced": [
                {
                    "hypercall_us": round(call * 1e6, 3),
                    "copy_gb_s": copy / 1e9,
                    "iops": round(iops(point, call, copy), 1),
                }
                for copy in COPIES
                for call in HYPERCALLS
            ],
        }
        for point in points
    ]


def overtakings(points: Sequence[Point]) -> list[dict[str, Any]]:
    """Under each load and rate of copying, who leads from which price of a hypercall on."""
    return [
        {
            "case": case.name,
            "backing": backing,
            "notify": notify,
            "copy_gb_s": copy / 1e9,
            "leads": [
                {"from_us": round(step.hypercall * 1e6, 4), "rung": step.ahead.rung}
                for step in fastest(of(points, case, backing, notify), copy)
            ],
            "ahead_of_peers_to_us": leads_over_peers(of(points, case, backing, notify), copy),
        }
        for case, backing, notify in settings(points)
        for copy in COPIES
    ]


def leads_over_peers(points: Sequence[Point], copy: float) -> dict[str, float | None]:
    """By peer, the price up to which one of ours is faster; None where none is at any price."""
    own = [point for point in points if not point.peer]
    found = {}
    for peer in (point for point in points if point.peer):
        end = max((lead_ends(point, peer, copy) for point in own), default=-1.0)
        found[peer.rung] = round(end * 1e6, 4) if 0 < end < inf else None
    return found


def report(points: Sequence[Point], console: Console) -> None:
    for copy in COPIES:
        console.print(f"\nRequests a second at {copy / 1e9:g} GB/s a copy and so much a hypercall", style="bold")
        console.print(_rates(points, copy))
    console.print("\nThe fastest of our rungs, by the price of a hypercall", style="bold")
    console.print(_leaders(points))


def _rates(points: Sequence[Point], copy: float) -> Table:
    table = _table("measured", *(f"{call * 1e6:g} µs" for call in HYPERCALLS))
    for case, backing, notify in settings(points):
        for point in of(points, case, backing, notify):
            cells = [f"{point.iops:,.0f}", *(f"{iops(point, call, copy):,.0f}" for call in HYPERCALLS)]
            table.add_row(_named(case, backing), notify, point.rung, *cells)
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("case", "notify", "rung"):
        table.add_column(name, no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _named(case: Case, backing: str) -> str:
    return case.name if backing == "file" else f"{case.name} ({backing})"


def _leaders(points: Sequence[Point]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("case", "notify", "copies at", "fastest", "faster than the peer, which pays nothing"):
        table.add_column(name, no_wrap=True)
    for case, backing, notify in settings(points):
        here = of(points, case, backing, notify)
        for copy in COPIES:
            leads = sentence(fastest(here, copy))
            if leads:
                ends = "; ".join(until(name, end) for name, end in leads_over_peers(here, copy).items()) or "–"
                table.add_row(_named(case, backing), notify, f"{copy / 1e9:g} GB/s", leads, ends)
    return table


def sentence(leads: Sequence[Overtaking]) -> str:
    """naive; batched from 0.02 µs; push from 0.4 µs on. What happens at prices that nobody asks is left out."""
    return "; ".join(
        step.ahead.rung + (f" from {step.hypercall * 1e6:.2g} µs" if step.behind else "")
        for step in leads
        if step.hypercall <= FAR
    )


def until(peer: str, end: float | None) -> str:
    return f"never ({peer})" if end is None else f"up to {end:.2g} µs ({peer})"
