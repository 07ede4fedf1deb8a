# SPDX-License-Identifier: Apache-2.0
"""A slow, obviously right device for a driver's packed ring: §2.8 as the standard tells it, one by one."""

from slowring import MEMORY, TABLES, Nobody, Speed, Wire

from virtio_crq.platform.hosted import host
from virtio_crq.platform.port import Port

Chain = list[tuple[int, int, int]]


class SlowPackedDevice:
    """Fetches up to a position, uses in any order; with `in_order`, may use many by one descriptor."""

    def __init__(self, memory: bytearray, size: int) -> None:
        self.memory, self.size = memory, size
        self.wish_at, self.own_wish = 16 * size, 16 * size + 4
        self.fetched = self.position = 0
        self.open: dict[int, Chain] = {}
        self.counts: dict[int, int] = {}

    def number(self, at: int, width: int) -> int:
        return int.from_bytes(self.memory[at : at + width], "little")

    def put(self, at: int, width: int, value: int) -> None:
        self.memory[at : at + width] = value.to_bytes(width, "little")

    def wrap(self, position: int) -> bool:
        return position // self.size % 2 == 0

    def fetch(self, until: int) -> None:
        while self.fetched != until:
            found: Chain = []
            count = 0
            while True:
                assert self.fetched != until, "a chain goes on beyond the announced position"
                at = 16 * (self.fetched % self.size)
                flags = self.number(at + 14, 2)
                assert bool(flags & 1 << 7) == self.wrap(self.fetched) != bool(flags & 1 << 15)
                if flags & 4:
                    assert not flags & 1
                    assert count == 0
                    found = self.table(self.number(at, 8), self.number(at + 8, 4))
                else:
                    found.append((self.number(at, 8), self.number(at + 8, 4), flags & 2))
                self.fetched = (self.fetched + 1) & 0xFFFF
                count += 1
                if not flags & 1:
                    break
            head = self.number(at + 12, 2)
            assert head < self.size
            assert head not in self.open
            self.open[head], self.counts[head] = found, count

    def table(self, at: int, length: int) -> Chain:
        places = range(at, at + length, 16)
        assert not any(self.number(place + 14, 2) & ~2 for place in places)
        return [(self.number(place, 8), self.number(place + 8, 4), self.number(place + 14, 2)) for place in places]

    def mark(self, position: int, head: int, length: int) -> None:
        at = 16 * (position % self.size)
        self.put(at + 8, 4, length)
        self.put(at + 12, 2, head)
        self.put(at + 14, 2, (0x8080 if self.wrap(position) else 0) | (2 if length else 0))

    def use(self, head: int, length: int) -> None:
        self.mark(self.position, head, length)
        self.skip(head)

    def use_up_to(self, head: int, length: int) -> None:
        self.mark(self.position, head, length)
        while (first := next(iter(self.open))) != head:
            self.skip(first)
        self.skip(head)

    def skip(self, head: int) -> None:
        self.position = (self.position + self.counts.pop(head, 1)) & 0xFFFF
        self.open.pop(head, None)

    def wish(self, flags: int, position: int = 0) -> None:
        self.put(self.own_wish, 2, position % self.size | (0x8000 if self.wrap(position) else 0))
        self.put(self.own_wish + 2, 2, flags)

    def asked(self) -> tuple[int, int]:
        """Flags and position of the driver's wish."""
        return self.number(self.wish_at + 2, 2), self.number(self.wish_at, 2)


class PackedPair:
    """A packed ring and its slow device over one memory."""

    def __init__(
        self, speed: Speed, size: int = 8, indirect: bool = False, event_idx: bool = True, in_order: bool = False
    ) -> None:
        self.memory = bytearray(MEMORY)
        self.port = Port(host(Nobody(), self.memory))  # type: ignore[arg-type]
        self.ring = speed.packed.PackedDriverRing(self.port, 0, size, indirect, event_idx, in_order=in_order)
        self.front = speed.front.DirectFront(self.ring)
        self.device = SlowPackedDevice(self.memory, size)
        self.wire = Wire()

    def submit(self, token: int, *segments: tuple[int, int, int]) -> int:
        for bus, length, writable in segments:
            if self.ring.segment(bus, length, writable) < 0:
                return -1
        table = TABLES + 4096 * (token % 240)  # a device that returns fetches tables again
        return int(self.ring.submit(token, table, table))

    def publish(self) -> None:
        self.front.publish()
        if self.front.pending:
            self.front.settle(self.wire)

    def one(self, token: int = 7, writable: int = 100) -> int:
        """One request of 16 bytes to read and `writable` to write, published and fetched."""
        head = self.submit(token, (0x1000, 16, 0), (0x2000, writable, 1))
        self.publish()
        self.device.fetch(self.ring.published)
        return head
