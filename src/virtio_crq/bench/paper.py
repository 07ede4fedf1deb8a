# SPDX-License-Identifier: Apache-2.0
"""Hypervisor copies of a 4 KiB read by paper, for each rung: what is needed for each request, and once for a batch.

Depth 32 is not one batch: requests are fetched by up to 32, but they are served and told of by 8 (told of by 16 where
they are pushed), so that client and server work at the same time. What is paid for a batch is paid per 32, or per 8.
"""

from dataclasses import dataclass, replace

from virtio_crq.axes import BATCHED, COPY, NAIVE, PACKED, POOL, PUSH, REDIRECT, SPLIT, SUB_CRQ, WINDOW

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
        shared = f"{by_batch:g}/B" if by_batch else ""
        return " + ".join(word for word in (f"{self.each:g}" if self.each or not shared else "", shared) if word)


# By what goes into a copy of its own. A split ring by batches: ring entries, descriptors, used_event, avail_event as
# batches are fetched, used elements and index as they are told of; with each request its header, data and status.
PAPERS = {
    (SPLIT, NAIVE): Paper(12),
    (PACKED, NAIVE): Paper(10),
    (SPLIT, BATCHED): Paper(3, fetched=4, told=2),
    (PACKED, BATCHED): Paper(3, fetched=2, told=2),
    (SPLIT, PUSH): Paper(3, pushed=3),
}
# The same by messages, which nobody copies: what is left for a batch are the lists of descriptors.
MESSAGES = {(SPLIT, PUSH): Paper(3, pushed=1)}
CARRIED = {WINDOW: PAPERS, SUB_CRQ: MESSAGES}
# Header and status travel in the records where memory stays mapped, and nothing is left between the data of one request
# and the next: one copy for those that are served together. Records in the client's window are brought by one copy and
# answered by one, as messages they need none.
INLINED = {(PUSH, WINDOW): Paper(0, told=1, pushed=2), (PUSH, SUB_CRQ): Paper(0, told=1)}
# ibmvscsi and ibmvscsis: an information unit, the data, a response, whatever is in flight.
VSCSI = Paper(3)
# Fewer of data, be it copied by itself or by batches. What `planned` saves is measured: it has no arithmetic.
DATA_COPIES = {COPY: 0, REDIRECT: 1}


def paper(ring: str, fetch: str, mapping: str, data: str, carrier: str = WINDOW) -> Paper | None:
    """The arithmetic of one combination, None where nobody did it."""
    found = INLINED.get((fetch, carrier)) if mapping == POOL else None
    if found is None:
        found = CARRIED.get(carrier, {}).get((ring, fetch))
    if found is None or data not in DATA_COPIES:
        return None
    if found.each:
        return replace(found, each=found.each - DATA_COPIES[data])
    return replace(found, told=found.told - DATA_COPIES[data])
