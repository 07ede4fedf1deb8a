# SPDX-License-Identifier: Apache-2.0
"""A row of the suite, and what came of it."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

from virtio_crq.errors import UsageError, VirtioCrqError
from virtio_crq.guests.suite.scene import Scene


class CheckFailed(VirtioCrqError):
    """The guest did not do what the check wants to see."""


class Boot(Enum):
    """Which guest a check needs."""

    ROOT = "root"  # its root file system on a virtio-crq disk
    MEMORY = "memory"  # all of it in the initramfs, so that every disk can go


@dataclass(frozen=True)
class Check:
    """`run` gives a line for people, or raises. Checks that end their guest say so."""

    name: str
    shows: str
    boot: Boot
    run: Callable[[Scene], str]
    ends_guest: bool = False


@dataclass
class Result:
    """`console` is what the guest said last when the check failed."""

    name: str
    shows: str
    passed: bool
    seconds: float
    detail: str
    console: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        row = asdict(self)
        row["result"] = "passed" if row.pop("passed") else "failed"
        return row


def check(
    name: str, shows: str, boot: Boot = Boot.ROOT, *, ends_guest: bool = False
) -> Callable[[Callable[[Scene], str]], Check]:
    """Make a row of a function; `table` has them all, in order."""

    def row(run: Callable[[Scene], str]) -> Check:
        return Check(name, shows, boot, run, ends_guest)

    return row


def chosen(table: tuple[Check, ...], names: list[str]) -> tuple[Check, ...]:
    """The checks of these names, in the table's order; all when none is named."""
    known = [row.name for row in table]
    for name in names:
        if name not in known:
            raise UsageError(f"no check {name!r}; there are: {', '.join(known)}")
    return tuple(row for row in table if not names or row.name in names)
