# SPDX-License-Identifier: Apache-2.0
"""The clauses of the specification and the tests that cite them, found without running anything.

A test cites clauses by `@pytest.mark.clause("CRQ-D-12")` on itself, its class or its module (`pytestmark`). A table of
cases cites them by literal identifiers when the module marks its cases from it (`pytest.mark.clause(row.clause)`).
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from virtio_crq.conformance.checkout import SPECIFICATION, TESTS
from virtio_crq.errors import UsageError

CLAUSE_LINE = re.compile(r"^- \*\*(CRQ-[DFH]-\d+)\*\* (.+)$")
CLAUSE_ID = re.compile(r"CRQ-[DFH]-\d+")


@dataclass
class Clause:
    """One requirement and who tests it (`tests/path.py::name`)."""

    name: str
    text: str
    line: int
    tests: list[str] = field(default_factory=list)


def read_clauses(specification: str) -> dict[str, Clause]:
    """Clauses by name, in the order of the text."""
    clauses: dict[str, Clause] = {}
    for number, line in enumerate(specification.splitlines(), start=1):
        found = CLAUSE_LINE.match(line)
        if not found:
            continue
        name, text = found.groups()
        if name in clauses:
            raise UsageError(f"{SPECIFICATION}:{number}: {name} stands at line {clauses[name].line} already")
        clauses[name] = Clause(name, text, number)
    return clauses


def citations(source: str, path: str) -> Iterator[tuple[str, str]]:
    """(clause, test) for each citation in one test module."""
    try:
        module = ast.parse(source)
    except SyntaxError as error:
        raise UsageError(f"{path}:{error.lineno}: {error.msg}") from error
    has_rows = any(_is_mark(node) and not _literal(node) for node in ast.walk(module))
    for statement in module.body:
        yield from _cited_by(statement, path, has_rows)


def _cited_by(statement: ast.stmt, path: str, has_rows: bool) -> Iterator[tuple[str, str]]:
    if isinstance(statement, ast.ClassDef):
        for clause in _marked(statement.decorator_list):
            yield clause, f"{path}::{statement.name}"
        for inner in statement.body:
            yield from _cited_by(inner, f"{path}::{statement.name}", has_rows)
    elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        for clause in _marked(statement.decorator_list):
            yield clause, f"{path}::{statement.name}"
    elif isinstance(statement, ast.Assign | ast.AnnAssign):
        target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
        name = target.id if isinstance(target, ast.Name) else "table"
        for clause in _marked([statement]):
            yield clause, path if name == "pytestmark" else f"{path}::{name}"
        if has_rows and name != "pytestmark":
            for clause in dict.fromkeys(_identifiers(statement)):
                yield clause, f"{path}::{name}"


def _marked(nodes: list[ast.expr] | list[ast.Assign | ast.AnnAssign]) -> list[str]:
    """Clauses named by literal marks anywhere in `nodes`, so also by the `marks` of a parameter."""
    found: dict[str, None] = {}
    for node in nodes:
        for inner in ast.walk(node):
            if _is_mark(inner):
                assert isinstance(inner, ast.Call)
                for argument in inner.args:
                    found.update(dict.fromkeys(_identifiers(argument)))
    return list(found)


def _is_mark(node: ast.AST) -> bool:
    """Whether `node` is `pytest.mark.clause(...)`."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "clause"
        and isinstance(node.func.value, ast.Attribute)
        and node.func.value.attr == "mark"
    )


def _literal(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and all(isinstance(argument, ast.Constant) for argument in node.args)


def _identifiers(node: ast.AST) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str) and CLAUSE_ID.fullmatch(inner.value):
            yield inner.value


@dataclass
class Coverage:
    """Every clause with its tests, and citations of clauses that the specification does not have."""

    clauses: list[Clause]
    unknown: list[tuple[str, str]]


def coverage(checkout: Path) -> Coverage:
    """Read the specification and every test module of `checkout`."""
    clauses = read_clauses((checkout / SPECIFICATION).read_text())
    unknown = []
    for path in sorted((checkout / TESTS).rglob("*.py")):
        for name, test in citations(path.read_text(), str(path.relative_to(checkout))):
            if name not in clauses:
                unknown.append((name, test))
            elif test not in clauses[name].tests:
                clauses[name].tests.append(test)
    return Coverage(list(clauses.values()), unknown)
