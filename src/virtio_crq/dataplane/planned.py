# SPDX-License-Identifier: Apache-2.0
"""`data=planned`: whole pages are redirected where that is expected to cost less than copying them, request by request.

Copying is a read or write of the store and a copy for each segment; redirecting is a transfer for each. What either
costs is measured, the platform's price included. The first UNSURE batches with reads go one way and the other in turn,
all timed, before anything is decided; then one in TRIAL_EVERY goes the dearer way, since the cost of a way that is not
gone is soon a rumour. The same for writes. Nothing else about a request is different: see `redirected`.
"""

from virtio_crq.dataplane.clock import Clock
from virtio_crq.dataplane.cost import Cost
from virtio_crq.dataplane.disktraits import DiskTraits
from virtio_crq.dataplane.limits import UNSURE
from virtio_crq.dataplane.redirected import RedirectedBlockService
from virtio_crq.dataplane.store import DONE, Store
from virtio_crq.dataplane.ways import CHEAPER, COPIED, DEARER, REDIRECTED, TRIAL, UNKNOWN
from virtio_crq.virtio import block

IN = block.T_IN
OUT = block.T_OUT
TRIAL_EVERY = 64  # batches of a kind
TIMED_EVERY = 16  # vectors of transfers, and operations of the store


class PlannedBlockService(RedirectedBlockService):
    """Costs of a kind of request each: `reading` and `writing` of the store, `fetching` and `sinking` by transfers.

    `reads` and `writes` are the batches so far in which there was something to decide for such a request.
    """

    def __init__(self, store: Store, traits: DiskTraits) -> None:
        super().__init__(store, traits)
        self.clock = Clock()
        self.reading = Cost(500.0, 0.1)
        self.writing = Cost(1000.0, 0.2)
        self.fetching = Cost(1500.0, 0.1)
        self.sinking = Cost(2000.0, 0.2)
        self.reads = self.writes = 0
        self.read_now = self.written_now = 0
        self.transfers_until = self.store_until = 0
        self.inward = self.outward = self.inward_bytes = self.outward_bytes = 0

    def bypass(self, count: int) -> int:
        self.read_now = self.written_now = 0
        self.inward = self.outward = self.inward_bytes = self.outward_bytes = 0
        RedirectedBlockService.bypass(self, count)
        self.reads += self.read_now
        self.writes += self.written_now
        return 0

    def _time_all(self) -> int:
        """What this batch does is timed, whichever way it goes."""
        self.transfers_until = self.store_until = 0
        return self.ring.planner.time_next()

    def worth(self, head: int, transfers: int) -> int:
        length = self.totals[head]
        inward = self.kinds[head] == IN
        pieces = transfers + length // self.ring.planner.max_copy
        copying = self.ring.planner.of(pieces, length)
        if inward:
            copying += self.reading.of(1, length)
            redirecting = self.fetching.of(transfers, length)
            batch = self.reads
            self.read_now = 1
        else:
            copying += self.writing.of(1, length)
            redirecting = self.sinking.of(transfers, length)
            batch = self.writes
            self.written_now = 1
        self.journal.weigh(head, copying, redirecting)
        better = 1 if redirecting <= copying else 0
        chosen = better
        reason = CHEAPER if better else DEARER
        if batch < UNSURE:
            chosen = batch & 1
            reason = UNKNOWN
            self._time_all()
        elif batch % TRIAL_EVERY == 0:
            chosen = 1 - better
            reason = TRIAL
            self._time_all()
        self.journal.decide(head, REDIRECTED if chosen else COPIED, reason)
        if chosen and inward:
            self.inward += transfers
            self.inward_bytes += length
        elif chosen:
            self.outward += transfers
            self.outward_bytes += length
        return chosen

    def transfer(self) -> int:
        if self.transfers_until:
            self.transfers_until -= 1
            return self.port.transfer()
        begun = self.clock.now()
        self.port.transfer()
        elapsed = self.clock.now() - begun
        if not self._all_moved():  # what was refused says nothing of what moving costs
            return 0
        # A vector of both kinds says nothing of either.
        if self.outward == 0:
            self.fetching.learn(self.inward, self.inward_bytes, elapsed)
            self.transfers_until = TIMED_EVERY
        elif self.inward == 0:
            self.sinking.learn(self.outward, self.outward_bytes, elapsed)
            self.transfers_until = TIMED_EVERY
        return 0

    def _all_moved(self) -> int:
        left = self.inward_bytes + self.outward_bytes
        for index in range(self.staged):
            moved = self.port.moved(index)
            if moved > 0:
                left -= moved
        return 1 if left == 0 else 0

    def ask(self, head: int) -> int:
        if self.store_until:
            self.store_until -= 1
            return RedirectedBlockService.ask(self, head)
        begun = self.clock.now()
        answer = RedirectedBlockService.ask(self, head)
        if answer == DONE and self.totals[head]:  # what ends later says nothing of how long it takes
            self.store_until = TIMED_EVERY
            if self.kinds[head] == IN:
                self.reading.learn(1, self.sizes[head], self.clock.now() - begun)
            else:
                self.writing.learn(1, self.sizes[head], self.clock.now() - begun)
        return answer

    def tried(self) -> dict[int, int]:
        return {IN: self.reads, OUT: self.writes}

    def costs(self) -> dict[str, Cost]:
        return {
            **super().costs(),
            "store-read": self.reading,
            "store-write": self.writing,
            "redirect-read": self.fetching,
            "redirect-write": self.sinking,
        }
