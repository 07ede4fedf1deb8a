# SPDX-License-Identifier: Apache-2.0
"""The device side of a split block queue, slow and obviously right: guest memory in, guest memory out.

It reads the guest's memory directly, keeps no window, no lanes and no batches, and knows nothing of the fast path.
"""

import struct

from rig import INDIRECT, NEXT, WINDOW, WRITE, Guest

SEGMENTS = 130
Segment = tuple[int, int, int]


class Broken(Exception):
    """The driver broke the rule of this name."""


class Twin:
    """Serves `guest` from a disk of whole sectors; `serve` answers the rule that was broken, or None."""

    def __init__(self, guest: Guest, sectors: int, indirect: bool = True) -> None:
        self.guest = guest
        self.memory = guest.memory
        self.disk = bytearray(sectors * 512)
        self.indirect = indirect
        self.done = 0

    def serve(self) -> str | None:
        while self.done != self.guest.next:
            place = self.guest.available + 4 + 2 * (self.done % self.guest.size)
            (head,) = struct.unpack_from("<H", self.memory, place)
            try:
                self._use(head, self._request(self._chain(head)))
            except Broken as broken:
                return str(broken)
        return None

    def _use(self, head: int, written: int) -> None:
        struct.pack_into("<II", self.memory, self.guest.used + 4 + 8 * (self.done % self.guest.size), head, written)
        self.done = (self.done + 1) & 0xFFFF
        struct.pack_into("<H", self.memory, self.guest.used + 2, self.done)

    def _chain(self, head: int) -> list[Segment]:
        if head >= self.guest.size:
            raise Broken("head-range")
        found: list[Segment] = []
        index, steps = head, 0
        while True:
            address, length, flags, follower = struct.unpack_from(
                "<QIHH", self.memory, self.guest.descriptors + 16 * index
            )
            steps += 1
            if steps > self.guest.size:
                raise Broken("chain-loop")
            if flags & INDIRECT:
                self._table(found, address, length, flags)
                return found
            self._add(found, address, length, flags)
            if not flags & NEXT:
                return found
            if follower >= self.guest.size:
                raise Broken("descriptor-range")
            index = follower

    def _table(self, found: list[Segment], address: int, length: int, flags: int) -> None:
        if not self.indirect:
            raise Broken("indirect-refused")
        if flags & NEXT:
            raise Broken("indirect-next")
        if length == 0 or length % 16 or length > 16 * SEGMENTS:
            raise Broken("indirect-size")
        if address + length >= 1 << 64:
            raise Broken("address-wrap")
        entries = self._copy_in(address, length)
        index, steps = 0, 0
        while True:
            steps += 1
            if steps > length // 16:
                raise Broken("chain-loop")
            at, size, more, follower = struct.unpack_from("<QIHH", entries, 16 * index)
            if more & INDIRECT:
                raise Broken("indirect-nested")
            self._add(found, at, size, more)
            if not more & NEXT:
                return
            if follower >= length // 16:
                raise Broken("descriptor-range")
            index = follower

    def _add(self, found: list[Segment], address: int, length: int, flags: int) -> None:
        if len(found) == SEGMENTS:
            raise Broken("chain-too-long")
        if length == 0:
            raise Broken("zero-length")
        if address + length >= 1 << 64:
            raise Broken("address-wrap")
        if not flags & WRITE and any(writable for _, _, writable in found):
            raise Broken("readable-after-writable")
        found.append((address, length, flags & WRITE))

    def _copy_in(self, address: int, length: int) -> bytes:
        if not WINDOW <= address <= address + length <= WINDOW + len(self.memory):
            raise Broken("copy-refused")
        return bytes(self.memory[address - WINDOW : address - WINDOW + length])

    def _copy_out(self, address: int, data: bytes) -> None:
        self._copy_in(address, len(data))
        self.memory[address - WINDOW : address - WINDOW + len(data)] = data

    def _request(self, chain: list[Segment]) -> int:
        readable = [(address, length) for address, length, writable in chain if not writable]
        writable = [(address, length) for address, length, write in chain if write]
        room = sum(length for _, length in writable)
        if sum(length for _, length in readable) < 16:
            raise Broken("header-short")
        if room < 1:
            raise Broken("status-missing")
        kind, _, sector = struct.unpack("<IIQ", self._gather(readable, 0, 16))
        status, data = self._perform(kind, sector, readable, room)
        self._scatter(writable, 0, data)
        self._scatter(writable, room - 1, bytes([status]))
        return len(data) + (len(data) == room - 1)

    def _perform(self, kind: int, sector: int, readable: list[tuple[int, int]], room: int) -> tuple[int, bytes]:
        if kind == 4:
            return 0, b""
        if kind == 8:
            return 0, b"serial-7".ljust(20, b"\0")[: room - 1]
        if kind not in (0, 1):
            return 2, b""
        length = room - 1 if kind == 0 else sum(size for _, size in readable) - 16
        place = sector * 512
        if not length or length % 512 or place + length > len(self.disk):
            return 1, b""
        if kind == 0:
            return 0, bytes(self.disk[place : place + length])
        self.disk[place : place + length] = self._gather(readable, 16, length)
        return 0, b""

    def _gather(self, segments: list[tuple[int, int]], skip: int, length: int) -> bytes:
        found = b""
        for address, size in segments:
            start, end = max(skip, 0), min(size, skip + length)
            if start < end:
                found += self._copy_in(address + start, end - start)
                length -= end - start
                skip = 0
            else:
                skip -= size
        return found

    def _scatter(self, segments: list[tuple[int, int]], skip: int, data: bytes) -> None:
        for address, size in segments:
            if skip >= size:
                skip -= size
                continue
            piece = data[: size - skip]
            if piece:
                self._copy_out(address + skip, piece)
            data, skip = data[len(piece) :], 0
