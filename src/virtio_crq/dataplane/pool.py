# SPDX-License-Identifier: Apache-2.0
"""`map=pool`: memory that is mapped once, when the device comes up, and taken back when it was let go.

No request maps or unmaps its header, its status or short data. In return the server can reach these at all times, for
writing too (CRQ-F-90 to CRQ-F-94): so nothing but requests lies there, a driver reads nothing back that it wrote there
itself, and a kernel pays a copy of its own between the pool and the pages that its user named. Copying long data would
cost more than mapping does, so data of more than `kept` bytes is mapped for its request alone, by one call, at
addresses of its own.

Short data has no place of its own: it takes the lowest run of pages that is free. So requests that are made one after
the other have their data one behind the other, and whoever serves them together can move it all by one copy.

    heads: slot 0, 1, …  |  short data, `kept` bytes for each slot  |  long data: slot 0, 1, …
"""

from array import array

from virtio_crq.dataplane.mapping import SlotMapping, pages
from virtio_crq.dataplane.pieces import DATA, FROM_DEVICE
from virtio_crq.dataplane.staging import Staging
from virtio_crq.platform.partition import Arena, BusAddress
from virtio_crq.platform.port import Port


class Pool(SlotMapping):
    """`standing` bytes are mapped, from the front. Without long data the third part is not there."""

    name = "pool"
    stays = True

    def __init__(self, port: Port, slots: int, head: int, data: int, memory: int, bus: int, kept: int = 0) -> None:
        super().__init__(port, slots, head, data, memory, bus)
        self.kept = min(pages(kept), self.room)
        self.step = head + self.kept  # mapped at once: one call is not to ask for too much
        self.near = slots * self.step
        short = slots * head
        self.short = Staging(Arena(memory + short, slots * self.kept, BusAddress(bus + short)))
        self.places = array("Q", [memory] * slots)
        self.taken = array("Q", bytes(8 * slots))
        self.lengths = array("Q", bytes(8 * slots))
        self.standing = 0
        self.ending = 0

    @staticmethod
    def footprint(slots: int, head: int, data: int, kept: int = 0) -> tuple[int, int]:
        room = pages(data)
        each = head + min(pages(kept), room) + (room if room > pages(kept) else 0)
        return slots * each, slots * each

    def begin(self) -> int:
        while self.standing < self.near:
            code = self.port.map(self.bus + self.standing, self.memory + self.standing, self.step, FROM_DEVICE)
            if code:
                return code
            self.standing += self.step
        return 0

    def end(self) -> None:
        self.ending = 1

    def finish(self) -> int:
        while self.standing:
            code = self.port.unmap(self.bus + self.standing - self.step, self.step)
            if code < 0:
                return self.denied(code)
            if code > 0:
                return 1
            self.standing -= self.step
        return 0

    def place(self, slot: int, length: int) -> int:
        if length > self.kept:
            self.places[slot] = self.memory + self.near + slot * self.room
        elif length:
            at = self.short.take(length)
            if at < 0:
                return 1  # there is room, but in pieces: requests that end will join some
            self.places[slot] = at
            self.taken[slot] = length
        return 0

    def vacate(self, slot: int) -> int:
        if self.taken[slot]:
            self.short.give(self.places[slot], self.taken[slot])
            self.taken[slot] = 0
        return 0

    def at(self, slot: int, piece: int) -> int:
        return self.places[slot] if piece == DATA else self.memory + slot * self.head

    def bus_at(self, slot: int, piece: int) -> int:
        return self.at(slot, piece) - self.memory + self.bus

    def show(self, slot: int, piece: int, length: int, access: int) -> int:
        if piece != DATA or self.taken[slot] or self.lengths[slot]:
            return 0  # it is mapped; that depends on where the data was placed, which a short request may not fill
        code = self.port.map(self.bus_at(slot, DATA), self.at(slot, DATA), pages(length), access)
        if code == 0:
            self.lengths[slot] = pages(length)
        return code

    def hide(self, slot: int) -> int:
        """One's own again as far as the used entry can be believed, as long as the device is there; else at the end."""
        if self.lengths[slot]:
            code = self.port.unmap(self.bus_at(slot, DATA), self.lengths[slot])
            if code < 0:
                return self.denied(code)
            if code > 0:
                return 1
            self.lengths[slot] = 0
        return 1 if self.ending and self.standing else 0

    def offset_of(self, bus: int, length: int) -> int:
        if bus < self.bus:
            return -1
        distance = bus - self.bus
        if distance >= self.near:
            return self._far_offset(distance - self.near, length)
        if distance > self.standing or length > self.standing - distance:
            return -1
        return self.memory + distance

    def _far_offset(self, distance: int, length: int) -> int:
        slot = distance // self.room
        rest = distance % self.room
        if slot >= self.slots or rest > self.lengths[slot] or length > self.lengths[slot] - rest:
            return -1
        return self.memory + self.near + distance
