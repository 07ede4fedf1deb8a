# SPDX-License-Identifier: Apache-2.0
"""`fetch=naive`: each field its own copy, one request at a time, as a ring written for shared memory would go."""

from virtio_crq.dataplane.faults import refuse
from virtio_crq.dataplane.ringterms import RingTerms
from virtio_crq.dataplane.splitdevice import SplitRing
from virtio_crq.dataplane.staging import Staging
from virtio_crq.platform.port import Port


class NaiveRing(SplitRing):
    """Reads avail.idx as a plain port does, and still stops at the announced position."""

    def __init__(self, port: Port, staging: Staging, terms: RingTerms, max_copy: int) -> None:
        super().__init__(port, staging, terms, max_copy)
        self.planner.joining = 0

    def fetch(self) -> int:
        if self.replayed < self.replays:
            self.walk.begin(0, self.replay[self.replayed])
            self.replayed += 1
        else:
            if self.fetched == self.announced:
                return 0
            self._look()
            slot = self.fetched & (self.size - 1)
            self.bring(self.available + 4 + 2 * slot, self.entries + 2 * slot, 2)
            self.flush()
            self.walk.begin(0, self.port.load16(self.entries + 2 * slot))
            self.fetched = (self.fetched + 1) & 0xFFFF
            self.event_due = self.event_idx
        self.walk.window(0, 0)
        self._walk_all(1)
        self._enqueue(1)
        return 1

    def _look(self) -> int:
        """Read avail.idx, and hold it against the announced position and the size of the queue."""
        self.bring(self.available + 2, self.scratch + 16, 2)
        self.flush()
        index = self.port.load16(self.scratch + 16)
        if (index - self.published) & 0xFFFF > self.size:
            refuse("avail-overrun", index, (index - self.published) & 0xFFFF)
        if (index - self.fetched) & 0xFFFF < (self.announced - self.fetched) & 0xFFFF:
            refuse("announced-ahead", self.announced, index)
        return 0
