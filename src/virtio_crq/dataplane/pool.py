# SPDX-License-Identifier: Apache-2.0
"""`map=pool`: slots are mapped once, when the device comes up, and taken back when it was let go.

No request maps or unmaps its header, its status or short data. In return the server can reach these at all times, for
writing too (CRQ-F-90 to CRQ-F-94): so nothing but requests lies there, a driver reads nothing back that it wrote there
itself, and a kernel pays a copy of its own between the slot and the pages that its user named. Copying long data would
cost more than mapping does, so data of more than `kept` bytes is mapped for its request alone, by one call, at
addresses of its own.

    window   [slot 0: head, kept] [slot 1: head, kept] …   [slot 0: long data] [slot 1: long data] …
"""

from array import array

from virtio_crq.dataplane.mapping import SlotMapping, pages
from virtio_crq.dataplane.pieces import DATA, FROM_DEVICE
from virtio_crq.platform.port import Port


class Pool(SlotMapping):
    """`standing` slots are mapped. Without long data there is no second stretch of the window."""

    name = "pool"
    stays = True

    def __init__(self, port: Port, slots: int, head: int, data: int, memory: int, bus: int, kept: int = 0) -> None:
        super().__init__(port, slots, head, data, memory, bus)
        self.kept = min(pages(kept), self.room)
        self.near = head + self.kept
        self.far = bus + slots * self.near
        self.lengths = array("Q", bytes(8 * slots))
        self.standing = 0
        self.ending = 0

    @staticmethod
    def footprint(slots: int, head: int, data: int, kept: int = 0) -> tuple[int, int]:
        room = pages(data)
        near = head + min(pages(kept), room)
        return slots * (head + room), slots * (near + (room if room > pages(kept) else 0))

    def begin(self) -> int:
        while self.near and self.standing < self.slots:
            at = self.standing * self.stride
            code = self.port.map(self.bus + self.standing * self.near, self.memory + at, self.near, FROM_DEVICE)
            if code:
                return code
            self.standing += 1
        return 0

    def end(self) -> None:
        self.ending = 1

    def finish(self) -> int:
        while self.standing:
            code = self.port.unmap(self.bus + (self.standing - 1) * self.near, self.near)
            if code < 0:
                return self.denied(code)
            if code > 0:
                return 1
            self.standing -= 1
        return 0

    def bus_at(self, slot: int, piece: int) -> int:
        if piece != DATA:
            return self.bus + slot * self.near
        if self.lengths[slot]:
            return self.far + slot * self.room
        return self.bus + slot * self.near + self.head

    def show(self, slot: int, piece: int, length: int, access: int) -> int:
        if piece != DATA or length <= self.kept or self.lengths[slot]:
            return 0
        code = self.port.map(self.far + slot * self.room, self.at(slot, DATA), pages(length), access)
        if code == 0:
            self.lengths[slot] = pages(length)
        return code

    def hide(self, slot: int) -> int:
        """One's own again as far as the used entry can be believed, as long as the device is there; else at the end."""
        if self.lengths[slot]:
            code = self.port.unmap(self.far + slot * self.room, self.lengths[slot])
            if code < 0:
                return self.denied(code)
            if code > 0:
                return 1
            self.lengths[slot] = 0
        return 1 if self.ending and self.standing else 0

    def offset_of(self, bus: int, length: int) -> int:
        if bus >= self.far:
            return self._far_offset(bus - self.far, length)
        if bus < self.bus:
            return -1
        slot = (bus - self.bus) // self.near
        rest = (bus - self.bus) % self.near
        if slot >= self.standing or length > self.near - rest:
            return -1
        return self.memory + slot * self.stride + rest

    def _far_offset(self, distance: int, length: int) -> int:
        slot = distance // self.room
        rest = distance % self.room
        if slot >= self.slots or rest > self.lengths[slot] or length > self.lengths[slot] - rest:
            return -1
        return self.at(slot, DATA) + rest
