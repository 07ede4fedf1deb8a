# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq spec`: the clauses of the specification and the tests that cite them."""

import json
from typing import Annotated

import typer

from virtio_crq.conformance.checkout import SPECIFICATION, find_checkout
from virtio_crq.conformance.clauses import Clause, coverage
from virtio_crq.conformance.generated import regenerate


def spec(
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON array.")] = False,
    untested: Annotated[bool, typer.Option("--untested", help="Only clauses that no test cites.")] = False,
    renew: Annotated[
        bool, typer.Option("--regenerate", help="Renew the diagrams and tables that the code generates, then stop.")
    ] = False,
) -> None:
    """Print each clause of the specification with the tests that cite it, and those without any.

    Examples:
      virtio-crq spec
      virtio-crq spec --untested
    """
    checkout = find_checkout()
    if renew:
        path = checkout / SPECIFICATION
        path.write_text(regenerate(path.read_text()))
        return
    found = coverage(checkout)
    shown = [clause for clause in found.clauses if not (untested and clause.tests)]
    if as_json:
        print(json.dumps([{"clause": clause.name, "text": clause.text, "tests": clause.tests} for clause in shown]))
        return
    for clause in shown:
        _show(clause)
    tested = sum(bool(clause.tests) for clause in found.clauses)
    print(f"{len(found.clauses)} clauses, {tested} cited by tests, {len(found.clauses) - tested} without any")
    for name, test in found.unknown:
        print(f"{test} cites {name}, which does not exist")


def _show(clause: Clause) -> None:
    print(f"{clause.name}  {clause.text}")
    for test in clause.tests:
        print(f"    {test}")
    if not clause.tests:
        print("    no test")
