# SPDX-License-Identifier: Apache-2.0
"""Every combination of the copy's axes that a client and a server can negotiate, and which of them a test runs.

Made from the tables of strategies, so that a new value is in every suite by itself: those of `SUITES` in
`tests/house/test_combinations.py`, which fails where one leaves a combination out. Beside each stands what it may meet:
features of the driver's ring, the platform's profile, copies without order, a window with little room. A run of
`./check` takes a few rows of each suite, in which each pair of values is at least once; `CHECK_COMBINATIONS=all` takes
each combination with each pair of what it may meet, or with each value where a suite has hundreds of tests a row.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, astuple, dataclass, fields
from itertools import combinations, product
from typing import Any

import pytest

from virtio_crq.axes import DATA, MAP, RING
from virtio_crq.client.device import Options
from virtio_crq.client.disk import Disk
from virtio_crq.dataplane.sidefront import SideFront
from virtio_crq.dataplane.strategies import STRATEGIES
from virtio_crq.papr.profiles import DEFAULT, PROFILES, profile_named
from virtio_crq.vios.explain import CARRIERS as CARRIER_NAMES
from virtio_crq.virtio import features as bits

# Layouts of records, and what a server's table says beside its `fetch` to have them.
CARRIERS = {"records": "", "paired": 'carrier = "sub-crq"'}
BELOW_RECORDS = ("split",)  # layouts of a driver's ring that a transport reads itself
FEATURES = (bits.INDIRECT_DESC, bits.EVENT_IDX, bits.IN_ORDER)  # of rings, as a client may choose them
WEAK_SEED = 7
NARROW = "5M"  # hardly more than a client asks for to push: fewer requests at a time, and shorter ones
COMBINATIONS = os.environ.get("CHECK_COMBINATIONS", "few")
Row = tuple[str, ...]


@dataclass(frozen=True)
class Combination:
    """The copy's axes first; `carrier` is the layout of a pushed queue's records, and empty where the device reads the
    ring itself. What it may meet follows: an empty value is the ordinary one."""

    ring: str
    fetch: str
    carrier: str
    map: str
    data: str
    tables: str = ""  # "tables": a request is a table of descriptors
    wishes: str = ""  # "flags" in place of EVENT_IDX
    order: str = ""  # "in-order", of packed rings
    window: str = ""  # "narrow"
    copies: str = ""  # "weak": in pieces and in any order
    profile: str = DEFAULT.name

    def __str__(self) -> str:
        return "-".join(filter(None, astuple(self)))

    @property
    def axes(self) -> Row:
        """The copy's, without what it may meet."""
        return tuple(getattr(self, field.name) for field in fields(self) if field.default is MISSING)

    @property
    def platform(self) -> str:
        """Lines for a machine's table."""
        weak = f"weak_copies = {WEAK_SEED}" if self.copies else ""
        return f'profile = "{self.profile}"\n{weak}'

    @property
    def server(self) -> str:
        """Lines for the table of a server's partition, after which a table of the server's may follow."""
        lines = [f'fetch = "{self.fetch}"', f'ring = "{self.ring}"', f'data = "{self.data}"']
        return "\n".join([*lines, CARRIERS.get(self.carrier, "")])

    @property
    def adapter(self) -> str:
        """A line for the table of a client's adapter."""
        return f'window = "{NARROW}"' if self.window else ""

    @property
    def choices(self) -> dict[str, Any]:
        """What a client chooses of `Options`, in a form that can be told to another process."""
        features = {"indirect": bool(self.tables), "event_idx": not self.wishes, "in_order": bool(self.order)}
        return {"ring": self.ring, "map": self.map, **features}

    @property
    def options(self) -> Options:
        return Options(**self.choices)

    def described(self, machine: str, more: str = "", **places: str) -> str:
        """A machine file with its places for platform, server (and `more` of it), adapter and others filled in."""
        server = f"{self.server}\n{more}\n{self.storage()}"
        return machine.format(platform=self.platform, server=server, adapter=self.adapter, **places)

    def storage(self, server: str = "vios1") -> str:
        """What a server needs that redirects; without harm to one that does not."""
        return f'[[storage]]\nserver = "{server}"\nslot = 10\nwindow = "16M"'

    def shown_by(self, disk: Disk) -> None:
        """It is this combination that a client's disk runs, and no other."""
        carrier = "" if not disk.pushed else "paired" if isinstance(disk.front, SideFront) else "records"
        assert (disk.ring_layout, disk.driver.mapping.name, carrier) == (self.ring, self.map, self.carried)
        found = {bits.NAMES[bit] for bit in FEATURES if bits.has(disk.features, bit)}
        assert found == self._features

    def seen_in(self, target: Mapping[str, Any]) -> None:
        """The same by a target of its server's mapping view, which knows nothing of what is mapped how."""
        expected = {"fetch": self.fetch, "data": self.data} | ({} if self.carrier else {"ring": self.ring})
        assert target["carried"].items() >= expected.items(), target["carried"]
        assert target["queues"][0]["carrier"] == CARRIER_NAMES[self.carried or self.ring]
        assert set(target["features"]) & {bits.NAMES[bit] for bit in FEATURES} == self._features

    @property
    def carried(self) -> str:
        """The carrier that it gets: without sub-CRQs, records stand in the window."""
        return self.carrier if profile_named(self.profile).sub_crq or not self.carrier else "records"

    @property
    def _features(self) -> set[str]:
        chosen = {bits.INDIRECT_DESC: self.tables, bits.EVENT_IDX: not self.wishes, bits.IN_ORDER: self.order}
        return {bits.NAMES[bit] for bit, on in chosen.items() if on}


def _negotiable() -> Iterable[Combination]:
    for layout, fetch in sorted(STRATEGIES):
        read = layout in RING.values
        if not read and layout not in CARRIERS:
            continue  # tests/house asks for its row
        for ring, mapping, data in product((layout,) if read else BELOW_RECORDS, MAP.values, DATA.values):
            yield Combination(ring, fetch, "" if read else layout, mapping, data)


NEGOTIABLE = tuple(_negotiable())
PLAIN = Combination("split", "batched", "", "per-request", "copy")
MET = tuple(product(("", "tables"), ("", "flags"), ("", "in-order"), ("", "narrow"), ("", "weak"), PROFILES))


def strategies(*layouts: str) -> list[str]:
    """`LAYOUT-FETCH` of each strategy by which a device serves a queue; of these layouts alone, if any are named."""
    return ["-".join(each) for each in sorted(STRATEGIES) if not layouts or each[0] in layouts]


def ways() -> list[tuple[str, str, bool]]:
    """What a client's queue can be whatever its server does below: ring, map, and whether it is pushed."""
    return sorted({(each.ring, each.map, bool(each.carrier)) for each in NEGOTIABLE})


def groups(row: Row, together: int = 2) -> set[tuple[Any, ...]]:
    """Each so many columns of a row with their values."""
    return set(combinations(enumerate(row), together))


def covering(rows: Sequence[Row], together: int = 2) -> list[Row]:
    """Few of these rows, such that each group of so many values which any row has is in one of them."""
    bit: dict[tuple[Any, ...], int] = {}
    masks = [sum(1 << bit.setdefault(group, len(bit)) for group in groups(row, together)) for row in rows]
    missing = (1 << len(bit)) - 1
    chosen = []
    while missing:
        best = max(range(len(rows)), key=lambda index: (missing & masks[index]).bit_count())
        chosen.append(rows[best])
        missing &= ~masks[best]
    return chosen


def rows_of(combination: Combination, **axes: Sequence[str]) -> list[Row]:
    """The combination with all that it may meet, and each of these values beside."""
    met = [each for each in MET if combination.ring == "packed" or "in-order" not in each]
    return [(*combination.axes, *each, *values) for each in met for values in product(*axes.values())]


def selected(together: int = 2, **axes: Sequence[str]) -> list[Any]:
    """For `parametrize(("combination", AXIS…), selected(AXIS=VALUES…))`: the suite's rows over axes of its own, too.

    Where all are taken, each combination is with each group of so many values of the rest.
    """
    each = [rows_of(combination, **axes) for combination in NEGOTIABLE]
    if COMBINATIONS == "all":
        taken = [row for rows in each for row in covering(rows, together)]
    else:
        taken = covering([row for rows in each for row in rows])
    own = len(fields(Combination))
    return [pytest.param(Combination(*row[:own]), *row[own:], id="-".join(filter(None, row))) for row in taken]
