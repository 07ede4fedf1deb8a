# SPDX-License-Identifier: Apache-2.0
"""Hypervisor copies of a 4 KiB read by paper, for each rung: what is needed for each request, and once for a batch.

Depth 32 is not one batch: requests are fetched by up to 32, but what is complete is told of by 8 (16 where requests
are pushed), so that client and server work at the same time. What is paid for a batch is paid per 32, or per 8.
"""

from dataclasses import dataclass

FETCHED, TOLD, PUSHED = 32, 8, 16


@dataclass(frozen=True)
class Paper:
    """Copies for each request, for each batch that is fetched, and for each that is told of."""

    each: float
    fetched: float = 0
    told: float = 0
    pushed: float = 0

    @property
    def single(self) -> float:
        return self.each + self.fetched + self.told + self.pushed

    @property
    def deep(self) -> float:
        return self.each + self.fetched / FETCHED + self.told / TOLD + self.pushed / PUSHED

    @property
    def words(self) -> str:
        by_batch = self.fetched + self.told + self.pushed
        return f"{self.each:g}" + (f" + {by_batch:g}/B" if by_batch else "") if self.each else f"{by_batch:g}/B"


# By what goes into a copy of its own. A split ring by batches: ring entries, descriptors, used_event, avail_event as
# batches are fetched, used elements and index as they are told of; with each request its header, data and status.
PAPERS = {
    ("split", "naive"): Paper(12),
    ("packed", "naive"): Paper(10),
    ("split", "batched"): Paper(3, fetched=4, told=2),
    ("packed", "batched"): Paper(3, fetched=2, told=2),
    ("split", "push"): Paper(3, fetched=0, pushed=3),
}
INLINED = {"push": Paper(1, pushed=2)}  # header and status travel in the records where slots stay mapped
DATA_COPIES = 1  # of each request; none where the storage adapter transfers


def paper(ring: str, fetch: str, mapping: str, data: str) -> Paper | None:
    """The arithmetic of one combination, None where nobody did it."""
    found = INLINED[fetch] if mapping == "pool" and fetch in INLINED else PAPERS.get((ring, fetch))
    if found is None or data == "copy":
        return found
    return Paper(found.each - DATA_COPIES, found.fetched, found.told, found.pushed)
