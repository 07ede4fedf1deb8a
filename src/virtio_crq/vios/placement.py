# SPDX-License-Identifier: Apache-2.0
"""Which connection moves to which worker: by what each had to do lately, never more than one at a time."""

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

Worker = TypeVar("Worker", bound=Hashable)
Link = TypeVar("Link", bound=Hashable)

FEW = 1000  # entries in one look; less is no load that a move would be worth


def better(loads: Mapping[Worker, Sequence[tuple[Link, int]]]) -> tuple[Link, Worker] | None:
    """One move after which the busiest worker and the least busy are closer together; None when there is none.

    `loads` is by worker what each of its connections heard since the last look.
    """
    sums = {worker: sum(heard for _, heard in links) for worker, links in loads.items()}
    busiest = max(sums, key=lambda worker: sums[worker])
    idlest = min(sums, key=lambda worker: sums[worker])
    gap = sums[busiest] - sums[idlest]
    # A connection that is all of a gap would only carry it over to the other worker.
    able = [(heard, link) for link, heard in loads[busiest] if FEW <= heard < gap]
    if not able:
        return None
    _, link = min(able, key=lambda each: abs(gap / 2 - each[0]))
    return link, idlest
