# SPDX-License-Identifier: Apache-2.0
"""Descriptor chains: from a snapshot in own RAM to a request's segments (virtio 1.4 §2.7.5).

A guest's byte is used once. The ring copies descriptors into own RAM; `go_on` reads each word of the snapshot once,
checks it and keeps what it means under the chain's head. Several chains are walked at a time, each in a lane: a walk
that needs a descriptor not yet in hand stops, and goes on after the next copy.
"""

from array import array

from virtio_crq.dataplane.chains import Chains
from virtio_crq.dataplane.faults import refuse
from virtio_crq.dataplane.limits import LANES, SEGMENTS
from virtio_crq.platform.port import Port
from virtio_crq.virtio import splitring

NEXT = splitring.DESC_F_NEXT
INDIRECT = splitring.DESC_F_INDIRECT
DESCRIPTOR = splitring.DESCRIPTOR_SIZE
END = 0xFFFFFFFF  # cursor of a walked chain
LOW32 = 0xFFFFFFFF
WHOLE = 0xFFFFFFFFFFFFFFFF
LACKING = 0  # go_on: the descriptor at the cursor is not in hand
WALKED = 1
ASIDE = 2  # go_on: the indirect table is not in hand


class SplitWalk:
    """Walks that fill `chains`. `table` and `tables` are offsets of the snapshots in own RAM."""

    def __init__(self, port: Port, chains: Chains, indirect: bool, table: int, tables: int) -> None:
        self.port = port
        self.chains = chains
        self.size = chains.size
        self.indirect = 1 if indirect else 0
        self.table = table
        self.tables = tables
        self.low = 0
        self.high = 0
        self.stamp = 0
        self.marks = array("I", bytes(4 * chains.size))
        self.heads = array("Q", bytes(8 * LANES))
        self.cursors = array("Q", bytes(8 * LANES))
        self.hops = array("Q", bytes(8 * LANES))
        self.table_address = array("Q", bytes(8 * LANES))
        self.table_length = array("Q", bytes(8 * LANES))

    def window(self, low: int, high: int) -> int:
        """A new round: descriptors low to high are in the snapshot, others when marked."""
        self.low = low
        self.high = high
        self.stamp = (self.stamp + 1) & LOW32
        return 0

    def mark(self, index: int) -> int:
        """This one descriptor is in the snapshot as well."""
        self.marks[index] = self.stamp
        return 0

    def begin(self, lane: int, head: int) -> int:
        """Take a head into a lane."""
        self.chains.open(head, lane)
        self.heads[lane] = head
        self.cursors[lane] = head
        self.hops[lane] = 0
        return 0

    def in_hand(self, index: int) -> int:
        if self.low <= index < self.high:
            return 1
        return 1 if self.marks[index] == self.stamp else 0

    def go_on(self, lane: int) -> int:
        """Go on with a chain: WALKED, LACKING (the descriptor at its cursor) or ASIDE (its indirect table)."""
        head = self.heads[lane]
        index = self.cursors[lane]
        if index == END:
            return WALKED
        while index < self.size and self.in_hand(index):
            at = self.table + DESCRIPTOR * index
            address = self.port.load64(at)
            word = self.port.load64(at + 8)
            length = word & LOW32
            flags = (word >> 32) & 0xFFFF
            self.hops[lane] += 1
            if self.hops[lane] > self.size:
                refuse("chain-loop", head, self.size)
            if flags & INDIRECT:
                self._turn_aside(lane, address, length, flags)
                return ASIDE
            self.chains.segment(head, address, length, flags)
            if not flags & NEXT:
                self.cursors[lane] = END
                return WALKED
            index = word >> 48
            if index >= self.size:
                refuse("descriptor-range", index, self.size)
            self.cursors[lane] = index
        return LACKING

    def _turn_aside(self, lane: int, address: int, length: int, flags: int) -> int:
        # §2.7.5.3.1: negotiated, last of its chain, whole descriptors; §2.7.5.3.2: WRITE on it means nothing.
        if not self.indirect:
            refuse("indirect-refused", self.heads[lane], length)
        if flags & NEXT:
            refuse("indirect-next", self.heads[lane], flags)
        if length == 0 or length % DESCRIPTOR or length > DESCRIPTOR * SEGMENTS:
            refuse("indirect-size", self.heads[lane], length)
        if (address + length) & WHOLE < length:
            refuse("address-wrap", address, length)
        self.table_address[lane] = address
        self.table_length[lane] = length
        return 0

    def go_through(self, lane: int) -> int:
        """The lane's indirect table is in the snapshot: the rest of the chain."""
        at = self.tables + DESCRIPTOR * SEGMENTS * lane
        self.through(self.heads[lane], at, self.table_length[lane] // DESCRIPTOR)
        self.cursors[lane] = END
        return WALKED

    def through(self, head: int, at: int, count: int) -> int:
        """A table of `count` descriptors stands at `at`: its chain, from the first one on, goes on that of `head`."""
        index = 0
        hops = 0
        while True:
            hops += 1
            if hops > count:
                refuse("chain-loop", head, count)
            address = self.port.load64(at + DESCRIPTOR * index)
            word = self.port.load64(at + DESCRIPTOR * index + 8)
            length = word & LOW32
            flags = (word >> 32) & 0xFFFF
            if flags & INDIRECT:
                refuse("indirect-nested", head, index)
            self.chains.segment(head, address, length, flags)
            if not flags & NEXT:
                break
            index = word >> 48
            if index >= count:
                refuse("descriptor-range", index, count)
        return 0
