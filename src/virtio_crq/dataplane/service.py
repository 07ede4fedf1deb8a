# SPDX-License-Identifier: Apache-2.0
"""The request loop of one queue, whatever the device type.

A turn serves one mini-batch: fetch when nothing waits, run up to BATCH requests, publish what was completed. Batches
are small, in requests and in bytes, so that the driver works on the first while the second is served. Requests that
wait for the store are out of the loop until their token comes back; requests that found no room in the arena are
parked, and go first.
"""

from array import array

import cython

from virtio_crq.dataplane.cost import Cost
from virtio_crq.dataplane.orphans import Orphans
from virtio_crq.dataplane.ring import DeviceRing
from virtio_crq.dataplane.staging import Staging
from virtio_crq.dataplane.store import Store
from virtio_crq.platform.port import Port
from virtio_crq.virtio import splitring

MASK = splitring.POSITION_MASK
BATCH = 8
BULK = 1 << 18  # bytes after which a mini-batch has enough: few long requests take as long as many short ones
CROWD = 4  # requests that a driver has in flight before it is worth a wait to tell it of several at once
WINDOW = 64  # announcements after which it is forgotten how many there were in flight
FAIR = 1 << 20  # bytes in one turn of the link; further chunks are parked, or large requests held all others up


class Service:
    """One per queue; a device type subclasses it. `requests`, `errors` count; `bytes_in`, `bytes_out` too.

    `bulk` is how many bytes one mini-batch asks for, but for its last request. `following` is for whoever looks at
    several.
    """

    def __init__(self, store: Store | None = None) -> None:
        self.store = store if store is not None else Store(0)
        self.device = 0
        self.queue = 0
        self.bound = 0
        self.tag = 0
        self.ready = 0
        self.following: Service | None = None
        self.requests = 0
        self.errors = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.batches = 0
        self.weight = 0
        self.share = FAIR
        self.bulk = BULK
        self.in_store = 0
        self.batch = array("H", bytes(2 * BATCH))
        self.until = 0
        self.told = self.crowd = self.peak = self.tells = 0
        self.parked_head = 0
        self.parked_count = 0
        self.spent = array("Q", bytes(8 * 512))
        self.spent_length = array("I", bytes(4 * 512))
        self.spent_count = 0

    def bind(self, device: int, queue: int, port: Port, ring: DeviceRing, staging: Staging) -> None:
        """Become the service of this ring, until `close`."""
        if self.bound:
            raise ValueError("a service has one ring at a time")
        self.device = device
        self.queue = queue
        self.port = port
        self.ring = ring
        self.staging = staging
        self.parked = array("H", bytes(2 * ring.size))
        self.until = 0
        self.told = ring.signalled
        self.crowd = self.peak = self.tells = 0
        self.store.bind(port)
        self.prepare(ring.size)
        self.tag = self.store.adopt(self)
        self.bound = 1

    def prepare(self, size: int) -> None:
        """Allocate what the device type keeps for each head: nothing is allocated later."""

    def turn(self) -> int:
        """Serve one mini-batch; the number of requests that moved."""
        with cython.nogil:
            return self.step()

    def step(self) -> int:
        """`turn` without the interpreter's lock, which only what the store has to be given needs."""
        moved = self._turn()
        if self.store.pending:
            with cython.gil:
                self.store.submit()
        return moved

    def gathers(self) -> int:
        """Whether the driver has so much in flight that it will soon announce more, and little to be told of now.

        It cannot announce before it gets its credit back. So while it is not told, it goes on making requests
        available, undisturbed; what it is told of then, and what it announces then, is many at once.
        """
        ring = self.ring
        outstanding = (ring.announced - self.told) & MASK
        if outstanding > self.peak:
            self.peak = outstanding
            if outstanding > self.crowd:
                self.crowd = outstanding
        return 1 if self.crowd >= CROWD * ring.span and 2 * ((ring.published - self.told) & MASK) <= self.crowd else 0

    def telling(self) -> int:
        """The driver is told of all that is published."""
        self.until = 0
        self.told = self.ring.published
        self.tells += 1
        if self.tells == WINDOW:
            self.tells = 0
            self.crowd = self.peak
            self.peak = 0
        return 0

    def settle(self) -> int:
        """Publish what landed, before another queue stages copies of its own."""
        with cython.nogil:
            self.ring.publish()
            self.release()
        return 0

    def _turn(self) -> int:
        moved = 0
        if self.parked_count:
            moved = self._unpark()
        elif self.ring.waiting == 0:
            self.ring.fetch()
        count = 0
        asked = 0
        while count < BATCH and asked < self.bulk and self.parked_count == 0:
            head = self.ring.take()
            if head < 0:
                break
            self.batch[count] = head
            asked += self.ring.chains.readable[head] + self.ring.chains.writable[head]
            count += 1
        if count:
            self.batches += 1
            self.run(count)
        moved += self.ring.publish()
        self.release()
        return moved + count

    def _unpark(self) -> int:
        """Try what was parked, once around; stop at the first that is parked again. 1 if bytes or requests moved."""
        count = self.parked_count
        while count:
            count -= 1
            head = self.parked[self.parked_head]
            self.parked_head = (self.parked_head + 1) & (self.ring.size - 1)
            self.parked_count -= 1
            self.advance(head)
            if self.parked_count > count:
                return 1 if self.weight else 0
        return 1

    def park(self, head: int) -> int:
        """No room or no slot for this request now, or it had its share of this turn."""
        self.parked[(self.parked_head + self.parked_count) & (self.ring.size - 1)] = head
        self.parked_count += 1
        return 0

    def spend(self, at: int, length: int) -> int:
        """This buffer is free once what was staged from it has been copied."""
        if self.spent_count == 512:
            self.ring.flush()
            self.release()
        self.spent[self.spent_count] = at
        self.spent_length[self.spent_count] = length
        self.spent_count += 1
        return 0

    def release(self) -> int:
        """Everything staged has been copied: give the spent buffers back."""
        for index in range(self.spent_count):
            self.staging.give(self.spent[index], self.spent_length[index])
        self.spent_count = 0
        return 0

    def note(self, head: int, length: int) -> int:
        """For the journal, where nothing was to be chosen: this request is about to be completed."""
        segments = self.ring.chains.segments[head]
        return self.ring.planner.journal.close(head, 0, length, segments, self.ring.carried(head), 1)

    def costs(self) -> dict[str, Cost]:
        """What was measured, by what it is the cost of."""
        return {"copy": self.ring.planner.copying}

    def never(self) -> dict[int, int]:
        """The kinds of request whose data are redirected under no circumstances, as things stand, and the reason."""
        return {}

    def tried(self) -> dict[int, int]:
        """Of each kind of request for whose data two ways are compared, the batches in which that was done."""
        return {}

    def run(self, count: int) -> int:
        """Serve the heads in `batch`; each ends in `ring.complete`, in the store, or parked."""
        return 0

    def advance(self, head: int) -> int:
        """Go on with a request that was parked."""
        return 0

    def land(self, head: int, result: int) -> int:
        """The store is done with this request."""
        return 0

    def stored(self) -> dict[int, tuple[int, int]]:
        """By head, the buffers of requests that are in the store; length 0 where there is none."""
        return {}

    @property
    def in_flight(self) -> int:
        """Requests that were fetched and not completed. Reads only: any thread may ask."""
        ring = self.ring
        return ring.chains.in_flight + ring.replays - ring.replayed if self.bound else 0

    def close(self) -> None:
        """Leave the ring: serve no more, and hold nothing. What is in the store is nobody's from now on."""
        self.ready = 0
        self.port.flush()  # what a batch staged before its fault: nothing of it may outlive the buffers
        self.release()
        self.store.submit()  # what a batch asked for before its fault would otherwise never end
        stored = self.stored()
        if stored:
            Orphans(self.store, self.tag, self.staging, stored)
        else:
            self.store.forget(self.tag)
        self.in_store = 0
        self.parked_count = 0
        self.bound = 0
        self.ring.discard()
