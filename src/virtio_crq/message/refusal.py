# SPDX-License-Identifier: Apache-2.0
"""Why a message was refused: stable rule names, the codes that REFUSED carries, the clause behind each, what follows.

The table of section 13 of the specification is generated from here. Rules that a bus or a device model adds travel as
code `OTHER_RULE` and are counted under their own name.
"""

from dataclasses import dataclass
from enum import Enum

OTHER_RULE = 0xFFFF


class Outcome(Enum):
    """What a violation leads to."""

    DROPPED = "dropped, counted"
    REFUSED = "REFUSED, counted"
    UNCHANGED = "answered with the status unchanged, counted"
    UNAGREED = "answered with revision 0, counted"
    NEEDS_RESET = "DEVICE_NEEDS_RESET, counted"
    CONNECTION = "the connection is reset, counted"


@dataclass(frozen=True)
class Rule:
    name: str
    code: int
    clause: str
    outcome: Outcome


RULES = (
    Rule("message-unknown", 1, "CRQ-D-17", Outcome.REFUSED),
    Rule("message-size", 2, "CRQ-D-18", Outcome.REFUSED),
    Rule("message-direction", 3, "CRQ-D-19", Outcome.DROPPED),
    Rule("device-unknown", 4, "CRQ-D-20", Outcome.REFUSED),
    Rule("session-none", 5, "CRQ-D-5", Outcome.DROPPED),
    Rule("session-stale", 6, "CRQ-D-13", Outcome.DROPPED),
    Rule("hello-repeated", 7, "CRQ-D-6", Outcome.REFUSED),
    Rule("hello-magic", 8, "CRQ-D-7", Outcome.REFUSED),
    Rule("hello-limits", 9, "CRQ-D-8", Outcome.REFUSED),
    Rule("hello-revision", 10, "CRQ-D-9", Outcome.UNAGREED),
    Rule("request-outstanding", 11, "CRQ-D-16", Outcome.REFUSED),
    Rule("devices-window", 12, "CRQ-D-44", Outcome.REFUSED),
    Rule("feature-block", 13, "CRQ-D-47", Outcome.REFUSED),
    Rule("features-refused", 14, "CRQ-D-48", Outcome.UNCHANGED),
    Rule("features-state", 15, "CRQ-D-49", Outcome.REFUSED),
    Rule("status-illegal", 16, "CRQ-D-50", Outcome.UNCHANGED),
    Rule("config-range", 17, "CRQ-D-53", Outcome.REFUSED),
    Rule("config-state", 18, "CRQ-D-56", Outcome.REFUSED),
    Rule("queue-unknown", 19, "CRQ-D-57", Outcome.REFUSED),
    Rule("queue-size", 20, "CRQ-D-58", Outcome.REFUSED),
    Rule("queue-alignment", 21, "CRQ-D-59", Outcome.REFUSED),
    Rule("queue-address", 22, "CRQ-D-60", Outcome.REFUSED),
    Rule("queue-state", 23, "CRQ-D-61", Outcome.REFUSED),
    Rule("queue-reset", 24, "CRQ-D-62", Outcome.REFUSED),
    Rule("ring-budget", 25, "CRQ-D-34", Outcome.REFUSED),
    Rule("reserved-nonzero", 26, "CRQ-D-66", Outcome.REFUSED),
    Rule("resume-state", 27, "CRQ-D-82", Outcome.NEEDS_RESET),
    Rule("resume-identity", 28, "CRQ-D-82", Outcome.NEEDS_RESET),
    Rule("resume-features", 29, "CRQ-D-82", Outcome.NEEDS_RESET),
    Rule("resume-queue", 30, "CRQ-D-83", Outcome.NEEDS_RESET),
    Rule("resume-positions", 31, "CRQ-D-84", Outcome.NEEDS_RESET),
    Rule("announcement-queue", 32, "CRQ-D-30", Outcome.DROPPED),
    Rule("resume-push", 33, "CRQ-D-152", Outcome.NEEDS_RESET),
    Rule("pair-state", 34, "CRQ-D-161", Outcome.REFUSED),
)

_BY_NAME = {rule.name: rule for rule in RULES}
_BY_CODE = {rule.code: rule for rule in RULES}


def code_of(name: str) -> int:
    rule = _BY_NAME.get(name)
    return OTHER_RULE if rule is None else rule.code


def is_answered(name: str) -> bool:
    """Whether a request refused by this rule gets REFUSED for an answer."""
    rule = _BY_NAME.get(name)
    return rule is None or rule.outcome is Outcome.REFUSED


def name_of(code: int) -> str:
    rule = _BY_CODE.get(code)
    return "other" if rule is None else rule.name
