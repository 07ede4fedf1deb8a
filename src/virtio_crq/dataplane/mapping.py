# SPDX-License-Identifier: Apache-2.0
"""The memory of request slots, and how the device comes to reach it: the seam of the axis `map`.

A slot is a page for what surrounds the data (header, status, indirect table: `head` bytes, none where a device type
needs none) and, where a strategy does not place data otherwise, the pages of the data. A driver gives a request's data
its place, shows its pieces before the request is made available, hides the slot after it was used, and vacates it;
what that means to the platform is a strategy's affair: see `perrequest` and `pool`.
"""

from virtio_crq.dataplane.pieces import DATA, PAGE
from virtio_crq.errors import PlatformError
from virtio_crq.platform.port import Port


def pages(length: int) -> int:
    """`length` rounded up to whole I/O pages."""
    return (length + PAGE - 1) & ~(PAGE - 1)


class SlotMapping:
    """`slots` of `head` + `data` bytes, in own RAM from `memory` on; what the device is told begins at `bus`.

    The areas have the sizes that `footprint` tells. Data of up to `kept` bytes lies in memory that stays mapped, where
    a strategy keeps any: a kernel would have to copy that between its own pages and these. Driven by one thread,
    like the port.
    """

    name = ""
    stays = False  # what surrounds the data stays mapped, at addresses that a transport may look behind

    def __init__(self, port: Port, slots: int, head: int, data: int, memory: int, bus: int, kept: int = 0) -> None:
        if memory % PAGE or bus % PAGE or head % PAGE:
            raise ValueError("slots begin on a page")
        self.port = port
        self.slots = slots
        self.head = head
        self.room = pages(data)
        self.stride = head + self.room
        self.kept = 0
        self.memory = memory
        self.bus = bus

    @staticmethod
    def footprint(slots: int, head: int, data: int, kept: int = 0) -> tuple[int, int]:
        """Bytes of own RAM and bytes of the window that they take."""
        raise NotImplementedError

    # --- once, with the interpreter's lock ---

    def begin(self) -> int:
        """Before the first request: 0, or the platform's code (positive: ask again)."""
        return 0

    def end(self) -> None:
        """No request runs any more, and none will: whatever is still mapped is taken back from now on."""

    def finish(self) -> int:
        """After `end`: take back what still stands. 0 when nothing does; 1: the platform is busy, ask again."""
        return 0

    def locate(self, bus: int, length: int) -> int:
        """`offset_of` for Python."""
        return int(self.offset_of(bus, length))

    # --- for each request, without it ---

    def place(self, slot: int, length: int) -> int:
        """Give the slot's data of so many bytes a place: 0, or 1 when there is none now."""
        return 0

    def vacate(self, slot: int) -> int:
        """The data's place is free for others."""
        return 0

    def at(self, slot: int, piece: int) -> int:
        """Where a piece begins in own RAM, data once it was placed; header, status and table are within one page."""
        return self.memory + slot * self.stride + (self.head if piece == DATA else 0)

    def bus_at(self, slot: int, piece: int) -> int:
        """The I/O address that stands for `at`, of data once it was shown."""
        return 0

    def show(self, slot: int, piece: int, length: int, access: int) -> int:
        """Let the device reach a piece; 0, or the platform's code. What was shown already stays so."""
        return 0

    def hide(self, slot: int) -> int:
        """The slot's request is over: 0 when its memory is one's own again, 1 when it is to be asked again."""
        return 0

    def offset_of(self, bus: int, length: int) -> int:
        """Own RAM behind an I/O address that a request was told, or -1 unless all `length` bytes are shown there."""
        return -1

    def denied(self, code: int) -> int:
        raise PlatformError("map", code, "request slots with nothing else in flight")
