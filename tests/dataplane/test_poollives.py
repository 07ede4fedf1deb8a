# SPDX-License-Identifier: Apache-2.0
"""Random lives of request slots: what is done for one is never done to the data of another, and no page is lost."""

import random
import struct

import pytest
from driverrig import READ, SPEEDS, WRITE, Rig
from hypothesis import given, settings
from hypothesis import strategies as st

SLOTS, ROOM = 5, 16384
LENGTHS = (512, 4096, 4608, 8192, 12288, 16384)


class Life:
    """Requests of all lengths from a pool over a platform that is often busy, answered in any order.

    The device finds a request's number in its header. Each byte of its data is that number's last eight bits: those of
    a write are looked at by the device, those of a read by the driver.
    """

    def __init__(self, speed: str, seed: int, kept: int, kind: str = "pool") -> None:
        self.rig = Rig(speed, kind=kind, slots=SLOTS, transfer=ROOM, kept=kept)
        self.draw = random.Random(seed)
        self.held: dict[int, tuple[int, int, int]] = {}  # kind, number and length, by slot
        self.running: dict[int, tuple[int, int, int]] = {}
        self.number = 0

    def take(self) -> None:
        room = self.draw.choice(LENGTHS)
        slot = int(self.rig.driver.acquire(room))
        if slot < 0:
            return
        self.number += 1
        length = self.draw.choice([some for some in LENGTHS if some <= room])
        self.held[slot] = self.draw.choice([READ, WRITE]), self.number, length
        self.fill(slot, self.number if self.held[slot][0] == WRITE else 0, length)

    def fill(self, slot: int, number: int, length: int) -> None:
        data = self.rig.driver.data(slot)
        self.rig.memory[data : data + length] = bytes([number & 0xFF]) * length

    def start(self) -> None:
        if not self.held:
            return
        slot = self.draw.choice(list(self.held))
        kind, number, length = self.held[slot]
        if self.rig.driver.submit(slot, kind, number, length) == 0:
            self.running[slot] = self.held.pop(slot)
        self.rig.ring.publish()

    def give_up(self) -> None:
        if self.held:
            slot = self.draw.choice(list(self.held))
            self.rig.driver.release(slot)
            del self.held[slot]

    def answer(self) -> None:
        if self.rig.ring.published == self.rig.device.fetched and not self.rig.device.open:
            return
        self.rig.chain()
        head = self.draw.choice(list(self.rig.device.open))
        header, (bus, length, writable), status = self.rig.device.open[head]
        _kind, _zero, number = struct.unpack_from("<IIQ", self.rig.memory, self.rig.pages.at(header[0], 1))
        expected = bytes([number & 0xFF])
        for at in range(bus, bus + length, 512):
            found = self.rig.pages.at(at, 2 if writable else 1)
            if writable:
                self.rig.memory[found : found + 512] = 512 * expected
            else:
                assert self.rig.memory[found : found + 512] == 512 * expected, "another's data"
        self.rig.memory[self.rig.pages.at(status[0], 2)] = 0
        self.rig.device.use(head, 1 + (length if writable else 0))

    def end(self) -> bool:
        slot = int(self.rig.driver.reap())
        if slot < 0:
            return False
        kind, number, length = self.running.pop(slot)
        if kind == READ:
            data = self.rig.driver.data(slot)
            assert self.rig.memory[data : data + length] == bytes([number & 0xFF]) * length, "another's data"
        self.rig.driver.release(slot)
        return True

    def go(self, steps: int) -> None:
        acts = (self.take, self.take, self.start, self.start, self.answer, self.end, self.give_up)
        for _ in range(steps):
            self.rig.pages.codes = [self.draw.choice([0, 0, 0, 1, 9900]) for _code in range(3)]
            self.draw.choice(acts)()
        self.rig.pages.codes = []


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1 << 32), kept=st.sampled_from([0, 4096, 8192, ROOM]))
@pytest.mark.parametrize("speed", SPEEDS)
@pytest.mark.clause("CRQ-F-94")
def test_data_of_requests_in_a_pool_is_nobody_elses_and_no_page_is_lost(speed: str, seed: int, kept: int) -> None:
    life = Life(speed, seed, kept)
    rig = life.rig
    standing = dict(rig.pages.pages)
    life.go(200)
    for slot in list(life.held):
        rig.driver.release(slot)
    while rig.device.open or rig.ring.published != rig.device.fetched:
        life.answer()
    while life.end():
        pass
    assert (life.running, rig.driver.idle, rig.driver.lingering) == ({}, SLOTS, 0)
    assert rig.pages.pages == standing
    places = {rig.driver.data(int(rig.driver.acquire(kept or 512))) for _ in range(SLOTS)}
    assert len(places) == SLOTS, "all of the room is there again"


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1 << 32), kept=st.sampled_from([0, 4096, 8192, ROOM]))
@pytest.mark.parametrize("kind", ["per-request", "pool"])
@pytest.mark.parametrize("speed", SPEEDS)
@pytest.mark.clause("CRQ-F-93")
def test_a_device_that_was_let_go_at_any_time_leaves_no_page_in_the_window(
    speed: str, kind: str, seed: int, kept: int
) -> None:
    """Requests that the platform or the ring had refused are in their slots then, some of their pieces shown."""
    life = Life(speed, seed, kept, kind)
    life.go(100)
    life.rig.ring.reset()
    life.rig.driver.abandon()
    assert life.rig.mapping.finish() == 0
    while (slot := int(life.rig.driver.reap())) >= 0:
        life.rig.driver.release(slot)
    assert life.rig.pages.pages == {}
    assert life.rig.driver.idle == SLOTS
