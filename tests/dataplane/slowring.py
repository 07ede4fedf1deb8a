# SPDX-License-Identifier: Apache-2.0
"""A slow, obviously right device for a driver's ring, and both speeds of the driver."""

import importlib.util
import os
import sys
from types import ModuleType
from typing import NamedTuple
from unittest.mock import patch

from virtio_crq.dataplane import directfront, driverring, front, packeddriverring
from virtio_crq.dataplane import splitdriverring as compiled
from virtio_crq.platform.channel import Channel
from virtio_crq.platform.hosted import host
from virtio_crq.platform.port import Port

MEMORY = 1 << 20
TABLES = 1 << 16  # where the tests keep indirect tables; bus addresses equal offsets


def interpreted(of: ModuleType, *below: ModuleType) -> ModuleType:
    """The same source as a plain module of its own, over the same compiled port, and over these of `below`."""
    name = of.__name__.rpartition(".")[2]
    source = os.path.join(os.path.dirname(str(of.__file__)), name + ".py")
    spec = importlib.util.spec_from_file_location("interpreted_" + name, source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    imported = {each.__name__.replace("interpreted_", "virtio_crq.dataplane."): each for each in below}
    with patch.dict(sys.modules, imported):
        spec.loader.exec_module(module)
    return module


class Speed(NamedTuple):
    """A driver's ring in either layout and its front, as one speed has them."""

    ring: ModuleType
    front: ModuleType
    packed: ModuleType


PLAIN = interpreted(driverring)
PLAIN_FRONT = interpreted(front, PLAIN)
SPEEDS = {
    "compiled": Speed(compiled, directfront, packeddriverring),
    "interpreted": Speed(
        interpreted(compiled, PLAIN),
        interpreted(directfront, PLAIN_FRONT),
        interpreted(packeddriverring, PLAIN),
    ),
}


class Nobody:
    """A platform that is never asked for anything."""

    def fileno(self) -> int:
        return -1


class Wire(Channel):
    """Keeps what was announced."""

    def __init__(self) -> None:
        super().__init__()
        self.code = 0
        self.sent: list[tuple[int, int, int]] = []

    def announce(self, kind: int, device: int, queue: int, position: int, credit: int) -> int:
        if self.code == 0:
            self.sent.append((kind, position, credit))
        return self.code


class SlowDevice:
    """The device's side in plain Python, as the standard tells it: §2.7, nothing merged, nothing cached."""

    def __init__(self, memory: bytearray, size: int, event_idx: bool) -> None:
        self.memory, self.size, self.event_idx = memory, size, event_idx
        self.avail, self.used, _length = compiled.footprint(size)
        self.fetched = self.position = 0
        self.open: dict[int, list[tuple[int, int, int]]] = {}

    def number(self, at: int, width: int) -> int:
        return int.from_bytes(self.memory[at : at + width], "little")

    def put(self, at: int, width: int, value: int) -> None:
        self.memory[at : at + width] = value.to_bytes(width, "little")

    def fetch(self, until: int) -> None:
        while self.fetched != until:
            head = self.number(self.avail + 4 + 2 * (self.fetched % self.size), 2)
            assert head < self.size
            assert head not in self.open
            self.open[head] = self.chain(0, head)
            self.fetched = (self.fetched + 1) & 0xFFFF

    def chain(self, table: int, index: int) -> list[tuple[int, int, int]]:
        found: list[tuple[int, int, int]] = []
        while True:
            at = table + 16 * index
            bus, length, flags = self.number(at, 8), self.number(at + 8, 4), self.number(at + 12, 2)
            if flags & 4:
                assert length % 16 == 0
                return self.chain(bus, 0)
            found.append((bus, length, flags & 2))
            assert len(found) <= self.size
            if not flags & 1:
                return found
            index = self.number(at + 14, 2)

    def use(self, head: int, length: int) -> None:
        at = self.used + 4 + 8 * (self.position % self.size)
        self.put(at, 4, head)
        self.put(at + 4, 4, length)
        self.position = (self.position + 1) & 0xFFFF
        self.put(self.used + 2, 2, self.position)
        self.open.pop(head, None)

    def wish(self, position: int) -> None:
        self.put(self.used + 4 + 8 * self.size, 2, position)


class Pair:
    """A ring and its slow device over one memory, with rules of credits kept on the device's side."""

    def __init__(self, speed: Speed, size: int = 8, indirect: bool = False, event_idx: bool = True) -> None:
        self.memory = bytearray(MEMORY)
        self.port = Port(host(Nobody(), self.memory))  # type: ignore[arg-type]
        self.ring = speed.ring.SplitDriverRing(self.port, 0, size, indirect, event_idx)
        self.front = speed.front.DirectFront(self.ring)
        self.device = SlowDevice(self.memory, size, event_idx)
        self.wire = Wire()

    def submit(self, token: int, *segments: tuple[int, int, int]) -> int:
        for bus, length, writable in segments:
            if self.ring.segment(bus, length, writable) < 0:
                return -1
        table = TABLES + 4096 * (token % 64)
        head = self.ring.submit(token, table, table)
        return int(head)

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
