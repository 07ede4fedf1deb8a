# SPDX-License-Identifier: Apache-2.0
"""Rounds: everything is measured once in each, beginning with another one each time, and medians are what counts.

What else runs on a machine comes and goes; measured in turn, it hits all that is compared alike.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from statistics import median
from typing import Any, TypeVar

from virtio_crq.bench.image import Image
from virtio_crq.bench.row import Row
from virtio_crq.bench.run import Plan, Stages, measure

T = TypeVar("T")
# Of a row's fields, those that a round changes.
MEDIANS = (
    "iops", "mib_per_s", "p50_us", "p99_us", "cpu_us_per_io", "hcalls_per_io", "tce_hcalls_per_io", "copies_per_io",
    "bytes_copied_per_io", "bounce_copies_per_io", "bounce_bytes_per_io", "interrupts_per_io", "batch", "priced_iops",
)  # fmt: skip
IF_ANY = ("resident", "raw_iops", "raw_ratio")  # not every row has them


@dataclass(frozen=True)
class Sample:
    """One row, and the round it was measured in."""

    round: int
    row: Row

    def to_json(self) -> dict[str, Any]:
        return {"round": self.round, **self.row.to_json()}


def rotated(what: Sequence[T], number: int) -> list[T]:
    """Each is the first of a round as often as the others."""
    shift = number % len(what)
    return [*what[shift:], *what[:shift]]


def in_rounds(
    plan: Plan, rounds: int, image: Image | None, stages: Stages, progress: Callable[[str], None]
) -> Iterator[Sample]:
    """The rows of a plan, `rounds` times."""
    for number in range(rounds):
        turned = replace(plan, rungs=rotated(plan.rungs, number))

        def tell(what: str, number: int = number) -> None:
            progress(f"round {number + 1} · {what}" if rounds > 1 else what)

        for row in measure(turned, image, stages, tell):
            yield Sample(number + 1, row)


def middle(rows: Sequence[Row]) -> Row:
    """One row for those of one setting: medians, and all calls of all rounds by name."""
    if len(rows) == 1:
        return rows[0]
    found: dict[str, Any] = {name: round(value, 4) for name, value in medians([vars(row) for row in rows]).items()}
    for name in IF_ANY:
        known = [value for row in rows if (value := getattr(row, name)) is not None]
        found[name] = round(median(known), 4) if known else None
    return replace(rows[0], hcalls=all_calls([row.hcalls for row in rows]), **found)


def medians(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Of what a round changes."""
    return {name: median(row[name] for row in rows) for name in MEDIANS}


def all_calls(rounds: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """The calls of all rounds together, by name."""
    names = sorted({name for calls in rounds for name in calls})
    return {name: sum(calls.get(name, 0) for calls in rounds) for name in names}


def middles(samples: Sequence[Sample]) -> list[Row]:
    """A row for each setting, in the order of the first round; for each carrier that it got, if rounds differ."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in (sample.row for sample in samples):
        groups.setdefault((row.backing, row.case, row.notify, row.name, row.carrier), []).append(row)
    return [middle(rows) for rows in groups.values()]


assert {field.name for field in fields(Row)} >= {*MEDIANS, *IF_ANY}
