# SPDX-License-Identifier: Apache-2.0
"""The specification holds together: clauses are well formed, tests cite real ones, generated parts are current."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from virtio_crq.cli.application import app
from virtio_crq.conformance.checkout import SPECIFICATION, find_checkout
from virtio_crq.conformance.clauses import citations, coverage, read_clauses
from virtio_crq.conformance.generated import regenerate
from virtio_crq.errors import UsageError
from virtio_crq.message.refusal import RULES, Outcome

CHECKOUT = find_checkout(Path(__file__).parent)
TEXT = (CHECKOUT / SPECIFICATION).read_text()
CLAUSES = read_clauses(TEXT)


def test_every_clause_is_one_sentence_that_demands_something_of_its_role():
    roles = {"D": "device", "F": "front-end", "H": "hypervisor"}
    for clause in CLAUSES.values():
        assert re.search(r"\b(MUST|SHOULD)\b", clause.text), clause.name
        assert clause.text.endswith("."), clause.name
        assert not re.search(r"[a-z)`]\. [A-Z]", clause.text), clause.name
        assert roles[clause.name[4]] in clause.text.split("MUST")[0], clause.name


def test_identifiers_run_without_gaps_from_one_or_from_where_a_subject_has_its_own_ten():
    for role in "DFH":
        numbers = {int(name[6:]) for name in CLAUSES if name[4] == role}
        assert 1 in numbers
        assert [number for number in numbers if number > 1 and number % 10 and number - 1 not in numbers] == []


def test_a_clause_stands_nowhere_but_on_a_line_of_its_own():
    lines = [line for line in TEXT.splitlines() if "**CRQ-" in line]
    assert len(lines) == len(CLAUSES)


def test_every_rule_is_named_by_its_clause():
    for rule in RULES:
        assert f"`{rule.name}`" in CLAUSES[rule.clause].text, rule
        if rule.outcome is Outcome.REFUSED:
            assert "refuse" in CLAUSES[rule.clause].text, rule


def test_tests_cite_only_clauses_that_exist():
    assert coverage(CHECKOUT).unknown == []


def test_every_clause_is_cited_by_a_test():
    assert [clause.name for clause in coverage(CHECKOUT).clauses if not clause.tests] == []


def test_diagrams_and_tables_are_those_of_the_code():
    assert regenerate(TEXT) == TEXT, "run: virtio-crq spec --regenerate"


def test_a_clause_given_twice_is_an_error_with_both_lines():
    with pytest.raises(UsageError, match=r":3: CRQ-D-1 stands at line 1 already"):
        read_clauses("- **CRQ-D-1** A.\n\n- **CRQ-D-1** B.\n")


SAMPLE = """
import pytest
pytestmark = pytest.mark.clause("CRQ-H-1")
ROWS = [("CRQ-D-7", 1), ("see CRQ-D-8", 2)]

@pytest.mark.clause("CRQ-D-1", "CRQ-D-2")
def test_plain(): ...

@pytest.mark.clause("CRQ-F-1")
class TestGroup:
    @pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.clause("CRQ-D-3"))])
    async def test_inner(self, x): ...

@pytest.mark.parametrize("row", [pytest.param(row, marks=pytest.mark.clause(row[0])) for row in ROWS])
def test_rows(row): ...
"""


def test_citations_are_found_wherever_a_mark_may_stand():
    assert set(citations(SAMPLE, "t.py")) == {
        ("CRQ-H-1", "t.py"),
        ("CRQ-D-1", "t.py::test_plain"),
        ("CRQ-D-2", "t.py::test_plain"),
        ("CRQ-F-1", "t.py::TestGroup"),
        ("CRQ-D-3", "t.py::TestGroup::test_inner"),
        ("CRQ-D-7", "t.py::ROWS"),
    }


def test_identifiers_in_a_module_without_row_marks_are_no_citations():
    assert list(citations('WORDS = ["CRQ-D-7"]\n', "t.py")) == []


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["spec", *arguments])
    return result.exit_code, result.output


def test_the_command_lists_clauses_and_tests(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(CHECKOUT)
    code, output = run("--json")
    rows = {row["clause"]: row for row in json.loads(output)}
    assert code == 0
    assert list(rows) == list(CLAUSES)
    assert any(test.startswith("tests/message/test_hostile_driver.py::ACTS") for test in rows["CRQ-D-50"]["tests"])
    code, output = run("--untested", "--json")
    assert [row["clause"] for row in json.loads(output)] == [name for name, row in rows.items() if not row["tests"]]
    code, output = run()
    assert code == 0
    assert f"{len(CLAUSES)} clauses" in output


def test_outside_a_checkout_there_is_one_clear_error(tmp_path: Path):
    with pytest.raises(UsageError, match="no checkout of the repository"):
        find_checkout(tmp_path)
