# SPDX-License-Identifier: Apache-2.0
"""A driver's ring whose requests are pushed, at both speeds, and a slow device that only knows records."""

import struct
from types import ModuleType
from typing import Any, NamedTuple

from slowring import PLAIN, PLAIN_FRONT, SPEEDS, Wire, interpreted

from virtio_crq.dataplane import mapping, pool, pushfront, sidefront, sidequeue, splitdrain, windowfront
from virtio_crq.platform.hosted import host
from virtio_crq.platform.port import Port

MEMORY = 1 << 20
WINDOW = 1 << 32  # I/O address of the memory's first byte
RECORDS = 1 << 15  # where the device finds rings and lists
SLOTS = 1 << 16  # the driver's buffers
MARK = 7
TAIL, WRITE, LIST = 0x20, 0x40, 0x80


class Speed(NamedTuple):
    """The modules of the driver's side as one speed has them."""

    ring: ModuleType
    front: ModuleType
    pool: ModuleType
    side: ModuleType
    queue: ModuleType


def _plain() -> Speed:
    ring = SPEEDS["interpreted"].ring
    slots = interpreted(mapping)
    drain = interpreted(splitdrain, ring, slots)
    pushed = interpreted(pushfront, PLAIN, PLAIN_FRONT, drain, ring, slots)
    queue = interpreted(sidequeue)
    carriers = interpreted(windowfront, pushed, ring), interpreted(sidefront, pushed, ring, queue)
    return Speed(ring, carriers[0], interpreted(pool, slots), carriers[1], queue)


PUSH_SPEEDS = {
    "compiled": Speed(SPEEDS["compiled"].ring, windowfront, pool, sidefront, sidequeue),
    "interpreted": _plain(),
}


class Mapped:
    """A platform that maps whatever it is asked to."""

    def fileno(self) -> int:
        return -1

    def map(self, bus: int, offset: int, length: int, access: int) -> int:
        return 0


class Record(NamedTuple):
    """A request as the device understands it; `parts` is the segment or the list's."""

    head: int
    flags: int
    inlined: bytes
    parts: tuple[tuple[int, int, int], ...]  # (I/O address, length, 1 where it is to write)
    mark: int


class SlowReceiver:
    """The device's side: reads records where they stand, and lists where they say."""

    def __init__(self, memory: bytearray, size: int) -> None:
        self.memory, self.size = memory, size
        self.requests = RECORDS
        self.completions = RECORDS + 32 * size
        self.fetched = self.position = 0
        self.open: dict[int, Record] = {}
        self.mark = MARK

    def fetch(self, until: int) -> list[Record]:
        found = []
        while self.fetched != until:
            record = self.record(self.fetched)
            assert record.head not in self.open
            self.open[record.head] = record
            found.append(record)
            self.fetched = (self.fetched + 1) & 0xFFFF
        return found

    def record(self, position: int) -> Record:
        at = self.requests + 32 * (position % self.size)
        marker, flags, head, device, queue, mark = struct.unpack_from("<BBHHBB", self.memory, at)
        assert (marker, device, queue) == (0x80, 3, 2)
        address = int.from_bytes(self.memory[at + 8 : at + 13], "little")
        length = int.from_bytes(self.memory[at + 13 : at + 16], "little")
        inlined = bytes(self.memory[at + 16 : at + 16 + (flags & 0x1F)])
        assert self.memory[at + 16 + (flags & 0x1F) : at + 32] == bytes(16 - (flags & 0x1F))
        parts: tuple[tuple[int, int, int], ...] = ((address, length, flags >> 6 & 1),) if length else ()
        if flags & LIST:
            end = RECORDS + (32 + 16 + 32) * self.size
            own = address - WINDOW >= SLOTS  # a table of the driver's
            assert own or self.completions + 16 * self.size <= address - WINDOW <= address - WINDOW + length <= end
            parts = tuple(self.walk(address - WINDOW, length // 16))
        return Record(head, flags & 0xE0, inlined, parts, mark)

    def walk(self, table: int, count: int) -> list[tuple[int, int, int]]:
        found = []
        index = 0
        while True:
            address, length, flags, follower = struct.unpack_from("<QIHH", self.memory, table + 16 * index)
            found.append((address, length, flags >> 1 & 1))
            assert len(found) <= count
            if not flags & 1:
                return found
            index = follower

    def use(self, head: int, written: int, tail: int | None = None) -> None:
        """Complete; `tail` is the last byte where it goes inline."""
        flags = 0 if tail is None else TAIL
        at = self.completions + 16 * (self.position % self.size)
        struct.pack_into("<BBHHBBIBBH", self.memory, at, 0x80, flags, head, 3, 2, self.mark, written, tail or 0, 0, 0)
        self.position = (self.position + 1) & 0xFFFF
        self.open.pop(head, None)


class PushPair:
    """A ring, its front and a slow device over one memory; with `pool` the front looks through the driver's slots."""

    def __init__(
        self, speed: Any, size: int = 8, pooled: bool = True, indirect: bool = False, event_idx: bool = True
    ) -> None:
        self.memory = bytearray(MEMORY)
        self.port = Port(host(Mapped(), self.memory))  # type: ignore[arg-type]
        self.ring = speed.ring.SplitDriverRing(self.port, 0, size, indirect, event_idx, 3, 2)
        self.front = speed.front.WindowFront(self.ring, RECORDS, WINDOW + RECORDS, MARK)
        if pooled:
            slots = speed.pool.Pool(self.port, 64, 4096, 4096, SLOTS, WINDOW + SLOTS, 4096)
            assert slots.begin() == 0
            self.front.translate(slots)
        self.device = SlowReceiver(self.memory, size)
        self.wire = Wire()

    def place(self, slot: int) -> int:
        return SLOTS + 8192 * slot

    def submit(self, token: int, *segments: tuple[int, int, int]) -> int:
        """Segments as (offset in own RAM, length, writable)."""
        for at, length, writable in segments:
            if self.ring.segment(WINDOW + at, length, writable) < 0:
                return -1
        table = self.place(token % 64) + 1024
        return int(self.ring.submit(token, table, WINDOW + table))

    def block(self, token: int, kind: int = 0, length: int = 4096) -> int:
        """A block request: header, data, status."""
        at = self.place(token % 64)
        self.memory[at : at + 16] = struct.pack("<IIQ", kind, 0, token)
        self.memory[at + 64] = 0xFF
        data = ((at + 4096, length, 1 - kind),) if length else ()
        return self.submit(token, (at, 16, 0), *data, (at + 64, 1, 1))

    def publish(self) -> None:
        self.front.publish()
        if self.front.pending:
            self.front.settle(self.wire)

    def fetch(self) -> list[Record]:
        return self.device.fetch(self.wire.sent[-1][1]) if self.wire.sent else []

    def tell(self, credit: int = 1) -> None:
        self.front.used_told(self.device.position, credit)
        self.front.deliver()
