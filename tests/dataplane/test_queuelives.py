# SPDX-License-Identifier: Apache-2.0
"""Both halves of a queue over one memory: whatever copy a server dies in, each request ends once, and right."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pushpair import Mapped
from rig import WINDOW, Platform, Rig
from slowring import Wire

from combinations import strategies
from virtio_crq.dataplane.blockservice import BlockService
from virtio_crq.dataplane.directfront import DirectFront
from virtio_crq.dataplane.disktraits import DiskTraits
from virtio_crq.dataplane.driverring import DriverRing
from virtio_crq.dataplane.front import Front
from virtio_crq.dataplane.packeddriverring import PackedDriverRing
from virtio_crq.dataplane.pool import Pool
from virtio_crq.dataplane.ramstore import RamStore
from virtio_crq.dataplane.ringterms import RingResume, RingTerms
from virtio_crq.dataplane.sidefront import SideFront
from virtio_crq.dataplane.sidequeue import SideQueue
from virtio_crq.dataplane.splitdriverring import SplitDriverRing
from virtio_crq.dataplane.windowfront import WindowFront
from virtio_crq.platform.channel import AVAIL, CREDIT, USED
from virtio_crq.platform.hosted import host
from virtio_crq.platform.port import Port
from virtio_crq.virtio.ringareas import placed

ANSWERS, RECORDS, SLOTS = 0x4000, 0x8000, 0x10000
PARTNER, GONE = 77, -4
SIZE, REQUESTS, SECTORS = 16, 8, 64
BLOCK = 512


class Mortal(Platform):
    """Dies in the copy that `fuse` counts down to, of which any part of the bytes arrives."""

    def __init__(self) -> None:
        super().__init__()
        self.fuse = -1
        self.draw = random.Random(0)

    def copy(self, vector: list[tuple[int, int, int, int]]) -> tuple[int, int]:
        for done, one in enumerate(vector):
            if self.fuse == 0:
                self.tear(*one)
                return -11, done
            self.fuse -= 1
            code, _ = super().copy([one])
            if code:
                return code, done
        return 0, len(vector)

    def tear(self, remote: int, local: int, length: int, outward: int) -> None:
        if not outward:
            return
        before = bytes(self.guest)
        super().copy([(remote, local, length, outward)])
        end = remote - WINDOW + length
        for at in range((remote - WINDOW) & ~1, end, 2):  # what is torn is no aligned field of two bytes (CRQ-D-37)
            if self.draw.randrange(2):
                self.guest[at : at + 2] = before[at : at + 2]

    def queue_send(self, handle: int, record: bytes) -> int:
        if self.fuse == 0:
            return GONE
        self.fuse -= 1
        return super().queue_send(handle, record)


class Sides(Mapped):
    """The client's platform: what it sends by a side queue is put into the server's."""

    def __init__(self, life: "Life") -> None:
        self.life = life

    def queue_open(self, bus: int, length: int) -> tuple[int, int, int]:
        self.life.memory[ANSWERS : ANSWERS + length] = bytes(length)
        return 0, 5, 1

    def queue_close(self, handle: int) -> int:
        return 0

    def queue_signal(self, interrupt: int, enabled: int) -> int:
        return 0

    def queue_send(self, handle: int, record: bytes) -> int:
        side, port = self.life.rig.link.sides[2, 1], self.life.rig.port
        at = side.offset + 32 * (self.life.asked % side.slots)
        assert port.read(at, 1) == b"\0", "a slot that was not freed"
        port.write(at + 1, record[1:])
        port.write(at, record[:1])
        self.life.asked += 1
        return 0

    def queue_batch(self, handle: int, bus: int, count: int) -> int:
        for at in range(bus - WINDOW, bus - WINDOW + 32 * count, 32):
            self.queue_send(handle, bytes(self.life.memory[at : at + 32]))
        return 0


class Life:
    """A client with `REQUESTS` slots, and a server that is lost and comes back over the same store."""

    def __init__(self, strategy: str, draw: random.Random, pooled: bool, **features: bool) -> None:
        self.layout, _, self.fetch = strategy.partition("-")
        self.features = features
        self.draw = draw
        self.platform = Mortal()
        self.platform.draw = draw
        self.memory = self.platform.guest
        self.port = Port(host(Sides(self), self.memory))  # type: ignore[arg-type]
        self.asked = self.told = 0  # records put into either side queue
        self.side: SideQueue | None = None
        indirect, event_idx = features["indirect"], features["event_idx"]
        self.ring: DriverRing
        if self.layout == "packed":
            self.ring = PackedDriverRing(self.port, 0, SIZE, indirect, event_idx, 2, 1, features["in_order"])
        else:
            self.ring = SplitDriverRing(self.port, 0, SIZE, indirect, event_idx, 2, 1)
            self.features["in_order"] = False
        self.front = self.front_over(self.ring)
        if pooled:
            slots = Pool(self.port, REQUESTS, 4096, 4096, SLOTS, WINDOW + SLOTS, 4096)
            assert slots.begin() == 0
            self.front.translate(slots)
        self.wire = Wire()
        self.store = RamStore(SECTORS * BLOCK)
        self.model = bytearray(SECTORS * BLOCK)
        self.flying: dict[int, tuple[int, int, bytes]] = {}  # by slot: kind, sector, what it writes
        self.mark = 0
        self.completed = 0
        self.serve(None)

    def front_over(self, ring: Any) -> Front:
        """What tells a server of this layout."""
        if self.layout == "records":
            return WindowFront(ring, RECORDS, WINDOW + RECORDS, 1)
        if self.layout == "paired":
            self.side = SideQueue(self.port, ANSWERS, WINDOW + ANSWERS, 128)
            return SideFront(ring, RECORDS, WINDOW + RECORDS, 1, self.side)
        return DirectFront(ring)

    def pair(self) -> None:
        """Both ends have new side queues; what was left in the old ones is gone."""
        assert self.side is not None
        self.side.close()
        assert self.side.open() == 0
        self.side.partner = self.rig.link.pair(2, 1, SIZE, PARTNER)
        self.asked = self.told = 0
        self.platform.sides[PARTNER] = self.answer

    def answer(self, record: bytes) -> None:
        at = ANSWERS + 32 * (self.told % 128)
        assert self.memory[at] == 0, "a slot that was not freed"
        self.memory[at : at + 32] = record
        self.told += 1

    def terms(self) -> RingTerms:
        areas = (RECORDS, 0, RECORDS + 32 * SIZE)
        if self.fetch != "push":
            areas = (0, *placed(SIZE, self.layout == "packed")[:2])
        return RingTerms(
            SIZE, *(WINDOW + area for area in areas), **self.features,
            ring=self.layout, fetch=self.fetch, device=2, queue=1, mark=self.mark,
        )  # fmt: skip

    def serve(self, resume: RingResume | None) -> None:
        """A new server."""
        rig = self.rig = Rig(platform=self.platform)
        self.platform.fuse = -1
        self.mark = self.mark % 255 + 1
        if self.side is not None:
            self.pair()
        terms = self.terms()
        rig.link.open_queue(2, 1, BlockService(self.store, DiskTraits(SECTORS, b"serial")), terms, resume)

    def submit(self) -> None:
        free = [slot for slot in range(REQUESTS) if slot not in self.flying]
        busy = {sector for _, sector, _ in self.flying.values()}
        sector = self.draw.randrange(SECTORS - 1)
        if not free or {sector - 1, sector, sector + 1} & busy:
            return
        slot, kind, pieces = self.draw.choice(free), self.draw.randrange(2), self.draw.choice([1, 1, 2])
        at = SLOTS + 8192 * slot
        data = self.draw.randbytes(BLOCK * pieces) if kind else bytes(BLOCK * pieces)
        self.memory[at : at + 16] = kind.to_bytes(8, "little") + sector.to_bytes(8, "little")
        self.memory[at + 64] = 0xFF
        self.memory[at + 4096 : at + 4096 + len(data)] = data if kind else b"\xee" * len(data)
        parts = [(at, 16, 0), *((at + 4096 + BLOCK * each, BLOCK, 1 - kind) for each in range(pieces)), (at + 64, 1, 1)]
        for place, length, writable in parts:
            assert self.ring.segment(WINDOW + place, length, writable) == 0
        if self.ring.submit(slot, at + 1024, WINDOW + at + 1024) >= 0:
            self.flying[slot] = kind, sector, data

    def client(self) -> None:
        """A turn of the client: what came, what ended, what is due."""
        said, self.rig.channel.said = self.rig.channel.said, []
        for kind, _device, _queue, position, credit in said:
            if kind == USED:
                self.front.used_told(position, credit)
            elif kind == CREDIT:
                self.front.credit_returned()
        self.drain()
        self.front.publish()
        if self.front.rearm():
            self.drain()
        self.front.settle(self.wire)
        for kind, position, credit in self.wire.sent:
            self.rig.channel.coming.append((kind if kind == AVAIL else CREDIT, 2, 1, position, credit))
        self.wire.sent.clear()

    def drain(self) -> None:
        self.front.deliver()
        while (slot := self.ring.collect()) >= 0:
            kind, sector, data = self.flying.pop(slot)
            at = SLOTS + 8192 * slot
            assert self.memory[at + 64] == 0
            assert self.ring.length == (1 if kind else 1 + len(data))
            place = slice(sector * BLOCK, sector * BLOCK + len(data))
            if kind:
                self.model[place] = data
            else:
                assert self.memory[at + 4096 : at + 4096 + len(data)] == self.model[place]
            self.completed += 1

    def lose(self) -> None:
        """The server is gone with all that was under way; the next one is told what was in flight."""
        self.front.deliver()
        self.drain()
        self.front.suspend()
        if self.draw.randrange(2):
            self.submit()
            self.front.publish()
        self.rig.link.close()
        available, used, heads = self.front.standing(self.mark % 255 + 1)
        self.serve(RingResume(available, used, tuple(heads)))
        self.front.resume()


@pytest.mark.clause("CRQ-D-38", "CRQ-D-85", "CRQ-D-130", "CRQ-D-151", "CRQ-F-68")
@pytest.mark.parametrize("strategy", strategies())
@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    pooled=st.booleans(),
    indirect=st.booleans(),
    event_idx=st.booleans(),
    in_order=st.booleans(),
)
def test_each_request_ends_once_and_right_wherever_its_server_dies(
    strategy: str, seed: int, pooled: bool, **features: bool
) -> None:
    draw = random.Random(seed)
    life = Life(strategy, draw, pooled, **features)
    for _step in range(120):
        act = draw.randrange(8)
        if act <= 2:
            life.submit()
        elif act <= 4:
            life.client()
        elif act <= 6:
            life.rig.link.turn()
        elif draw.randrange(3) == 0:
            life.platform.fuse = draw.randrange(6)
        if life.rig.faults:
            assert {rule for _device, _queue, rule in life.rig.faults} <= {"copy-refused", "record-refused"}
            life.lose()
    if life.platform.fuse >= 0:
        life.platform.fuse = -1
    for _turn in range(50):
        life.client()
        life.rig.link.turn()
    assert not life.rig.faults
    assert life.flying == {}
    assert life.front.refusals == {}
