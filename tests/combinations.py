# SPDX-License-Identifier: Apache-2.0
"""Every combination of the copy's axes that a client and a server can negotiate, and which of them a test runs.

Made from the tables of strategies, so that a new value is in every suite by itself: those of `SUITES` in
`tests/house/test_combinations.py`, which fails where one leaves a combination out. A run of `./check` takes a few
combinations of each suite, in which each pair of values is at least once; `CHECK_COMBINATIONS=all` takes all.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from itertools import combinations, product
from typing import Any

import pytest

from virtio_crq.client.device import MAPPINGS, RINGS, Options
from virtio_crq.dataplane.strategies import STRATEGIES
from virtio_crq.hypervisor.machinerows import DATAS

# Layouts of records, and what a server's table says beside its `fetch` to have them.
CARRIERS = {"records": "", "paired": 'carrier = "sub-crq"'}
BELOW_RECORDS = ("split",)  # layouts of a driver's ring that a transport reads itself
COMBINATIONS = os.environ.get("CHECK_COMBINATIONS", "few")
Row = tuple[str, ...]


@dataclass(frozen=True)
class Combination:
    """`carrier` is the layout of a pushed queue's records, and empty where the device reads the ring itself."""

    ring: str
    fetch: str
    carrier: str
    map: str
    data: str

    def __str__(self) -> str:
        return "-".join(filter(None, astuple(self)))

    @property
    def server(self) -> str:
        """Lines for the table of a server's partition, after which a table of the server's may follow."""
        lines = [f'fetch = "{self.fetch}"', f'ring = "{self.ring}"', f'data = "{self.data}"']
        return "\n".join([*lines, CARRIERS.get(self.carrier, "")])

    @property
    def options(self) -> Options:
        """A client's."""
        return Options(ring=self.ring, map=self.map)

    def storage(self, server: str = "vios1") -> str:
        """What a server needs that redirects; without harm to one that does not."""
        return f'[[storage]]\nserver = "{server}"\nslot = 10\nwindow = "16M"'


def _negotiable() -> Iterable[Combination]:
    for layout, fetch in sorted(STRATEGIES):
        read = layout in RINGS
        if not read and layout not in CARRIERS:
            continue  # tests/house asks for its row
        for ring, mapping, data in product((layout,) if read else BELOW_RECORDS, MAPPINGS, DATAS):
            yield Combination(ring, fetch, "" if read else layout, mapping, data)


NEGOTIABLE = tuple(_negotiable())


def pairs(row: Row) -> set[tuple[Any, ...]]:
    """Each two columns of a row with their values."""
    return set(combinations(enumerate(row), 2))


def covering(rows: Sequence[Row]) -> list[Row]:
    """Few of these rows, such that each pair of values which any row has is in one of them."""
    missing = {pair for row in rows for pair in pairs(row)}
    chosen = []
    while missing:
        best = max(rows, key=lambda row: len(missing & pairs(row)))
        chosen.append(best)
        missing -= pairs(best)
    return chosen


def selected(**axes: Sequence[str]) -> list[Any]:
    """For `parametrize(("combination", AXIS…), selected(AXIS=VALUES…))`: the suite's rows over axes of its own, too."""
    rows = [(*astuple(each), *values) for each in NEGOTIABLE for values in product(*axes.values())]
    taken = rows if COMBINATIONS == "all" else covering(rows)
    return [pytest.param(Combination(*row[:5]), *row[5:], id="-".join(filter(None, row))) for row in taken]
