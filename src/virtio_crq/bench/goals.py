# SPDX-License-Identifier: Apache-2.0
"""What the copy is to reach, and the row that comes nearest: all figures of one load in one mode are of one row."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from virtio_crq.axes import COPY, REDIRECT

Row = Mapping[str, Any]  # a load on a rung in a mode: medians and ratios, as result files have them


@dataclass(frozen=True)
class Goal:
    """`most`: at most so much is wanted, otherwise at least."""

    what: str
    case: str
    notify: str
    field: str
    goal: float
    stretch: float | None
    data: str = COPY
    most: bool = False

    def met(self, row: Row, limit: float | None = None) -> bool:
        wanted = self.goal if limit is None else limit
        value = row[self.field]
        return value is not None and (value <= wanted if self.most else value >= wanted)

    def nearness(self, row: Row) -> float:
        value = row[self.field]
        return -inf if value is None else -value if self.most else value


PEER, PRICED, RAW = "÷ the peer", "÷ the peer, ours priced", "÷ raw"
CALLS, COPIES, INTERRUPTS = "hypercalls", "hypervisor copies", "interrupts"
GOALS = (
    Goal(PEER, "randread-4k-qd32", "polling", "vs_peer", 1.4, 2.0),
    Goal(PRICED, "randread-4k-qd32", "polling", "priced_vs_peer", 1.0, 1.4),
    Goal(RAW, "randread-4k-qd32", "polling", "vs_raw", 0.5, 0.7),
    Goal(CALLS, "randread-4k-qd32", "polling", "hcalls_per_io", 1.6, 1.2, most=True),
    Goal(COPIES, "randread-4k-qd32", "polling", "copies_per_io", 1.2, 1.0, most=True),
    Goal(PEER, "randread-4k-qd32", "sleeping", "vs_peer", 1.7, 2.5),
    Goal(CALLS, "randread-4k-qd32", "sleeping", "hcalls_per_io", 2.0, 1.2, most=True),
    Goal(COPIES, "randread-4k-qd32", "sleeping", "copies_per_io", 1.2, 1.0, most=True),
    Goal(INTERRUPTS, "randread-4k-qd32", "sleeping", "interrupts_per_io", 0.15, 0.05, most=True),
    Goal(COPIES, "randread-4k-qd32", "polling", "copies_per_io", 0, 0, data=REDIRECT, most=True),
    Goal(PEER, "randread-4k-qd1", "polling", "vs_peer", 1.8, 3.0),
    Goal(PEER, "randread-4k-qd1", "sleeping", "vs_peer", 1.0, 1.5),
    Goal(PEER, "randwrite-4k-qd32", "polling", "vs_peer", 1.5, 2.2),
    Goal(PEER, "seqread-128k-qd8", "polling", "vs_peer", 0.7, 0.9),
    Goal(PEER, "seqread-128k-qd8", "sleeping", "vs_peer", 0.7, 0.9),
    Goal(PEER, "seqread-128k-qd8", "polling", "vs_peer", 1.0, 1.1, data=REDIRECT),
    Goal(PEER, "seqread-128k-qd8", "sleeping", "vs_peer", 1.0, 1.1, data=REDIRECT),
)


@dataclass(frozen=True)
class Reached:
    """What one row has of a goal."""

    goal: Goal
    rung: str
    value: float | None
    verdict: str


def reached(rows: Sequence[Row], data: Callable[[Row], str]) -> list[Reached]:
    """Every goal whose load was measured. `data` says of a row how its data went; a peer's went neither way."""
    found = []
    for goal in GOALS:
        group = [other for other in GOALS if _together(other) == _together(goal)]
        mine = [row for row in rows if (row["case"], row["notify"], data(row)) == _together(goal)]
        if not mine:
            continue
        best = max(mine, key=lambda row: (sum(each.met(row) for each in group), group[0].nearness(row)))
        found.append(Reached(goal, best["rung"], best[goal.field], _verdict(goal, best)))
    return found


def _together(goal: Goal) -> tuple[str, str, str]:
    return goal.case, goal.notify, goal.data


def _verdict(goal: Goal, row: Row) -> str:
    if row[goal.field] is None:
        return "–"
    if not goal.met(row):
        return "missed"
    return "stretch" if goal.stretch is not None and goal.met(row, goal.stretch) else "met"


HEADER = ("load", "both sides", "data", "of one row", "goal", "stretch", "reached", "", "rung")


def cells(found: Reached) -> list[str]:
    goal = found.goal
    sign = "≤" if goal.most else "≥"
    value = "–" if found.value is None else f"{found.value:.2f}"
    stretch = "" if goal.stretch is None else f"{goal.stretch:g}"
    return [
        goal.case, goal.notify, goal.data, goal.what, f"{sign} {goal.goal:g}", stretch, value, found.verdict, found.rung
    ]  # fmt: skip
