# SPDX-License-Identifier: Apache-2.0
"""A block driver at both speeds over a slow device, with or without a channel between them."""

import struct

from slowring import SlowDevice, Wire, interpreted

from virtio_crq.dataplane import blockdriver, directfront, mapping, perrequest, pool, splitdriverring
from virtio_crq.platform.channel import AVAIL, NOTHING, USED
from virtio_crq.platform.hosted import host
from virtio_crq.platform.port import Port

RING, SLOTS, BUS = 0, 1 << 16, 1 << 32  # the slots' bus addresses are not their offsets
READ, WRITE, FLUSH, GET_ID = 0, 1, 4, 8
DRIVERS = {"compiled": blockdriver, "interpreted": interpreted(blockdriver)}
SLOW_MAPPING = interpreted(mapping)
MAPPINGS = {
    ("compiled", "per-request"): perrequest.PerRequest,
    ("compiled", "pool"): pool.Pool,
    ("interpreted", "per-request"): interpreted(perrequest, SLOW_MAPPING).PerRequest,
    ("interpreted", "pool"): interpreted(pool, SLOW_MAPPING).Pool,
}
SPEEDS = sorted(DRIVERS)


class Pages:
    """A platform that maps, counts, and answers from `codes` first."""

    def __init__(self) -> None:
        self.pages: dict[int, tuple[int, int]] = {}
        self.asked: list[tuple[str, int, int]] = []
        self.codes: list[int] = []

    def map(self, bus: int, offset: int, length: int, access: int) -> int:
        if self.codes and (code := self.codes.pop(0)):
            return code
        assert bus % 4096 == offset % 4096 == length % 4096 == 0
        self.asked.append(("map", bus, access))
        for at in range(0, length, 4096):
            assert (bus + at) // 4096 not in self.pages, "mapped twice"
            self.pages[(bus + at) // 4096] = (offset + at, access)
        return 0

    def unmap(self, bus: int, length: int) -> int:
        if self.codes and (code := self.codes.pop(0)):
            return code
        self.asked.append(("unmap", bus, 0))
        for at in range(0, length, 4096):
            del self.pages[(bus + at) // 4096]
        return 0

    def fileno(self) -> int:
        return -1

    def at(self, bus: int, access: int) -> int:
        """The offset that the device reaches at `bus`; KeyError or a failed check when it may not."""
        offset, allowed = self.pages[bus // 4096]
        assert allowed & access
        return offset + bus % 4096


class Rig:
    """A block driver, its ring, a slow device, and the pages between them."""

    def __init__(
        self,
        speed: str,
        *,
        indirect: bool = False,
        slots: int = 4,
        transfer: int = 8192,
        kind: str = "per-request",
        kept: int = 8192,
        pages: Pages | None = None,
        queue: int = 0,
        **limits: int,
    ) -> None:
        self.memory = bytearray(1 << 20)
        self.pages = pages or Pages()
        self.port = Port(host(self.pages, self.memory))  # type: ignore[arg-type]
        self.ring = splitdriverring.SplitDriverRing(self.port, RING, 16, indirect, True, 0, queue)
        self.mapping = MAPPINGS[speed, kind](self.port, slots, blockdriver.HEAD, transfer, SLOTS, BUS, kept)
        assert self.mapping.begin() == 0
        self.driver = DRIVERS[speed].BlockDriver(
            self.ring, self.mapping, 1 << 30, limits.get("size_max", 0), limits.get("seg_max", 0)
        )
        self.front = directfront.DirectFront(self.ring)
        self.device = SlowDevice(self.memory, 16, True)
        self.wire = Wire()

    def submit(self, kind: int, sector: int, length: int) -> int:
        slot = int(self.driver.acquire(length))
        assert self.driver.submit(slot, kind, sector, length) == 0
        self.ring.publish()
        return slot

    def chain(self) -> tuple[int, list[tuple[int, int, int]]]:
        """The device fetches all and gives the oldest; an indirect table is read through the pages."""
        until = self.ring.published
        while self.device.fetched != until:
            at = self.device.avail + 4 + 2 * (self.device.fetched % 16)
            head = self.device.number(at, 2)
            bus, length, flags = struct.unpack_from("<QIH", self.memory, 16 * head)
            if flags & 4:
                table = self.pages.at(bus, 1)
                entries = [struct.unpack_from("<QIH", self.memory, table + at) for at in range(0, length, 16)]
                self.device.open[head] = [(bus, length, flags & 2) for bus, length, flags in entries]
                self.device.fetched += 1
            else:
                self.device.fetch((self.device.fetched + 1) & 0xFFFF)
        head = next(iter(self.device.open))
        return head, self.device.open[head]

    def answer(self, length: int, status: int = 0) -> None:
        head, chain = self.chain()
        self.memory[self.pages.at(chain[-1][0], 2)] = status
        self.device.use(head, length)


class ServedWire(Wire):
    """A channel with a slow device behind it: what is announced is served at once, and told."""

    def __init__(self, rig: Rig) -> None:
        super().__init__()
        self.rig = rig
        self.queued: list[tuple[int, int, int]] = []
        self.kinds: list[tuple[int, int]] = []

    def announce(self, kind: int, device: int, queue: int, position: int, credit: int) -> int:
        super().announce(kind, device, queue, position, credit)
        if kind == AVAIL:
            while self.rig.device.fetched != position or self.rig.device.open:
                _head, chain = self.rig.chain()
                request = struct.unpack_from("<IIQ", self.rig.memory, self.rig.pages.at(chain[0][0], 1))
                self.kinds.append((request[0], request[2]))
                self.rig.answer(1 + sum(length for _bus, length, flags in chain[1:-1] if flags))
            self.rig.device.wish(self.rig.device.fetched)
            self.queued.append((USED, self.rig.device.position, 1))
        return 0

    def poll(self) -> int:
        if not self.queued:
            return NOTHING
        kind, self.position, self.credit = self.queued.pop(0)
        return kind
