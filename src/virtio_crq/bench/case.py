# SPDX-License-Identifier: Apache-2.0
"""The loads that are measured and the rungs they are measured on: two tables, and the only place that names them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from virtio_crq.axes import (
    BATCHED,
    COPY,
    NAIVE,
    PACKED,
    PER_REQUEST,
    PLANNED,
    POOL,
    PUSH,
    REDIRECT,
    SPLIT,
    SUB_CRQ,
    WINDOW,
)
from virtio_crq.errors import UsageError

Named = TypeVar("Named", "Case", "Rung")


@dataclass(frozen=True)
class Case:
    """One load: blocks of `size` bytes, `depth` requests in flight."""

    name: str
    size: int
    depth: int
    write: bool = False
    sequential: bool = False


@dataclass(frozen=True)
class Rung:
    """A named preset of the axes along which the copy evolves."""

    name: str
    ring: str
    fetch: str
    map: str
    data: str
    carrier: str = WINDOW  # of pushed requests


CASES = (
    Case("randread-4k-qd1", 4096, 1),
    Case("randread-4k-qd32", 4096, 32),
    Case("randwrite-4k-qd32", 4096, 32, write=True),
    Case("seqread-128k-qd8", 128 << 10, 8, sequential=True),
)

RUNGS = (
    Rung("naive", ring=SPLIT, fetch=NAIVE, map=PER_REQUEST, data=COPY),
    Rung("batched", ring=SPLIT, fetch=BATCHED, map=PER_REQUEST, data=COPY),
    Rung("redirect", ring=SPLIT, fetch=BATCHED, map=PER_REQUEST, data=REDIRECT),
    Rung("packed-naive", ring=PACKED, fetch=NAIVE, map=PER_REQUEST, data=COPY),
    Rung("packed", ring=PACKED, fetch=BATCHED, map=PER_REQUEST, data=COPY),
    Rung("batched-pool", ring=SPLIT, fetch=BATCHED, map=POOL, data=COPY),
    Rung("push", ring=SPLIT, fetch=PUSH, map=PER_REQUEST, data=COPY),
    Rung("push-pool", ring=SPLIT, fetch=PUSH, map=POOL, data=COPY),
    Rung("push-pool-redirect", ring=SPLIT, fetch=PUSH, map=POOL, data=REDIRECT),
    Rung("push-sub", ring=SPLIT, fetch=PUSH, map=PER_REQUEST, data=COPY, carrier=SUB_CRQ),
    Rung("push-sub-pool", ring=SPLIT, fetch=PUSH, map=POOL, data=COPY, carrier=SUB_CRQ),
    Rung("push-sub-pool-redirect", ring=SPLIT, fetch=PUSH, map=POOL, data=REDIRECT, carrier=SUB_CRQ),
    Rung("push-pool-planned", ring=SPLIT, fetch=PUSH, map=POOL, data=PLANNED),
)

# The study measures all rungs at four loads; over depths and sizes these, from which the others can be told.
SWEPT = (
    "naive", "batched", "batched-pool", "push-pool", "push-pool-redirect", "push-sub-pool", "push-pool-planned",
)  # fmt: skip
# Where a page has room for three: a plain port, by batches, and the default.
SHOWN = ("naive", "batched", "push-pool")
CROWDED = "push-pool"  # what crowds of clients are measured on
QUEUED = ("push-pool", "push-sub-pool")  # and disks of several queues

BACKINGS = ("file", "null")
NOTIFIES = ("polling", "sleeping")
# Microseconds that the server's worker looks before it sleeps, at most (-1: it never sleeps). The load's own side never
# sleeps when polling, and at once otherwise. `at-once` is measured where it is asked for.
POLLING = {"polling": -1, "sleeping": 32, "at-once": 0}


def chosen(table: Sequence[Named], names: Sequence[str], what: str) -> Sequence[Named]:
    """The rows of a table that were asked for by name, all of them when none was."""
    known = {row.name: row for row in table}
    for name in names:
        if name not in known:
            raise UsageError(f"{what} {name!r} is not one of {', '.join(known)}")
    return [known[name] for name in names] if names else table
