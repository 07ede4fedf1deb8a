# SPDX-License-Identifier: Apache-2.0
"""The guest's transport counts under the specification's rule names, each of them once."""

import re
from pathlib import Path

from virtio_crq.conformance.checkout import SPECIFICATION, find_checkout
from virtio_crq.conformance.clauses import read_clauses

CHECKOUT = find_checkout(Path(__file__).parent)
MODULE = CHECKOUT / "linux/virtio_crq"
OWN = {"partner-away": "how long its drivers shall wait for a partner; nobody broke a rule"}


def test_every_rule_of_the_module_stands_in_a_clause() -> None:
    names = re.findall(r'\[VCRQ_RULE_\w+\] = "([a-z-]+)"', (MODULE / "rules.c").read_text())
    clauses = read_clauses((CHECKOUT / SPECIFICATION).read_text()).values()
    specified = {name for clause in clauses for name in re.findall(r"`([a-z-]+)`", clause.text)}
    assert len(names) == len(set(names))
    assert set(names) - specified == set(OWN)


def test_every_rule_has_a_name_and_is_used() -> None:
    rules = set(re.findall(r"^\t(VCRQ_RULE_\w+),$", (MODULE / "rules.h").read_text(), re.MULTILINE))
    named = set(re.findall(r"\[(VCRQ_RULE_\w+)\]", (MODULE / "rules.c").read_text()))
    code = "".join(path.read_text() for path in sorted(MODULE.glob("*.c")) if path.name != "rules.c")
    assert rules == named
    # The outcomes between the first and the last are reached by number.
    by_number = {"VCRQ_RULE_RESUME_FEATURES", "VCRQ_RULE_RESUME_STATE", "VCRQ_RULE_RESUME_QUEUE"}
    assert {rule for rule in rules if rule not in code} == by_number
