# SPDX-License-Identifier: Apache-2.0
"""What the planner did for each request in flight, and for those that ended last.

Writing allocates nothing. Reading is the business of the thread that writes: a control thread asks it.
"""

from array import array

from virtio_crq.dataplane.ways import NO_DATA, NOTHING

RECENT = 64  # requests of one queue that are remembered; a power of two


class Journal:
    """By head while a request is in flight (index `size`: the ring's own copies), by turns once it ended."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.pieces = array("Q", bytes(8 * size + 8))
        self.copies = array("Q", bytes(8 * size + 8))
        self.splits = array("Q", bytes(8 * size + 8))
        self.ways = array("B", bytes(size))
        self.reasons = array("B", bytes(size))
        self.copying_ns = array("Q", bytes(8 * size))
        self.redirecting_ns = array("Q", bytes(8 * size))
        self.ended = 0
        self.heads = array("H", bytes(2 * RECENT))
        self.kinds = array("B", bytes(RECENT))
        self.lengths = array("Q", bytes(8 * RECENT))
        self.segments = array("H", bytes(2 * RECENT))
        self.crews = array("H", bytes(2 * RECENT))
        self.inlines = array("B", bytes(RECENT))
        self.ended_ways = array("B", bytes(RECENT))
        self.ended_reasons = array("B", bytes(RECENT))
        self.ended_pieces = array("H", bytes(2 * RECENT))
        self.ended_copies = array("H", bytes(2 * RECENT))
        self.ended_splits = array("H", bytes(2 * RECENT))
        self.ended_copying_ns = array("Q", bytes(8 * RECENT))
        self.ended_redirecting_ns = array("Q", bytes(8 * RECENT))

    def open(self, head: int) -> int:
        """A request begins, without copies."""
        self.pieces[head] = 0
        self.copies[head] = 0
        self.splits[head] = 0
        self.ways[head] = NOTHING
        self.reasons[head] = NO_DATA
        self.redirecting_ns[head] = 0
        return 0

    def decide(self, head: int, way: int, reason: int) -> int:
        """How its data moves, and why; whoever decides last is right."""
        self.ways[head] = way
        self.reasons[head] = reason
        return 0

    def weigh(self, head: int, copying_ns: int, redirecting_ns: int) -> int:
        """What was expected of either way when it was decided."""
        self.copying_ns[head] = copying_ns
        self.redirecting_ns[head] = redirecting_ns
        return 0

    def close(self, head: int, kind: int, length: int, segments: int, inline: int, crew: int) -> int:
        """It ended; it was served together with `crew` - 1 others."""
        at = self.ended & (RECENT - 1)
        self.heads[at] = head
        self.kinds[at] = kind
        self.lengths[at] = length
        self.segments[at] = segments
        self.crews[at] = crew
        self.inlines[at] = inline
        self.ended_ways[at] = self.ways[head]
        self.ended_reasons[at] = self.reasons[head]
        self.ended_pieces[at] = self.pieces[head] & 0xFFFF
        self.ended_copies[at] = self.copies[head] & 0xFFFF
        self.ended_splits[at] = self.splits[head] & 0xFFFF
        self.ended_redirecting_ns[at] = self.redirecting_ns[head]
        if self.redirecting_ns[head]:
            self.ended_copying_ns[at] = self.copying_ns[head]
        self.ended += 1
        return 0

    def ring_copies(self) -> int:
        """Copies that were the ring's own, of all so far."""
        return self.copies[self.size]

    def recent(self, last: int = RECENT) -> list[dict[str, int]]:
        """The requests that ended last, oldest first."""
        found = []
        for index in range(max(0, self.ended - min(last, RECENT)), self.ended):
            at = index % RECENT
            weighed = self.ended_redirecting_ns[at] != 0
            found.append(
                {
                    "number": index + 1,
                    "head": self.heads[at],
                    "kind": self.kinds[at],
                    "bytes": self.lengths[at],
                    "segments": self.segments[at],
                    "batch": self.crews[at],
                    "inline": self.inlines[at],
                    "way": self.ended_ways[at],
                    "reason": self.ended_reasons[at],
                    "pieces": self.ended_pieces[at],
                    "copies": self.ended_copies[at],
                    "splits": self.ended_splits[at],
                    "copying_ns": self.ended_copying_ns[at] if weighed else 0,
                    "redirecting_ns": self.ended_redirecting_ns[at] if weighed else 0,
                }
            )
        return found
