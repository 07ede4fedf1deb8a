# SPDX-License-Identifier: Apache-2.0
"""No combination that can be negotiated is missing from a suite of hostile, kill, weak-copy or verify tests."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import astuple
from itertools import product
from pathlib import Path

import pytest

from combinations import BELOW_RECORDS, CARRIERS, NEGOTIABLE, Combination, Row, covering, pairs, selected
from virtio_crq.bench.case import RUNGS
from virtio_crq.cli.clientpartition import connects
from virtio_crq.cli.serving import places
from virtio_crq.client.client import Client
from virtio_crq.client.device import MAPPINGS, RINGS, Options
from virtio_crq.dataplane.strategies import STRATEGIES
from virtio_crq.hypervisor.machine import Machine
from virtio_crq.hypervisor.machinefile import parse_machine_file
from virtio_crq.hypervisor.machinerows import DATAS, FETCHES, MachineFile
from virtio_crq.vios.mapping import MapEntry
from virtio_crq.vios.server import Server, Settings

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


def collected(which: str) -> list[str]:
    """The tests of all suites, as pytest names them."""
    modules = sorted({f"tests/{suite.partition('::')[0]}" for suite in SUITES})
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "", "-p", "no:xdist", *modules],
        cwd=ROOT, env=os.environ | {"CHECK_COMBINATIONS": which}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def names(suite: str, tests: Sequence[str]) -> str:
    return "\n".join(test for test in tests if test.startswith(f"tests/{suite}["))


def test_every_suite_runs_every_combination_that_can_be_negotiated() -> None:
    tests = collected("all")
    missing = [f"{suite}: {each}" for suite in SUITES for each in NEGOTIABLE if str(each) not in names(suite, tests)]
    assert missing == []


def test_an_ordinary_run_has_each_pair_of_values_in_every_suite() -> None:
    tests = collected("few")
    for suite in SUITES:
        found = names(suite, tests)
        ran = {pair for each in NEGOTIABLE if str(each) in found for pair in pairs(astuple(each))}
        missing = {pair for each in NEGOTIABLE for pair in pairs(astuple(each))} - ran
        assert missing == set(), f"{suite} has no combination with {missing}"


def test_few_rows_have_every_pair() -> None:
    rows: list[Row] = list(product("ab", "cde", "fg", "hi"))
    few = covering(rows)
    assert {pair for row in few for pair in pairs(row)} == {pair for row in rows for pair in pairs(row)}
    assert len(few) <= 8
    assert len(selected()) < len(NEGOTIABLE) or os.environ.get("CHECK_COMBINATIONS") == "all"


def test_the_table_has_every_strategy_and_every_rung() -> None:
    assert {layout for layout, _ in STRATEGIES} <= {*RINGS, *CARRIERS}, "name what a server says for it in CARRIERS"
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


def agreed(directory: Path, asked: Combination) -> tuple[str, str, bool]:
    """Ring, map and whether it is pushed, as a client and a server have it that both ask for this combination."""
    text = MACHINE.format(server=f"{asked.server}\n{asked.storage()}")
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
                with Client(connects(partition), Options(ring=asked.ring, map=asked.map)) as client:
                    disk = client.disk("root")
                    disk.write(0, b"x" * 4096)
                    return disk.ring_layout, disk.driver.mapping.name, disk.pushed
            finally:
                server.close()
    finally:
        machine.close()


@pytest.mark.parametrize(("ring", "fetch"), list(product(RINGS, FETCHES)))
def test_what_two_sides_agree_on_is_in_the_table_and_nothing_else_is(tmp_path: Path, ring: str, fetch: str) -> None:
    (tmp_path / "root.img").write_bytes(bytes(1 << 20))
    for mapping, data in product(MAPPINGS, DATAS):
        asked = Combination(ring, fetch, "", mapping, data)
        layout, kind, pushed = agreed(tmp_path, asked)
        listed = {(each.ring, each.map, bool(each.carrier)) for each in NEGOTIABLE if each.fetch == fetch}
        assert (layout, kind, pushed) in listed, "this can be negotiated, and is in no suite"
        assert ((ring, kind, pushed) in listed) == (layout == ring), f"BELOW_RECORDS is {BELOW_RECORDS}"
