# SPDX-License-Identifier: Apache-2.0
"""How bytes travel between the driver's memory and own RAM: one planner for each queue.

Whoever has bytes to move names a piece: where it is there, where it is here, how long, which way. The planner makes
copies of the pieces: one that goes on where the last one ended, at both ends, is joined to it, be it over the end of
a page, of a segment or of a request; one that is longer than the platform copies at once is split.
Pieces are never put in another order, and a flush ends a copy, so what may be seen of them from outside is unchanged.

One vector in EVERY is timed: from it comes what a copy costs, the platform's price included (see `cost`), and how many
copies a piece takes. Pieces that are usually joined are cheap, so whoever weighs copying one more against another way
need not know what it would join. The two are learnt apart: vectors of joined and of single pieces fit no common price.

It also says how many descriptors are brought beyond the first one of a request before anybody knows that they are
needed: as many as the longest chain needed of late. One too few costs a vector more, one too many sixteen bytes.
"""

from virtio_crq.dataplane.clock import Clock
from virtio_crq.dataplane.cost import Cost
from virtio_crq.dataplane.faults import refuse
from virtio_crq.dataplane.journal import Journal
from virtio_crq.dataplane.staging import Staging
from virtio_crq.platform.port import Port

EVERY = 64  # vectors, of which one is timed
CALL_NS = 300.0  # until it was measured
BYTE_NS = 0.1
FADE = 15 / 16  # of what earlier vectors say of joining, with each that is timed
LONGEST = 0xFFFFFFFF  # a copy's length has 32 bits
LOW32 = 0xFFFFFFFF
DEEPEST = 64  # descriptors brought with a head
AGE = 16  # fetches, after which it is looked at how deep they went


class Planner:
    """`joining` 0: each piece is a copy. `copying` is what copies cost, `journal` what was done for which request.

    `share` is how many copies a piece takes of late: below 1 where pieces are joined.
    `vectors` counts what was flushed, `depth` is how many descriptors are worth bringing with a head.
    """

    def __init__(self, port: Port, staging: Staging, max_copy: int, size: int) -> None:
        self.port = port
        self.shift = staging.address(0)
        self.max_copy = min(max_copy, LONGEST)
        self.joining = 1
        self.clock = Clock()
        self.copying = Cost(CALL_NS, BYTE_NS)
        self.journal = Journal(size)
        self.vectors = 0
        self.until = 1
        self.staged = 0
        self.pieces = 0
        self.staged_bytes = 0
        self.share = 1.0
        self.many_copies = self.many_pieces = 0.0
        self.depth = 1
        self.deepest = 1
        self.age = 0

    # --- copies ---

    def copy(self, owner: int, remote: int, at: int, length: int, outward: int) -> int:
        """Stage one piece for the request `owner` (a head, or the queue's size: the ring itself)."""
        self.journal.pieces[owner] += 1
        self.pieces += 1
        if self.joining:
            joined = self.port.extend(remote, self.shift + at, length, outward, self.max_copy)
            self.staged_bytes += joined
            if joined == length:
                return 0
            remote += joined
            at += joined
            length -= joined
            if joined:
                self.journal.splits[owner] += 1
        while length > self.max_copy:
            self._stage(owner, remote, at, self.max_copy, outward)
            self.pieces += 1
            self.journal.splits[owner] += 1
            remote += self.max_copy
            at += self.max_copy
            length -= self.max_copy
        return self._stage(owner, remote, at, length, outward)

    def _stage(self, owner: int, remote: int, at: int, length: int, outward: int) -> int:
        if self.port.stage(remote, self.shift + at, length, outward) != 0:
            self.flush()
            self.pieces = 1  # this one: it comes after what was full
            self.port.stage(remote, self.shift + at, length, outward)
        self.journal.copies[owner] += 1
        self.staged += 1
        self.staged_bytes += length
        return 0

    def flush(self) -> int:
        """Have all staged copies made, in order. A refused one is the driver's doing: its window, its addresses."""
        count = self.staged
        pieces = self.pieces
        length = self.staged_bytes
        begun = -1
        self.staged = 0
        self.pieces = 0
        self.staged_bytes = 0
        if count:
            self.vectors += 1
            self.until -= 1
            if self.until == 0:
                self.until = EVERY
                begun = self.clock.now()
        code = self.port.flush()
        if code != 0:
            refuse("copy-refused", code & LOW32, self.port.done)
        if begun >= 0:
            self.copying.learn(count, length, self.clock.now() - begun)
            self.many_copies = FADE * self.many_copies + count
            self.many_pieces = FADE * self.many_pieces + pieces
            self.share = self.many_copies / self.many_pieces
        return 0

    def of(self, pieces: int, length: int) -> int:
        """Nanoseconds that copying this many more pieces with this many bytes is expected to take."""
        return int(self.copying.call_ns * self.share * pieces + self.copying.byte_ns * length)

    def time_next(self) -> int:
        """The next vector is timed, whatever its number."""
        self.until = 1
        return 0

    # --- what is brought before it is asked for ---

    def went(self, depth: int) -> int:
        """A fetch is over; its longest chain had so many descriptors."""
        if depth > DEEPEST:
            depth = DEEPEST
        if depth > self.depth:
            self.depth = depth
        if depth > self.deepest:
            self.deepest = depth
        self.age += 1
        if self.age == AGE:
            self.depth = self.deepest
            self.deepest = 1
            self.age = 0
        return 0
