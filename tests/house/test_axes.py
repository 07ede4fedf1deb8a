# SPDX-License-Identifier: Apache-2.0
"""An axis's values are strategies behind one seam a side: named in one table, and in no other code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from virtio_crq import axes
from virtio_crq.bench.case import RUNGS
from virtio_crq.client import device
from virtio_crq.client.device import Options
from virtio_crq.dataplane.strategies import STRATEGIES
from virtio_crq.guests import rungs as guests
from virtio_crq.hypervisor.machinerows import PartitionRow
from virtio_crq.hypervisor.machinetables import KEYS
from virtio_crq.vios import explain
from virtio_crq.vios.blockdevice import SERVICES
from virtio_crq.vios.server import Settings

PACKAGE = Path(__file__).parents[2] / "src" / "virtio_crq"
VALUES = {value for axis in axes.AXES for value in axis.values}
QUOTED = re.compile(rf"""(?<!\w)(["'])({"|".join(sorted(map(re.escape, VALUES)))})\1""")  # in a text within a text

# Where a value's name may be written, and why; the documents, the specification and the tests may anyway.
ALLOWED = {
    "axes.py": (VALUES, "the table"),
    "bench/case.py": ({"naive", "batched", "redirect", "packed", "push"}, "the table of presets: these are named so"),
    "dataplane/pool.py": ({"pool"}, "the strategy itself"),
    "dataplane/perrequest.py": ({"per-request"}, "the strategy itself"),
    "dataplane/service.py": ({"copy"}, "what one copy costs"),
    "vios/explain.py": ({"copy"}, "what one copy costs"),
    "cli/disk.py": ({"copy"}, "the command"),
    "cli/demosteps.py": ({"copy"}, "the command"),
    "cli/machine.py": ({"window"}, "of an adapter"),
    "hypervisor/view.py": ({"window"}, "of an adapter"),
    "hypervisor/machinefile.py": ({"window"}, "of an adapter, the key"),
    "hypervisor/machinetables.py": ({"window"}, "of an adapter, the key"),
}


def written(path: Path) -> Iterator[tuple[int, str]]:
    """Names of values that a module writes out, with their lines; what it says of itself is no code."""
    tree = ast.parse(path.read_text())
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield from ((node.lineno, name) for name in {node.value} & VALUES)
            yield from ((node.lineno, name) for _, name in QUOTED.findall(node.value))


def test_a_strategys_name_is_written_in_the_table_and_nowhere_else() -> None:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = str(path.relative_to(PACKAGE))
        allowed, _ = ALLOWED.get(name, (set(), ""))
        there = set(written(path))
        wrong = [f"line {line}: {word}" for line, word in sorted(there) if word not in allowed]
        assert not wrong, f"{name} writes names that virtio_crq.axes has: {', '.join(wrong)}"
        found[name] = {word for _, word in there}
    for name, (words, _) in ALLOWED.items():
        assert found.get(name) == words, f"{name} is allowed {words} and writes {found.get(name)}"


def test_a_name_is_found_by_itself_and_quoted_in_a_longer_text(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        '''"""A "push" that is told of."""\nif fetch == "naive":\n    text = f'data = "redirect" {ring}'\n'''
    )
    assert sorted(written(path)) == [(2, "naive"), (3, "redirect")]


def test_each_value_is_bound_to_its_strategy_at_one_seam_a_side() -> None:
    layouts = {layout for layout, _ in STRATEGIES}
    assert {fetch for _, fetch in STRATEGIES} == set(axes.FETCH.values)
    assert {layout for layout in layouts if not explain.CARRIERS[layout]} == set(axes.RING.values)
    assert {explain.CARRIERS[layout] for layout in layouts} - {""} == set(axes.CARRIER.values)
    assert set(SERVICES) == set(axes.DATA.values)
    assert list(device.MAPPINGS) == list(axes.MAP.values)
    assert [kind.name for kind in device.MAPPINGS.values()] == list(axes.MAP.values)
    assert list(device.CARRIERS) == list(axes.CARRIER.values)
    for seam in (STRATEGIES, SERVICES, device.MAPPINGS, device.CARRIERS):
        assert len(set(seam.values())) == len(seam), "two values are one strategy"


@pytest.mark.parametrize("axis", axes.AXES, ids=lambda axis: axis.name)
def test_an_axis_is_a_key_of_a_partition_and_the_first_value_is_what_runs_by_itself(axis: axes.Axis) -> None:
    assert KEYS["partition"][axis.name] is str
    assert axis.name in PartitionRow.__dataclass_fields__
    assert not axis.client or getattr(Options(), axis.name) == axis.client[0]
    if axis != axes.DATA:  # which goes by the server's adapters
        assert not axis.server or getattr(Settings(), axis.name) == axis.server[0]
    assert set(axis.client) <= set(axis.server) or not axis.server


def test_presets_are_made_of_values() -> None:
    for rung in RUNGS:
        for axis in axes.AXES:
            assert getattr(rung, axis.name) in axis.values, f"{rung.name} has {axis.name} of its own"
    for way in guests.RUNGS:
        assert way.fetch in axes.FETCH.client
        assert way.map in axes.MAP.client
        assert (way.map == axes.POOL) == bool(way.pool_bytes)


def test_no_two_presets_have_a_name_or_axes_in_common() -> None:
    for table in (RUNGS, guests.RUNGS):
        assert len({row.name for row in table}) == len({str(row).partition(", ")[2] for row in table}) == len(table)


def test_a_preset_of_guests_that_is_named_as_one_of_the_bench_is_that_one() -> None:
    """A module's records stand in the window, its rings are split, and how data moves is for its server to say."""
    by_name = {rung.name: rung for rung in RUNGS}
    for way in guests.RUNGS:
        if way.name in by_name:
            same = by_name[way.name]
            assert (way.fetch, way.map, way.lends, way.pool_bytes) == (same.fetch, same.map, False, 0)
            assert (same.ring, same.data, same.carrier) == (axes.SPLIT, axes.COPY, axes.WINDOW)
