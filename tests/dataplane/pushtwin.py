# SPDX-License-Identifier: Apache-2.0
"""The device side of a pushed block queue, slow and obviously right, over the same requests as those of rings."""

import struct

from pushguest import COMPLETIONS, LIST, MARK, REQUESTS, TAIL, WRITE, PushGuest
from rig import INDIRECT
from twin import SEGMENTS, Broken, Segment, Twin

INSIDE = -64  # where the bytes that stand in a record are, for a walk of a request's parts
LAST = -1  # and the last byte to write


class PushTwin(Twin):
    """Serves records up to the announced position, and makes one completion for each."""

    def __init__(self, pushed: PushGuest, sectors: int) -> None:
        self.pushed, self.memory = pushed, pushed.memory
        self.disk = bytearray(sectors * 512)
        self.indirect = True
        self.done = 0
        self.inside = b""
        self.last: int | None = None

    def serve(self) -> str | None:
        while self.done != self.pushed.position:
            try:
                self._complete(*self._record(bytes(self.memory[self._at(32) : self._at(32) + 32])))
            except Broken as broken:
                return str(broken)
        return None

    def _at(self, length: int) -> int:
        return (REQUESTS if length == 32 else COMPLETIONS) + length * (self.done % self.pushed.size)

    def _record(self, record: bytes) -> tuple[int, int]:
        marker, flags, head, device, queue, session = struct.unpack_from("<BBHHBB", record)
        address, length = int.from_bytes(record[8:13], "little"), int.from_bytes(record[13:16], "little")
        count = flags & 0x1F
        if marker != 0x80:
            raise Broken("record-marker")
        if (device, queue, session) != (2, 1, MARK):
            raise Broken("record-name")
        if count > 16 or (flags & WRITE and (flags & LIST or not length)):
            raise Broken("record-flags")
        if not length and (address or not flags & (0x1F | TAIL)):
            raise Broken("record-empty")
        if head >= self.pushed.size:
            raise Broken("head-range")
        self.inside, self.last = record[16 : 16 + count], None
        found: list[Segment] = [(INSIDE, count, 0)] if count else []
        if flags & LIST:
            if not length or length % 16 or length > 16 * SEGMENTS:
                raise Broken("indirect-size")
            self._table(found, address, length, INDIRECT)
        elif length:
            self._add(found, address, length, 2 if flags & WRITE else 0)
        if flags & TAIL:
            self._add(found, LAST, 1, 2)
        return head, self._request(found)

    def _complete(self, head: int, written: int) -> None:
        flags = 0 if self.last is None else TAIL
        struct.pack_into(
            "<BBHHBBIB3x", self.memory, self._at(16), 0x80, flags, head, 2, 1, MARK, written, self.last or 0
        )
        self.done = (self.done + 1) & 0xFFFF

    def _copy_in(self, address: int, length: int) -> bytes:
        if address < 0:
            return self.inside[address - INSIDE : address - INSIDE + length]
        return super()._copy_in(address, length)

    def _copy_out(self, address: int, data: bytes) -> None:
        if address == LAST:
            self.last = data[0]
        else:
            super()._copy_out(address, data)
