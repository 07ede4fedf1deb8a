# SPDX-License-Identifier: Apache-2.0
"""`data=redirect`: all requests for whole pages move between file and the driver's memory below the seam, by no copy.

A batch's transfers are asked for together, before anything of it takes own RAM. The platform makes the driver's pages
reachable for a storage adapter, transfers what needs no waiting, and makes them unreachable again before it answers; so
a request completes after its pages are out of reach. What did not move as a whole is done as if nothing had been
tried, by copies: sub-page segments, pages that cannot be redirected, files that would have to be waited for.
"""

from array import array
from errno import EOPNOTSUPP

from virtio_crq.dataplane.blockservice import BlockService
from virtio_crq.dataplane.disktraits import DiskTraits
from virtio_crq.dataplane.limits import SEGMENTS
from virtio_crq.dataplane.store import Store
from virtio_crq.dataplane.ways import (
    ALWAYS,
    COPIED,
    CROWDED,
    LARGE,
    NO_ADAPTER,
    NOT_WHOLE,
    PIECES,
    REDIRECTED,
    SHARED,
    STABLE,
    WAITS,
)
from virtio_crq.virtio import block

IN = block.T_IN
OUT = block.T_OUT
OK = block.S_OK
HEADER = block.REQUEST_HEADER_SIZE
WHOLE = 4096  # what is redirected is whole pages
MOST = 512  # transfers staged at once, SEAM_TRANSFERS


class RedirectedBlockService(BlockService):
    """`redirected` requests moved their data that way; `copied` ones could not."""

    def __init__(self, store: Store, traits: DiskTraits) -> None:
        super().__init__(store, traits)
        self.redirected = 0
        self.copied = 0
        self.file = -1
        self.reads_now = self.writes_now = 1
        self.staged = 0
        self.begins = array("H", bytes(2 * len(self.batch)))
        self.ends = array("H", bytes(2 * len(self.batch)))

    def prepare(self, size: int) -> None:
        super().prepare(size)
        self.file = self.store.lend(self.port)

    def bypass(self, count: int) -> int:
        self.staged = 0
        for index in range(count):
            self.begins[index] = self.staged
            if self.totals[self.batch[index]]:
                self._stage_request(self.batch[index])
            self.ends[index] = self.staged
        if self.staged:
            self.transfer()
        for index in range(count):
            head = self.batch[index]
            if self.ends[index] != self.begins[index] and self._moved_whole(index, head):
                self.redirected += 1
                self.moved[head] = self.totals[head]
                self.weight += self.totals[head]
                self.totals[head] = 0
                self._finish(head, OK)
            elif self.totals[head]:
                self.copied += 1
                if self.ends[index] != self.begins[index]:
                    self.journal.decide(head, COPIED, NOT_WHOLE)
        return 0

    def never(self) -> dict[int, int]:
        if self.file < 0:
            return {IN: NO_ADAPTER, OUT: NO_ADAPTER}
        found = {} if self.reads_now else {IN: WAITS}
        reason = self._unwritten()
        if reason:
            found[OUT] = reason
        return found

    def _unwritten(self) -> int:
        """Why no write is redirected, as things stand; 0 where writes can be.

        What is stable before it completes waits for the medium, and a transfer does not wait.
        """
        if self.writethrough:
            return STABLE
        return 0 if self.writes_now else WAITS

    def transfer(self) -> int:
        """Have all staged transfers made."""
        return self.port.transfer()

    def worth(self, head: int, transfers: int) -> int:
        """Whether a request that can be redirected is; it says so in the journal."""
        self.journal.decide(head, REDIRECTED, ALWAYS)
        return 1

    def _not(self, head: int, reason: int) -> int:
        """It has to go by copies."""
        return self.journal.decide(head, COPIED, reason)

    def _stage_request(self, head: int) -> int:
        """Stage a transfer for each of its data segments, unless it has to go by copies."""
        first = head * SEGMENTS
        last = first + self.ring.chains.segments[head]
        outward = 0 if self.kinds[head] == IN else 1
        if self.file < 0:
            return self._not(head, NO_ADAPTER)
        if self.totals[head] > self.share:
            return self._not(head, LARGE)
        if outward:
            reason = self._unwritten()
            if reason:
                return self._not(head, reason)
            if self.ring.chains.lengths[first] != HEADER:
                return self._not(head, SHARED)
            last = first + self.ring.chains.readables[head]
            first += 1
        else:
            if not self.reads_now:
                return self._not(head, WAITS)
            last -= 1
            if self.ring.chains.lengths[last] != 1:
                return self._not(head, SHARED)
            first += self.ring.chains.readables[head]
        if self.staged + last - first > MOST:
            return self._not(head, CROWDED)
        if self._pages(first, last) != self.totals[head]:
            return self._not(head, PIECES)
        if not self.worth(head, last - first):
            return 0
        position = self.positions[head]
        for index in range(first, last):
            length = self.ring.chains.lengths[index]
            self.port.stage_transfer(self.file, self.ring.chains.addresses[index], length, position, outward)
            position += length
            self.staged += 1
        return 1

    def _pages(self, first: int, last: int) -> int:
        """How many bytes these segments have together; 0 when one is not whole pages."""
        together = 0
        for index in range(first, last):
            length = self.ring.chains.lengths[index]
            if self.ring.chains.addresses[index] % WHOLE or length % WHOLE or length == 0:
                return 0
            together += length
        return together

    def _moved_whole(self, index: int, head: int) -> int:
        whole = 0
        for transfer in range(self.begins[index], self.ends[index]):
            moved = self.port.moved(transfer)
            if moved == -EOPNOTSUPP:  # this file system always waits
                if self.kinds[head] == IN:
                    self.reads_now = 0
                else:
                    self.writes_now = 0
            if moved < 0:
                return 0
            whole += moved
        return 1 if whole == self.totals[head] else 0
