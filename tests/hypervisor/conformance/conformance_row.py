# SPDX-License-Identifier: Apache-2.0
"""A row of the hypercall conformance table."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from virtio_crq.papr.hypercalls import Hypercall
from virtio_crq.papr.profiles import Profile

Expected = int | Callable[[Profile], int]


@dataclass(frozen=True)
class Row:
    """Steps, then one call of one end, then its code, outputs and side effects.

    `source` names the clause of LoPAR, `clauses` those of virtio over CRQ, `choice` the choice that the row holds.
    On a profile that lacks the call, the same row expects H_Function and no effect instead.
    """

    name: str
    end: str
    call: Hypercall
    arguments: tuple[Any, ...]
    code: Expected
    steps: tuple[str, ...] = ()
    outputs: tuple[int, ...] | None = None
    effects: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    clauses: tuple[str, ...] = ()
    choice: int = 0

    def expected(self, profile: Profile) -> int:
        return self.code(profile) if callable(self.code) else self.code


def by(switch: str, yes: int, no: int) -> Callable[[Profile], int]:
    """An answer that a switch of the profile decides."""
    return lambda profile: yes if getattr(profile, switch) else no
