# SPDX-License-Identifier: Apache-2.0
"""Own RAM that data passes through: pages of a connection's arena, handed out in runs, lowest first.

Lowest first keeps the working set small: a connection that needs 32 pages at a time uses the same 32 all day.
"""

from array import array

from virtio_crq.platform.partition import Arena

PAGE = 4096
NONE = -1  # take: no run of pages is long enough


class Staging:
    """Offsets are into own RAM; `address` turns one into what a copy wants."""

    def __init__(self, arena: Arena) -> None:
        self.offset = arena.offset
        self.bus = arena.bus
        self.count = arena.size // 4096
        self.free = self.count
        self.hint = 0
        self.pages = array("B", bytes(self.count))

    def take(self, length: int) -> int:
        """The offset of a run of pages that holds `length` bytes, or NONE."""
        need = (length + PAGE - 1) // PAGE
        run = 0
        index = self.hint
        while index < self.count:
            run = 0 if self.pages[index] else run + 1
            index += 1
            if run == need:
                break
        if run != need or need == 0:
            return NONE
        if index - need == self.hint:
            self.hint = index
        self.free -= need
        for _ in range(need):
            index -= 1
            self.pages[index] = 1
        return self.offset + index * PAGE

    def give(self, at: int, length: int) -> int:
        """Take back what `take(length)` returned."""
        first = (at - self.offset) // PAGE
        need = (length + PAGE - 1) // PAGE
        for index in range(first, first + need):
            self.pages[index] = 0
        self.free += need
        if first < self.hint:
            self.hint = first
        return 0

    def address(self, at: int) -> int:
        """The I/O address of own memory at this offset."""
        return at - self.offset + self.bus
