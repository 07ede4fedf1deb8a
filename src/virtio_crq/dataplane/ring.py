# SPDX-License-Identifier: Apache-2.0
"""The device side of a virtqueue that is reached only by copies, whatever its layout.

Nothing here polls or maps the driver's memory. Each half of a conversation is a vector of copies: requests come in,
data, status and completions go out. A layout subclasses `DeviceRing` and a fetch strategy that: see `splitdevice` with
`naive` and `batched`. What services use is here, so that they never know which ring they have.

Positions are 16-bit and free-running throughout; `announced` is what the driver said, `fetched` what was taken,
`completed` what is used in own RAM, `published` what the driver can see, `signalled` what it was told of. A request
moves them by `span`: 1, unless the layout counts otherwise.
"""

from array import array

from virtio_crq.dataplane.chains import Chains
from virtio_crq.dataplane.faults import refuse
from virtio_crq.dataplane.limits import SEGMENTS
from virtio_crq.dataplane.planner import Planner
from virtio_crq.dataplane.ringterms import RingResume, RingTerms
from virtio_crq.dataplane.staging import Staging
from virtio_crq.errors import DeviceFault
from virtio_crq.platform.port import Port
from virtio_crq.virtio import splitring

MASK = splitring.POSITION_MASK


class DeviceRing:
    """One queue. A subclass says how much own RAM it needs (`length`), and finds it at `area`.

    `held` is 1 while the platform does not take what is to be published: it is asked again. `stale` counts requests of
    sessions that are over.
    """

    def __init__(self, port: Port, staging: Staging, terms: RingTerms, max_copy: int, length: int) -> None:
        area = staging.take(length)
        if area < 0:
            raise DeviceFault("arena-full", f"{length} bytes for a queue, {staging.free} pages are left")
        self.port = port
        self.staging = staging
        self.size = terms.size
        self.event_idx = 1 if terms.event_idx else 0
        self.in_order = 1 if terms.in_order else 0
        self.planner = Planner(port, staging, max_copy, terms.size)
        self.footprint = length
        self.area = area
        self.chains = Chains(port, terms.size)
        self.order = array("H", bytes(2 * terms.size))
        self.line = array("H", bytes(2 * terms.size))
        self.ended = array("B", bytes(terms.size))
        self.amounts = array("Q", bytes(8 * terms.size))
        self.line_head = self.lined = 0
        self.span = 1
        self.order_head = self.waiting = self.replayed = self.replays = 0
        self.announced = self.fetched = self.completed = self.published = self.signalled = 0
        self.used_credit = 1
        self.avail_held = 0
        self.notice = 0
        self.event_due = 0
        self.stale = 0
        self.held = 0

    def resume(self, stopped: RingResume) -> None:
        """Go on where another server stopped: what it had in flight first, in that order."""
        raise NotImplementedError

    def take_over(self) -> int:
        """Tell the driver of a resumed queue when to announce: what stands there is the wish of a lost server.

        It is made before anything is served, so that a driver which looked before it was is still looked at.
        """
        return 0

    def discard(self) -> None:
        """Give the ring's own RAM back."""
        if self.footprint:
            self.staging.give(self.area, self.footprint)
            self.footprint = 0

    # --- announcements and credits ---

    def hear_avail(self, position: int) -> int:
        """The driver announced: entries before `position` may be used, and it may not announce again for now."""
        if self.avail_held:
            refuse("credit-overrun", position, self.announced)
        moved = (position - self.announced) & MASK
        if moved > self.size or (position - self.published) & MASK > self.size:
            refuse("avail-overrun", position, (position - self.published) & MASK)
        self.announced = position
        self.avail_held = 1
        return 0

    def hear_credit(self) -> int:
        """The driver returned the right to announce used entries."""
        if self.used_credit:
            refuse("credit-unowed", self.published, self.signalled)
        self.used_credit = 1
        return 0

    def owes_credit(self) -> int:
        """The AVAIL credit may go back: all that was announced is fetched, and avail_event says so."""
        return 1 if self.avail_held and self.fetched == self.announced and not self.event_due else 0

    # --- copies ---

    def bring(self, remote: int, at: int, length: int) -> int:
        """Stage a copy from the driver's memory into own RAM."""
        return self.planner.copy(self.size, remote, at, length, 0)

    def carry(self, at: int, remote: int, length: int) -> int:
        """Stage a copy from own RAM into the driver's memory."""
        return self.planner.copy(self.size, remote, at, length, 1)

    def flush(self) -> int:
        """Have all staged copies made, in order."""
        return self.planner.flush()

    # --- requests ---

    def arrived(self) -> int:
        """Whether requests came that no announcement tells of."""
        return 0

    def behind(self) -> int:
        """Whether there are requests that can be fetched, for all that is known."""
        return 1 if self.fetched != self.announced or self.replayed != self.replays else 0

    def fetch(self) -> int:
        """Bring in what was announced, as far as there are lanes; the number of requests now waiting."""
        return 0

    def enqueue(self, head: int) -> int:
        """The chain at this head is whole and waits to be served."""
        self.planner.journal.open(head)
        self.order[(self.order_head + self.waiting) & (self.size - 1)] = head
        self.waiting += 1
        if self.in_order:
            self.line[(self.line_head + self.lined) & (self.size - 1)] = head
            self.lined += 1
        return 0

    def take(self) -> int:
        """The next request to serve, by head; -1 when none waits, or is to wait."""
        return self.next()

    def next(self) -> int:
        if self.waiting == 0:
            return -1
        head = self.order[self.order_head]
        self.order_head = (self.order_head + 1) & (self.size - 1)
        self.waiting -= 1
        return head

    # --- a request's bytes ---

    def _scatter(self, head: int, index: int, end: int, skip: int, length: int, at: int, outward: int) -> int:
        while length and index < end:
            have = self.chains.lengths[index]
            if skip >= have:
                skip -= have
            else:
                piece = have - skip
                if piece > length:
                    piece = length
                self.planner.copy(head, self.chains.addresses[index] + skip, at, piece, outward)
                skip = 0
                at += piece
                length -= piece
            index += 1
        return 0

    def pull(self, head: int, skip: int, length: int, at: int) -> int:
        """Stage copies of readable bytes [skip, skip+length) into own RAM."""
        first = head * SEGMENTS
        return self._scatter(head, first, first + self.chains.readables[head], skip, length, at, 0)

    def push(self, head: int, skip: int, length: int, at: int) -> int:
        """Stage copies of own RAM to writable bytes [skip, skip+length)."""
        first = head * SEGMENTS
        last = first + self.chains.segments[head]
        return self._scatter(head, first + self.chains.readables[head], last, skip, length, at, 1)

    def carried(self, head: int) -> int:
        """What of this request travels with its record, and takes no copy (see `ways`)."""
        return 0

    # --- completing ---

    def complete(self, head: int, written: int) -> int:
        """The request is done. With IN_ORDER it is used when all that came before it is (virtio 1.4 §2.7.9, §2.8.8)."""
        if not self.in_order:
            return self.use(head, written)
        self.ended[head] = 1
        self.amounts[head] = written
        while self.lined:
            first = self.line[self.line_head]
            if not self.ended[first]:
                break
            self.ended[first] = 0
            self.line_head = (self.line_head + 1) & (self.size - 1)
            self.lined -= 1
            self.use(first, self.amounts[first])
        return 0

    def use(self, head: int, written: int) -> int:
        """Make what says that a request is used in own RAM, and release its chain; `publish` shows it."""
        return 0

    def publish(self) -> int:
        """Show the driver what was completed; `notice` says whether it wants to be told. 1 if anything moved.

        Data and status were staged before, so they travel first.
        """
        return 0
