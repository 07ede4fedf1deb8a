# SPDX-License-Identifier: Apache-2.0
"""What a row of the table says: which clause is broken, when, by what, and what the front-end owes in answer.

GREETING, DISCOVERY    the act interferes with the beginning of the next session
BRING_UP               ... with the bring-up of a device that appears
RUNNING                the act happens in a running session; `held` requests are in flight on its device
RESUMING               the act interferes with the return of a device that has requests in flight
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from virtio_crq.conformance.hostile.server import HostileServer


class Stage(Enum):
    GREETING = "greeting"
    BRING_UP = "bring-up"
    RUNNING = "running"
    RESUMING = "resuming"


class Outcome(Enum):
    """What follows, apart from being counted under one of the act's rules (or logged, which is how a guest counts)."""

    IGNORED = "ignored: session and device go on"
    STOPPED = "this device stops, and no other"
    RESTARTED = "the session is replaced, and all requests end well in the next"
    FAILED = "no session until the next initialization; then all requests end well"
    SURVIVED = "whatever becomes of this device, all else goes on"


class Kind(Enum):
    BLOCK = "block"
    ENTROPY = "entropy"
    PAIRED = "block, pushed by sub-CRQs"  # where the platform has those, too
    PUSHED = "block, pushed"  # for front-ends that push where the server agrees to it
    PACKED = "block, packed"  # for front-ends that take a packed ring where it is offered


Do = Callable[[HostileServer, int], None]


@dataclass(frozen=True)
class Act:
    name: str
    rules: tuple[str, ...]  # the front-end counts one of them; none when there is nothing to count
    clauses: tuple[str, ...]
    stage: Stage
    outcome: Outcome
    do: Do
    held: int = 0
    kind: Kind = Kind.BLOCK
    asks: int = 0  # requests made after the act
    type_rule: bool = False  # of the device type's driver, which a transport under a foreign driver cannot see
    type_counts: bool = False  # the device type's driver has to notice: a transport under a foreign one counts nothing

    def __str__(self) -> str:
        return self.name


ACTS: list[Act] = []


def act(
    name: str,
    rules: str,
    clauses: str,
    stage: Stage = Stage.RUNNING,
    outcome: Outcome = Outcome.IGNORED,
    *,
    held: int = 0,
    kind: Kind = Kind.BLOCK,
    asks: int = 0,
    type_rule: bool = False,
    type_counts: bool = False,
) -> Callable[[Do], Do]:
    """Enter a function into the table. `rules` and `clauses` are words."""

    def enter(do: Do) -> Do:
        words = tuple(rules.split()), tuple(clauses.split())
        ACTS.append(Act(name, *words, stage, outcome, do, held, kind, asks, type_rule, type_counts))
        return do

    return enter
