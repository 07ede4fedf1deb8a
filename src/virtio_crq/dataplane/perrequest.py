# SPDX-License-Identifier: Apache-2.0
"""`map=per-request`: what a Linux guest's DMA layer does for virtio_blk.

Header, data, status and, when the chain is indirect, its table are each mapped by a call of their own before the
request, each at an I/O address of its own though three of them share a page, and unmapped by one after it.
"""

from array import array

from virtio_crq.dataplane.mapping import SlotMapping, pages
from virtio_crq.dataplane.pieces import DATA, HEADER, PAGE, STATUS, TABLE
from virtio_crq.platform.port import Port


class PerRequest(SlotMapping):
    """What the server can reach is what runs. A slot whose memory cannot be taken back yet stays shown."""

    name = "per-request"

    def __init__(self, port: Port, slots: int, head: int, data: int, memory: int, bus: int, kept: int = 0) -> None:
        super().__init__(port, slots, head, data, memory, bus)
        self.bus_stride = 3 * head + pages(data)
        self.shown = array("Q", bytes(8 * slots))
        self.lengths = array("Q", bytes(8 * slots))

    @staticmethod
    def footprint(slots: int, head: int, data: int, kept: int = 0) -> tuple[int, int]:
        return slots * (head + pages(data)), slots * (3 * head + pages(data))

    def bus_at(self, slot: int, piece: int) -> int:
        return self.bus + slot * self.bus_stride + (3 * self.head if piece == DATA else (piece >> 1) * PAGE)

    def show(self, slot: int, piece: int, length: int, access: int) -> int:
        if self.shown[slot] & piece:
            return 0
        code = self.port.map(self.bus_at(slot, piece), self.at(slot, piece), pages(length), access)
        if code == 0:
            self.shown[slot] = self.shown[slot] | piece
            if piece == DATA:
                self.lengths[slot] = pages(length)
        return code

    def hide(self, slot: int) -> int:
        if self.shown[slot] == 0:
            return 0
        self._unmap(slot, HEADER, PAGE)
        self._unmap(slot, STATUS, PAGE)
        self._unmap(slot, TABLE, PAGE)
        self._unmap(slot, DATA, self.lengths[slot])
        return 1 if self.shown[slot] else 0

    def _unmap(self, slot: int, piece: int, length: int) -> int:
        if self.shown[slot] & piece == 0:
            return 0
        code = self.port.unmap(self.bus_at(slot, piece), length)
        if code < 0:
            return self.denied(code)
        if code == 0:
            self.shown[slot] = self.shown[slot] & ~piece
        return 0

    def offset_of(self, bus: int, length: int) -> int:
        if bus < self.bus or bus - self.bus >= self.slots * self.bus_stride:
            return -1
        slot = (bus - self.bus) // self.bus_stride
        rest = (bus - self.bus) % self.bus_stride
        piece = DATA
        reach = self.lengths[slot]
        if rest < 3 * self.head:
            piece = HEADER << (rest // PAGE)
            rest = rest % PAGE
            reach = PAGE
        else:
            rest = rest - 3 * self.head
        if self.shown[slot] & piece == 0 or rest > reach or length > reach - rest:
            return -1
        return self.at(slot, piece) + rest
