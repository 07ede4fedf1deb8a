# SPDX-License-Identifier: Apache-2.0
"""No combination that can be negotiated is missing from a suite of hostile, kill, weak-copy or verify tests."""

import os
import re
import subprocess
import sys
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import fields
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from combinations import BELOW_RECORDS, CARRIERS, NEGOTIABLE, Combination, Row, covering, groups, rows_of, selected
from virtio_crq.axes import DATA, FETCH, MAP, RING
from virtio_crq.bench.case import RUNGS
from virtio_crq.cli.clientpartition import connects
from virtio_crq.cli.serving import places
from virtio_crq.client.client import Client
from virtio_crq.client.device import Options
from virtio_crq.dataplane.strategies import STRATEGIES
from virtio_crq.hypervisor.machine import Machine
from virtio_crq.hypervisor.machinefile import parse_machine_file
from virtio_crq.hypervisor.machinerows import MachineFile
from virtio_crq.papr.profiles import PROFILES
from virtio_crq.vios.mapping import MapEntry
from virtio_crq.vios.server import Server, Settings
from virtio_crq.virtio import features as bits

ROOT = Path(__file__).parents[2]

# What runs over combinations: system tests over all of them, those of rings over what a queue can be.
SUITES = (
    "system/test_kill.py::test_kills_lose_nothing",
    "system/test_killed_inside.py::test_a_client_killed_at_any_point_harms_nobody_and_comes_back",
    "system/test_server_killed_inside.py::test_a_server_killed_at_any_point_loses_nothing_of_anybody",
    "system/test_integrity.py::test_fio_reads_back_what_it_wrote_and_the_image_holds_the_same",
    "system/test_integrity.py::test_soak_fio_stays_clean_while_the_server_is_killed_again_and_again",
    "system/test_hostile_client.py::test_each_act_ends_as_its_clause_says",
)
MANY = SUITES[-1:]  # with a test for each act in a row: each combination has each value of the rest, but not each pair


def collected(which: str) -> list[str]:
    """The tests of all suites, as pytest names them."""
    modules = sorted({f"tests/{suite.partition('::')[0]}" for suite in SUITES})
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "", "-p", "no:xdist", *modules],
        cwd=ROOT, env=os.environ | {"CHECK_COMBINATIONS": which}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def ran(suite: str, tests: Sequence[str]) -> list[list[Row]]:
    """For each combination, its rows in the suite; the name of a test begins with its row."""
    ids = sorted(test.partition("[")[2] for test in tests if test.startswith(f"tests/{suite}["))

    def runs(row: Row) -> bool:
        name = str(Combination(*row))
        place = bisect_left(ids, name)
        return place < len(ids) and ids[place].startswith(name)

    return [list(filter(runs, rows_of(each))) for each in NEGOTIABLE]


def test_every_suite_runs_every_combination_that_can_be_negotiated_with_what_it_may_meet() -> None:
    tests = collected("all")
    for suite in SUITES:
        together = 1 if suite in MANY else 2
        for each, rows in zip(NEGOTIABLE, ran(suite, tests), strict=True):
            missing = every(rows_of(each), together) - every(rows, together)
            assert missing == set(), f"{suite} has no {each} with {missing}"


def test_an_ordinary_run_has_each_pair_of_values_in_every_suite() -> None:
    tests = collected("few")
    wanted = every([row for each in NEGOTIABLE for row in rows_of(each)])
    for suite in SUITES:
        missing = wanted - every([row for rows in ran(suite, tests) for row in rows])
        assert missing == set(), f"{suite} has no row with {missing}"


def every(rows: Sequence[Row], together: int = 2) -> set[tuple[Any, ...]]:
    return {group for row in rows for group in groups(row, together)}


def test_few_rows_have_every_pair() -> None:
    rows: list[Row] = list(product("ab", "cde", "fg", "hi"))
    few = covering(rows)
    assert every(few) == every(rows)
    assert len(few) <= 8
    assert len(selected()) < len(NEGOTIABLE) or os.environ.get("CHECK_COMBINATIONS") == "all"


def test_the_table_has_every_strategy_and_every_rung() -> None:
    assert {layout for layout, _ in STRATEGIES} <= {*RING.values, *CARRIERS}, (
        "name what a server says for it in CARRIERS"
    )
    assert {(each.carrier or each.ring, each.fetch) for each in NEGOTIABLE} == set(STRATEGIES)
    axes = {(each.ring, each.fetch, each.map, each.data) for each in NEGOTIABLE}
    assert {(rung.ring, rung.fetch, rung.map, rung.data) for rung in RUNGS} <= axes


MACHINE = """
[machine]
name = "pair"
[partition.vios1]
memory = "16M"
{server}
[partition.web1]
memory = "16M"
[[adapter]]
client = "web1"
slot = 2
server = "vios1"
[[map]]
client = "web1"
target = "root"
backing = "file:root.img"
"""


def agreed(directory: Path, asked: Combination) -> tuple[str, str, bool, bool]:
    """Ring, map, whether it is pushed and whether in order, as a client and a server have it that both ask for this."""
    text = asked.described(MACHINE)
    content: MachineFile = parse_machine_file(text, directory / "machine.toml")
    machine = Machine(content.definition())
    try:
        with machine.attach("vios1") as home, machine.attach("web1") as partition:
            server = Server(
                places(content, "vios1", home, data=asked.data),
                [MapEntry(row.client, row.target, row.backing) for row in content.maps],
                Settings(directory, workers=1, polling=0, fetch=asked.fetch, data=asked.data, ring=asked.ring),
            )
            server.start()
            try:
                with Client(connects(partition), asked.options) as client:
                    disk = client.disk("root")
                    disk.write(0, b"x" * 4096)
                    in_order = bits.has(disk.features, bits.IN_ORDER)
                    return disk.ring_layout, disk.driver.mapping.name, disk.pushed, in_order
            finally:
                server.close()
    finally:
        machine.close()


@pytest.mark.parametrize(("ring", "fetch"), list(product(RING.server, FETCH.server)))
def test_what_two_sides_agree_on_is_in_the_table_and_nothing_else_is(tmp_path: Path, ring: str, fetch: str) -> None:
    (tmp_path / "root.img").write_bytes(bytes(1 << 20))
    rows = [Combination(*row) for each in NEGOTIABLE for row in rows_of(each) if each.fetch == fetch]
    listed = {(row.ring, row.map, bool(row.carrier), bool(row.order)) for row in rows}
    for mapping, data, order in product(MAP.client, DATA.server, ("", "in-order")):
        asked = Combination(ring, fetch, "", mapping, data, order=order)
        layout, kind, pushed, in_order = agreed(tmp_path, asked)
        assert (layout, kind, pushed, in_order) in listed, "this can be negotiated, and is in no suite"
        assert in_order == bool(order and (ring, kind, pushed, True) in listed)
        assert ((ring, kind, pushed, in_order) in listed) == (layout == ring), f"BELOW_RECORDS is {BELOW_RECORDS}"


def test_what_a_client_may_turn_on_or_off_is_in_the_table() -> None:
    switches = {field.name for field in fields(Options) if isinstance(field.default, bool)}
    for name in switches:
        values = {Combination(*row).choices[name] for each in NEGOTIABLE for row in rows_of(each)}
        assert values == {False, True}, f"{name} of a client's options is always {values}"
    profiles = {Combination(*row).profile for each in NEGOTIABLE for row in rows_of(each)}
    assert profiles == set(PROFILES)


# Per suite of rings, what its tests take from `strategies()` and `ways()`, which have a new value by themselves.
BY_HAND = {"dataplane": "split|packed|naive|batched|push", "client": "split|packed|per-request|pool"}


@pytest.mark.parametrize("suite", BY_HAND)
def test_no_suite_of_rings_chooses_strategies_by_hand(suite: str) -> None:
    listed = re.compile(
        rf'(?:parametrize|fixture)\([^\]]*\[\(?"(?:{BY_HAND[suite]})\b|\w+ = \[\("(?:{BY_HAND[suite]})"'
    )
    for path in (ROOT / "tests" / suite).glob("test_*.py"):
        found = [each[0] for each in listed.finditer(path.read_text())]
        assert not found, f"{path.name}: {found}"
