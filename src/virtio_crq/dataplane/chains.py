# SPDX-License-Identifier: Apache-2.0
"""The requests of a queue: segments that were held against every rule that all rings share (virtio 1.4 §2.6).

A ring's strategy finds a request's segments, by walking a table (`splitwalk`) or by whatever its records say, and
gives them here one by one; they stay under the request's head until it is released.
"""

from array import array

from virtio_crq.dataplane.faults import refuse
from virtio_crq.dataplane.limits import SEGMENTS
from virtio_crq.platform.port import Port

WRITE = 2  # flags of a segment: as VIRTQ_DESC_F_WRITE of either ring
WHOLE = 0xFFFFFFFFFFFFFFFF


class Chains:
    """The requests of one queue by head, a number below the queue's size."""

    def __init__(self, port: Port, size: int) -> None:
        self.port = port
        self.size = size
        self.in_flight = 0
        self.busy = array("B", bytes(size))
        self.segments = array("I", bytes(4 * size))
        self.readables = array("I", bytes(4 * size))
        self.readable = array("Q", bytes(8 * size))
        self.writable = array("Q", bytes(8 * size))
        self.addresses = array("Q", bytes(8 * size * SEGMENTS))
        self.lengths = array("I", bytes(4 * size * SEGMENTS))

    def open(self, head: int, position: int) -> int:
        """A request begins, without segments; it is in flight from here until `release`."""
        if head >= self.size:
            refuse("head-range", head, self.size)
        if self.busy[head]:
            refuse("head-in-flight", head, position)
        self.busy[head] = 1
        self.in_flight += 1
        self.segments[head] = 0
        self.readables[head] = 0
        self.readable[head] = 0
        self.writable[head] = 0
        return 0

    def release(self, head: int) -> int:
        self.busy[head] = 0
        self.in_flight -= 1
        return 0

    def segment(self, head: int, address: int, length: int, flags: int) -> int:
        """The request's next segment; it is writable where `flags` has WRITE."""
        count = self.segments[head]
        if count == SEGMENTS:
            refuse("chain-too-long", head, SEGMENTS)
        if length == 0:
            refuse("zero-length", head, count)
        if (address + length) & WHOLE < length:
            refuse("address-wrap", address, length)
        if flags & WRITE:
            self.writable[head] += length
        else:
            if self.writable[head]:
                refuse("readable-after-writable", head, count)
            self.readable[head] += length
            self.readables[head] = count + 1
        at = head * SEGMENTS + count
        self.addresses[at] = address
        self.lengths[at] = length
        self.segments[head] = count + 1
        return 0
