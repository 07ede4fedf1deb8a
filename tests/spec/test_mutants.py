# SPDX-License-Identifier: Apache-2.0
"""The table of mutants fits the code: every row can still be applied, and names tests that are there."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from virtio_crq.conformance.checkout import SPECIFICATION, find_checkout
from virtio_crq.conformance.clauses import read_clauses

CHECKOUT = find_checkout(Path(__file__).parent)
ORDERING = {f"CRQ-D-{number}" for number in (4, 23, 31, 32, 37, 38, 39, 40, 41, 42)} | {
    "CRQ-F-3", "CRQ-F-14", "CRQ-F-16", "CRQ-F-20", "CRQ-F-21", "CRQ-H-2", "CRQ-H-11",
}  # fmt: skip
RING = {f"CRQ-D-{number}" for number in (*range(67, 76), 95, 96)}
SESSION = {f"CRQ-D-{number}" for number in (5, 6, 7, 8, 9, 11, 12, 13, 16, 18, 19, 20)}
CREDITS = {f"CRQ-D-{number}" for number in range(25, 34)} | {"CRQ-D-97", "CRQ-F-15", "CRQ-F-16", "CRQ-F-17", "CRQ-F-36"}
RETURN = {"CRQ-D-82", "CRQ-D-83", "CRQ-D-84", "CRQ-D-85", "CRQ-D-86", "CRQ-D-89"}


def load_tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutants", CHECKOUT / "tools/mutants.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


TOOL = load_tool()
ROWS: list[Any] = TOOL.read_tables()


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_row_changes_its_file_in_one_place_and_names_tests_that_exist(row: Any) -> None:
    text = (CHECKOUT / row.file).read_text()
    broken = row.applied(text)  # ValueError unless each old text occurs once
    assert broken != text
    if row.file.endswith(".py"):
        ast.parse(broken)
    for test in row.tests:
        path, _, name = test.partition("::")
        assert not name or f"def {name}(" in (CHECKOUT / path).read_text(), test


def test_rows_name_clauses_of_the_specification() -> None:
    clauses = read_clauses((CHECKOUT / SPECIFICATION).read_text())
    assert {row.clause for row in ROWS} - set(clauses) == set()


@pytest.mark.parametrize("wanted", [ORDERING, RING, SESSION, CREDITS, RETURN], ids=lambda wanted: min(wanted))
def test_what_matters_most_is_broken_on_purpose(wanted: set[str]) -> None:
    assert wanted - {row.clause for row in ROWS} == set()


def test_a_sample_takes_all_rows_of_its_clauses_and_is_the_same_for_the_same_seed() -> None:
    sample = TOOL.choose(ROWS, None, 10, 7)
    clauses = {row.clause for row in sample}
    assert len(clauses) == 10
    assert sample == [row for row in ROWS if row.clause in clauses] == TOOL.choose(ROWS, None, 10, 7)


@pytest.mark.timeout(300)
def test_no_ordering_rule_can_be_taken_out_unnoticed() -> None:
    """The transport's rules; those of the engine need it built anew: tools/mutants.py runs these, and all others."""
    wanted = [word for clause in sorted(ORDERING) if "-H-" not in clause for word in ("--clause", clause)]
    done = subprocess.run([sys.executable, str(CHECKOUT / "tools/mutants.py"), *wanted], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert ", 0 survived" in done.stdout
