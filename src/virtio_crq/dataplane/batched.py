# SPDX-License-Identifier: Apache-2.0
"""`fetch=batched`: ring entries once per batch, descriptors once per batch, neighbours in one copy."""

from virtio_crq.dataplane.limits import LANES
from virtio_crq.dataplane.ringterms import RingResume, RingTerms
from virtio_crq.dataplane.splitdevice import SplitRing
from virtio_crq.dataplane.staging import Staging
from virtio_crq.platform.port import Port

WINDOW = 256  # descriptors brought in one copy, whatever lies between


class BatchedRing(SplitRing):
    """The announced position replaces avail.idx, which is never read. Entries before `brought` are in hand."""

    def __init__(self, port: Port, staging: Staging, terms: RingTerms, max_copy: int) -> None:
        super().__init__(port, staging, terms, max_copy)
        self.brought = 0

    def resume(self, stopped: RingResume) -> None:
        super().resume(stopped)
        self.brought = self.fetched

    def fetch(self) -> int:
        if self.replayed < self.replays:
            count = self._begin_replay()
        else:
            count = (self.announced - self.fetched) & 0xFFFF
            if count > LANES:
                count = LANES
            if count == 0:
                return 0
            start = self.fetched & (self.size - 1)
            if self.brought == self.fetched:
                # All that was announced, though no more than LANES are walked now.
                self._bring_entries(start, (self.announced - self.fetched) & 0xFFFF)
                self.flush()
                self.brought = self.announced
            elif ((self.brought - self.fetched) & 0xFFFF) < count:
                count = (self.brought - self.fetched) & 0xFFFF
            for lane in range(count):
                self.walk.begin(lane, self.port.load16(self.entries + 2 * ((start + lane) & (self.size - 1))))
            self.fetched = (self.fetched + count) & 0xFFFF
            # avail_event tells the driver when to announce next: written once, when all it announced is taken.
            self.event_due = 1 if self.event_idx and self.fetched == self.announced else 0
        self._bring_window(count)
        self.flush()
        self._walk_all(count)
        self._enqueue(count)
        return self._learn(count)

    def _bring_entries(self, start: int, count: int) -> int:
        first = self.size - start
        if first > count:
            first = count
        self.bring(self.available + 4 + 2 * start, self.entries + 2 * start, 2 * first)
        if count > first:
            self.bring(self.available + 4, self.entries, 2 * (count - first))
        return 0

    def _bring_window(self, count: int) -> int:
        """One copy from the lowest head to the highest, and as far beyond as chains were long of late.

        Where heads lie further apart, `_walk_all` brings what each needs, joined where they are neighbours.
        """
        low = self.size
        high = 0
        for lane in range(count):
            head = self.walk.heads[lane]
            if head < low:
                low = head
            end = head + self.planner.depth
            if end > high:
                high = end
        if high > self.size:
            high = self.size
        if high - low > WINDOW:
            self.walk.window(0, 0)
            return 0
        self.bring(self.descriptors + 16 * low, self.walk.table + 16 * low, 16 * (high - low))
        self.walk.window(low, high)
        return 0

    def reach(self, lane: int) -> int:
        """As many as chains had of late; then as many again as the chain had so far."""
        hops = self.walk.hops[lane]
        return hops if hops else self.planner.depth

    def _learn(self, count: int) -> int:
        longest = 1
        for lane in range(count):
            if self.walk.hops[lane] > longest:
                longest = self.walk.hops[lane]
        self.planner.went(longest)
        return count
