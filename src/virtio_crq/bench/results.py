# SPDX-License-Identifier: Apache-2.0
"""Result files of `bench` and `bench peers`, read again: one point for each load on each rung in each mode."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from statistics import median
from typing import Any

from virtio_crq.bench import grammar
from virtio_crq.bench.case import Case
from virtio_crq.bench.peers import PEERS
from virtio_crq.bench.row import spread
from virtio_crq.errors import UsageError

NUMBERS = (
    "iops", "p50_us", "p99_us", "cpu_us_per_io", "hcalls_per_io", "copies_per_io", "bytes_copied_per_io",
    "bounce_copies_per_io", "interrupts_per_io",
)  # fmt: skip
WORDS = ("case", "rung", "notify", "backing")


@dataclass(frozen=True)
class Point:
    """Medians of all rows of one load on one rung; a peer has no hypervisor that would ask for a price."""

    case: Case
    rung: str
    notify: str
    backing: str
    iops: float
    p50_us: float
    p99_us: float
    cpu_us_per_io: float
    hcalls_per_io: float
    copies_per_io: float
    bytes_copied_per_io: float
    bounce_copies_per_io: float
    interrupts_per_io: float

    @property
    def peer(self) -> bool:
        return self.rung.partition(" ×")[0] in PEERS

    @property
    def label(self) -> str:
        return f"{self.rung}, {self.notify}"


def read(paths: Sequence[Path]) -> list[Point]:
    """The points of all files together."""
    return points([(path, _rows(path)) for path in paths])


def read_all(paths: Sequence[Path]) -> tuple[list[Point], list[Mapping[str, Any]]]:
    """The points of all files together, and apart from them the rows of those that `bench clients` wrote."""
    found = [(path, _rows(path)) for path in paths]
    crowds = [row for _, rows in found for row in rows if "crowd" in row]
    return points([(path, rows) for path, rows in found if not any("crowd" in row for row in rows)]), crowds


def points(files: Sequence[tuple[Path, Sequence[Mapping[str, Any]]]]) -> list[Point]:
    for path, rows in files:
        for number, row in enumerate(rows):
            _check(path, number, row)
    rows = [row for _, rows in files for row in rows]
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["case"], _name(row), row["notify"], row["backing"]), []).append(row)
    return [_point(key, group) for key, group in groups.items()]


def _name(row: Mapping[str, Any]) -> str:
    return spread(row["rung"], row.get("queues", 1))


def _point(key: tuple[str, ...], rows: Sequence[Mapping[str, Any]]) -> Point:
    name, rung, notify, backing = key
    medians = {number: float(median(row[number] for row in rows)) for number in NUMBERS}
    return Point(grammar.case(name), rung, notify, backing, **medians)


def _rows(path: Path) -> Sequence[Mapping[str, Any]]:
    """A list of rows, as `bench --json` writes it, or something that has one as `rows`."""
    try:
        found = json.loads(path.read_text())
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except ValueError:
        raise UsageError(f"{path} is no JSON") from None
    rows = found.get("rows") if isinstance(found, dict) else found
    if not isinstance(rows, list) or not rows:
        raise UsageError(f"{path} has no rows: it is not of `bench --json` or `bench peers --json`")
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise UsageError(f"{path}, row {number} is not an object")
    return rows


def _check(path: Path, number: int, row: Mapping[str, Any]) -> None:
    where = f"{path}, row {number}"
    for word in WORDS:
        if not isinstance(row.get(word), str):
            raise UsageError(f"{where}: {word} is not a text")
    for name in NUMBERS:
        value = row.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not isfinite(value) or value < 0:
            raise UsageError(f"{where}: {name} is not a number of 0 or more")
    queues = row.get("queues", 1)
    if not isinstance(queues, int) or queues < 1:
        raise UsageError(f"{where}: queues is not a number of 1 or more")
    if row["iops"] == 0:
        raise UsageError(f"{where}: iops is 0")
    grammar.case(row["case"])


def settings(points: Sequence[Point]) -> list[tuple[Case, str, str]]:
    """What can be compared with each other: load, backing and mode, in the order of the files."""
    return list(dict.fromkeys((point.case, point.backing, point.notify) for point in points))


def of(points: Sequence[Point], case: Case, backing: str, notify: str) -> list[Point]:
    return [point for point in points if (point.case, point.backing, point.notify) == (case, backing, notify)]
