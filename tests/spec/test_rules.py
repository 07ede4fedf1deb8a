# SPDX-License-Identifier: Apache-2.0
"""Rule names are the same in the specification and in the code, in both directions."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from virtio_crq.conformance.checkout import SPECIFICATION, find_checkout
from virtio_crq.conformance.clauses import read_clauses
from virtio_crq.dataplane import blockdriver, driverring, faults, front, pushfront
from virtio_crq.message.refusal import RULES

CHECKOUT = find_checkout(Path(__file__).parent)
SOURCES = CHECKOUT / "src/virtio_crq"
PARTS = ("client", "crq", "dataplane", "loopback", "message", "vios")
NAME = re.compile(r"[a-z]+(-[a-z]+)+|frame|welcome")
NAMED = re.compile(r"\(((?:`[a-z-]+`(?:, )?)+)\)")
GIVERS = {"DeviceFault", "DriverFault", "guilty", "_guilty", "refuse", "_refuse_request", "count"}
OWN = {
    "arena-full": "the device side's own memory; nobody broke a rule",
    "record-unsaved": "the device side's own disk is full",
}


def given(tree: ast.AST) -> Iterator[str]:
    """Names that a module gives to a fault, a count or a refusal."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
            candidates = node.args[:2] if name in GIVERS else []
        elif isinstance(node, ast.Subscript) and getattr(node.value, "attr", "") in ("refusals", "refused"):
            candidates = [node.slice]
        else:
            continue
        for each in (inner for candidate in candidates for inner in ast.walk(candidate)):
            if isinstance(each, ast.Constant) and isinstance(each.value, str) and NAME.fullmatch(each.value):
                yield each.value


def names_in_code() -> set[str]:
    found = {name for part in PARTS for path in (SOURCES / part).rglob("*.py") for name in given(parsed(path))}
    found |= {rule.name for rule in RULES} | set(faults.RULES)
    return (
        found
        | {name for name, _ in (*driverring.RULES, *front.RULES, *pushfront.RULES)}
        | {name for name, _ in blockdriver.RULES}
    )


def parsed(path: Path) -> ast.AST:
    return ast.parse(path.read_text())


def names_in_specification() -> set[str]:
    clauses = read_clauses((CHECKOUT / SPECIFICATION).read_text()).values()
    groups = [group for clause in clauses for group in NAMED.findall(clause.text)]
    return {name for group in groups for name in re.findall(r"`([a-z-]+)`", group)}


def test_every_rule_of_the_code_stands_in_a_clause() -> None:
    assert names_in_code() - names_in_specification() == set(OWN)


def test_every_rule_of_a_clause_stands_in_the_code() -> None:
    assert names_in_specification() - names_in_code() == set()
