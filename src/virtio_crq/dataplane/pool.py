# SPDX-License-Identifier: Apache-2.0
"""`map=pool`: the slots are mapped once, when the device comes up, and taken back when it was let go.

No request maps or unmaps anything. In return the server can reach all slots, for writing too, at all times (CRQ-F-90
to CRQ-F-94): so nothing but requests lies in them, a driver reads nothing back that it wrote there itself, and a
kernel pays a copy of its own between the slot and the pages that its user named.
"""

from virtio_crq.dataplane.mapping import SlotMapping, pages
from virtio_crq.dataplane.pieces import DATA, FROM_DEVICE
from virtio_crq.platform.port import Port


class Pool(SlotMapping):
    """One stretch of the window, in the order of own RAM."""

    name = "pool"
    bounces = True

    def __init__(self, port: Port, slots: int, head: int, data: int, memory: int, bus: int) -> None:
        super().__init__(port, slots, head, data, memory, bus)
        self.standing = 0
        self.ending = 0

    @staticmethod
    def footprint(slots: int, head: int, data: int) -> tuple[int, int]:
        return slots * (head + pages(data)), slots * (head + pages(data))

    def begin(self) -> int:
        code = self.port.map(self.bus, self.memory, self.slots * self.stride, FROM_DEVICE)
        self.standing = 0 if code else 1
        return code

    def end(self) -> None:
        self.ending = 1

    def finish(self) -> int:
        if self.standing:
            code = self.port.unmap(self.bus, self.slots * self.stride)
            if code < 0:
                return self.denied(code)
            if code > 0:
                return 1
            self.standing = 0
        return 0

    def bus_at(self, slot: int, piece: int) -> int:
        return self.bus + slot * self.stride + (self.head if piece == DATA else 0)

    def show(self, slot: int, piece: int, length: int, access: int) -> int:
        return 0

    def hide(self, slot: int) -> int:
        """One's own again as far as the used entry can be believed, as long as the device is there; else at the end."""
        if self.ending and self.standing:
            return 1
        return 0

    def offset_of(self, bus: int, length: int) -> int:
        if self.standing == 0 or bus < self.bus or bus - self.bus > self.slots * self.stride:
            return -1
        if length > self.slots * self.stride - (bus - self.bus):
            return -1
        return self.memory + (bus - self.bus)
