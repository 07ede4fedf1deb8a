# SPDX-License-Identifier: Apache-2.0
"""`fetch=batched`: ring entries once per batch, descriptors once per batch, neighbours in one copy."""

from virtio_crq.dataplane.limits import LANES
from virtio_crq.dataplane.splitdevice import SplitRing

WINDOW = 256  # descriptors brought in one copy; heads further apart are brought one by one


class BatchedRing(SplitRing):
    """The announced position replaces avail.idx, which is never read."""

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
            self._bring_entries(start, count)
            self.flush()
            for lane in range(count):
                self.walk.begin(lane, self.port.load16(self.entries + 2 * ((start + lane) & (self.size - 1))))
            self.fetched = (self.fetched + count) & 0xFFFF
            # avail_event tells the driver when to announce next: written once, when all it announced is taken.
            self.event_due = 1 if self.event_idx and self.fetched == self.announced else 0
        self._bring_window(count)
        self.flush()
        self._walk_all(count)
        self._enqueue(count)
        return count

    def _bring_entries(self, start: int, count: int) -> int:
        first = self.size - start
        if first > count:
            first = count
        self.bring(self.available + 4 + 2 * start, self.entries + 2 * start, 2 * first)
        if count > first:
            self.bring(self.available + 4, self.entries, 2 * (count - first))
        return 0

    def _bring_window(self, count: int) -> int:
        """One copy from the lowest head to the highest, and as far beyond as the last chain was long."""
        low = self.size
        high = 0
        for lane in range(count):
            head = self.walk.heads[lane]
            if head < low:
                low = head
            end = head + self.walk.span
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
