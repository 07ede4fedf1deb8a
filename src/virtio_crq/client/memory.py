# SPDX-License-Identifier: Apache-2.0
"""Who has which part of the client's RAM and of its window."""

from dataclasses import dataclass

from virtio_crq.errors import UsageError
from virtio_crq.platform.partition import Arena, BusAddress

PAGE = 4096


def whole_pages(length: int) -> int:
    """`length` rounded up to whole I/O pages."""
    return (length + PAGE - 1) // PAGE * PAGE


@dataclass(frozen=True)
class Area:
    """A stretch of RAM at `offset`, and a stretch of the window at `bus` that may be larger than it."""

    offset: int
    bus: BusAddress


class Memory:
    """Hands out areas of an arena, first come first served; nothing is given back before the session's end.

    RAM and window are counted apart: a page that is mapped more than once takes one page of RAM and several addresses.
    """

    def __init__(self, arena: Arena) -> None:
        self._offset = whole_pages(arena.offset)
        self._bus = whole_pages(arena.bus)
        self._end = arena.offset + arena.size
        self._bus_end = arena.bus + arena.size

    @property
    def left(self) -> int:
        """Bytes that are still free both in RAM and in the window."""
        return max(0, min(self._end - self._offset, self._bus_end - self._bus))

    def take(self, ram: int, window: int, purpose: str) -> Area:
        """An area of whole pages; `purpose` is named when there is no room."""
        ram, window = whole_pages(ram), whole_pages(window)
        if self._offset + ram > self._end:
            raise UsageError(
                f"{purpose} needs {ram} bytes of memory, but the client has {self._end - self._offset} left"
            )
        if self._bus + window > self._bus_end:
            raise UsageError(
                f"window too small: {purpose} needs {window} bytes of it, but {self._bus_end - self._bus} are left"
            )
        area = Area(self._offset, BusAddress(self._bus))
        self._offset += ram
        self._bus += window
        return area
