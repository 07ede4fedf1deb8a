# SPDX-License-Identifier: Apache-2.0
"""The consumer's half of a sub-CRQ, and records to send."""

from collections.abc import Iterable

from twopartitions import BOTH, DATA, PAGE, End

SUBS = 0x40_0000  # where an end keeps its sub-CRQs: I/O address and RAM offset alike
LAID = DATA + 0x8000  # a page of records to send
SLOTS = PAGE // 32


def record(number: int) -> bytes:
    """All of a record depends on its number."""
    return b"\x80" + number.to_bytes(7, "big") + (~number & (1 << 64) - 1).to_bytes(8, "big") * 3


def lay(end: End, numbers: Iterable[int]) -> None:
    for index, number in enumerate(numbers):
        end.port.write(LAID + 32 * index, record(number))


class SubQueue:
    """A registered sub-CRQ of `end`, read from its first slot on."""

    def __init__(self, end: End, place: int = 0, length: int = PAGE) -> None:
        self._end = end
        self.at = SUBS + 0x1_0000 * place
        self.slots = length // 32
        self._cursor = 0
        assert end.port.map(self.at, self.at, length, BOTH) == 0
        code, self.handle, self.interrupt = end.port.queue_open(self.at, length)
        assert code == 0

    def take(self, clear_all: bool = False) -> bytes | None:
        slot = self.at + 32 * self._cursor
        if not self._end.port.acquire8(slot):
            return None
        found = self._end.port.read(slot, 32)
        if clear_all:
            self._end.port.write(slot + 8, bytes(24))
            self._end.port.store64(slot, 0)
        self._end.port.release8(slot, 0)
        self._cursor = (self._cursor + 1) % self.slots
        return found

    def take_all(self, clear_all: bool = False) -> list[bytes]:
        return list(iter(lambda: self.take(clear_all), None))
