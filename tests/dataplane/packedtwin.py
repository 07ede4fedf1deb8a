# SPDX-License-Identifier: Apache-2.0
"""The device side of a packed block queue, slow and obviously right, over the same requests as the split one."""

import struct

from packedguest import AVAIL, USED, PackedGuest
from rig import INDIRECT, NEXT, WRITE
from twin import SEGMENTS, Broken, Segment, Twin


class PackedTwin(Twin):
    """Serves chain by chain up to the announced position, and makes one used descriptor for each."""

    def __init__(self, guest: PackedGuest, sectors: int, indirect: bool = True) -> None:
        super().__init__(guest, sectors, indirect)
        self.packed = guest

    def serve(self) -> str | None:
        while self.done != self.packed.next:
            try:
                head, count, chain = self._ring_chain()
                self._show(head, count, self._request(chain))
            except Broken as broken:
                return str(broken)
        return None

    def _ring_chain(self) -> tuple[int, int, list[Segment]]:
        parts: list[tuple[int, int, int]] = []
        position = self.done
        while True:
            if position == self.packed.next:
                raise Broken("chain-cut")
            place = self.packed.descriptors + 16 * (position % self.packed.size)
            address, length, head, flags = struct.unpack_from("<QIHH", self.memory, place)
            if flags & (AVAIL | USED) != (AVAIL if self.packed.wrap(position) else USED):
                raise Broken("descriptor-unmarked")
            if flags & INDIRECT and (parts or flags & NEXT):
                raise Broken("indirect-next")
            parts.append((address, length, flags))
            position = (position + 1) & 0xFFFF
            if not flags & NEXT:
                break
        if head >= self.packed.size:
            raise Broken("head-range")
        found: list[Segment] = []
        for address, length, flags in parts:
            if flags & INDIRECT:
                self._flat_table(found, address, length)
            else:
                self._add(found, address, length, flags)
        return head, len(parts), found

    def _flat_table(self, found: list[Segment], address: int, length: int) -> None:
        if not self.indirect:
            raise Broken("indirect-refused")
        if length == 0 or length % 16 or length > 16 * SEGMENTS:
            raise Broken("indirect-size")
        if address + length >= 1 << 64:
            raise Broken("address-wrap")
        entries = self._copy_in(address, length)
        for at, size, _, flags in struct.iter_unpack("<QIHH", entries):
            if flags & INDIRECT:
                raise Broken("indirect-nested")
            self._add(found, at, size, flags)

    def _show(self, head: int, count: int, written: int) -> None:
        mark = AVAIL | USED if self.packed.wrap(self.done) else 0
        place = self.packed.descriptors + 16 * (self.done % self.packed.size) + 8
        struct.pack_into("<IHH", self.memory, place, written, head, mark | (WRITE if written else 0))
        self.done = (self.done + count) & 0xFFFF
