# SPDX-License-Identifier: Apache-2.0
"""The block and entropy drivers show requests as Linux would or from a pool, and check what comes back."""

import random
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slowring import SlowDevice, Wire, interpreted

from virtio_crq.dataplane import (
    blockdriver,
    directfront,
    entropydriver,
    load,
    mapping,
    perrequest,
    pool,
    splitdriverring,
)
from virtio_crq.errors import DeviceFault, PlatformError
from virtio_crq.platform.channel import AVAIL, NOTHING, USED
from virtio_crq.platform.hosted import host
from virtio_crq.platform.port import Port

RING, SLOTS, BUS = 0, 1 << 16, 1 << 32  # the slots' bus addresses are not their offsets
READ, WRITE, FLUSH, GET_ID = 0, 1, 4, 8
DRIVERS = {"compiled": blockdriver, "interpreted": interpreted(blockdriver)}
ENTROPY = {"compiled": entropydriver, "interpreted": interpreted(entropydriver)}
LOADS = {"compiled": load, "interpreted": interpreted(load)}
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
        **limits: int,
    ) -> None:
        self.memory = bytearray(1 << 20)
        self.pages = Pages()
        self.port = Port(host(self.pages, self.memory))  # type: ignore[arg-type]
        self.ring = splitdriverring.SplitDriverRing(self.port, RING, 16, indirect, True)
        self.mapping = MAPPINGS[speed, kind](self.port, slots, blockdriver.HEAD, transfer, SLOTS, BUS)
        assert self.mapping.begin() == 0
        self.driver = DRIVERS[speed].BlockDriver(
            self.ring, self.mapping, 1 << 30, limits.get("size_max", 0), limits.get("seg_max", 0)
        )
        self.front = directfront.DirectFront(self.ring)
        self.device = SlowDevice(self.memory, 16, True)
        self.wire = Wire()

    def submit(self, kind: int, sector: int, length: int) -> int:
        slot = int(self.driver.acquire())
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


@pytest.fixture(params=SPEEDS)
def speed(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.clause("CRQ-F-20", "CRQ-F-21")
@pytest.mark.parametrize(("indirect", "calls"), [(False, 6), (True, 8)])
def test_a_request_costs_as_many_mapping_calls_as_linux_makes(speed: str, indirect: bool, calls: int) -> None:
    rig = Rig(speed, indirect=indirect)
    slot = rig.submit(READ, 5, 4096)
    assert len(rig.pages.asked) == calls // 2
    rig.answer(4097)
    assert rig.driver.reap() == slot
    assert len(rig.pages.asked) == calls
    assert rig.pages.pages == {}


@pytest.mark.parametrize(
    ("kind", "length", "shape"),
    [
        (READ, 4096, [(16, 0), (4096, 2), (1, 2)]),
        (WRITE, 512, [(16, 0), (512, 0), (1, 2)]),
        (FLUSH, 0, [(16, 0), (1, 2)]),
        (GET_ID, 20, [(16, 0), (20, 2), (1, 2)]),
    ],
)
def test_requests_look_as_the_standard_says(speed: str, kind: int, length: int, shape: list[tuple[int, int]]) -> None:
    rig = Rig(speed)
    slot = rig.submit(kind, 0x123456789, length)
    _head, chain = rig.chain()
    assert [(size, flags) for _bus, size, flags in chain] == shape
    at = rig.pages.at(chain[0][0], 1)
    assert struct.unpack_from("<IIQ", rig.memory, at) == (kind, 0, 0x123456789)
    if length:
        assert rig.pages.at(chain[1][0], 1 if kind == WRITE else 2) == rig.driver.data(slot)
        data_access = rig.pages.pages[chain[1][0] // 4096][1]
        assert data_access == (1 if kind == WRITE else 3)


def test_limits_of_the_device_split_a_request_into_segments(speed: str) -> None:
    rig = Rig(speed, size_max=1024, seg_max=4)
    assert rig.driver.transfer == 4096
    rig.submit(READ, 0, 4096)
    assert [size for _bus, size, _flags in rig.chain()[1]] == [16, 1024, 1024, 1024, 1024, 1]
    assert Rig(speed, size_max=1024).driver.transfer == 1024


@pytest.mark.clause("CRQ-F-20")
def test_a_busy_mapping_is_taken_up_where_it_stopped(speed: str) -> None:
    rig = Rig(speed)
    slot = rig.driver.acquire()
    rig.pages.codes = [0, 1]
    assert rig.driver.submit(slot, READ, 0, 512) < 0
    assert [name for name, _bus, _access in rig.pages.asked] == ["map"]
    assert rig.ring.in_flight == 0, "nothing is made available before all of it is mapped"
    assert rig.driver.submit(slot, READ, 0, 512) == 0
    assert [name for name, _bus, _access in rig.pages.asked] == ["map"] * 3
    assert rig.driver.stalls == 1


@pytest.mark.clause("CRQ-F-21")
def test_a_slot_is_not_handed_out_while_it_is_still_mapped(speed: str) -> None:
    rig = Rig(speed)
    slot = rig.submit(READ, 0, 512)
    rig.answer(513)
    rig.pages.codes = [0, 1, 1, 1, 1]  # status and data stay, and stay again when reap looks once more
    assert rig.driver.reap() < 0
    assert (rig.driver.lingering, rig.driver.idle, len(rig.pages.pages)) == (1, 3, 2)
    assert rig.driver.reap() == slot
    assert rig.pages.pages == {}
    rig.driver.release(slot)
    assert rig.driver.idle == 4


def test_a_platform_that_will_never_map_is_an_error_only_with_nothing_in_flight(speed: str) -> None:
    rig = Rig(speed)
    rig.submit(READ, 0, 512)
    slot = rig.driver.acquire()
    rig.pages.codes = [-44]
    assert rig.driver.submit(slot, READ, 0, 512) < 0
    rig.answer(513)
    rig.driver.release(rig.driver.reap())
    rig.pages.codes = [-44]
    with pytest.raises(PlatformError, match="-44"):
        rig.driver.submit(slot, READ, 0, 512)


@pytest.mark.clause("CRQ-F-28", "CRQ-F-42")
@pytest.mark.parametrize(
    ("length", "status", "rule"),
    [(513, 3, "status-unknown"), (513, 0xFF, "status-unknown"), (512, 0, "used-length-short"), (514, 0, "used-length")],
)
def test_answers_that_do_not_add_up_are_refused(speed: str, length: int, status: int, rule: str) -> None:
    rig = Rig(speed)
    rig.submit(READ, 0, 512)
    rig.answer(length, status)
    with pytest.raises(DeviceFault) as caught:
        rig.driver.reap()
    assert caught.value.rule == rule
    assert (rig.driver.refusals | rig.ring.refusals) == {rule: 1}


@pytest.mark.parametrize("status", [1, 2])
def test_an_error_needs_no_data(speed: str, status: int) -> None:
    rig = Rig(speed)
    slot = rig.submit(READ, 0, 512)
    rig.answer(1, status)
    assert rig.driver.reap() == slot
    assert rig.driver.status(slot) == status


def test_slots_are_used_in_their_order_of_states_only(speed: str) -> None:
    rig = Rig(speed)
    slot = rig.driver.acquire()
    with pytest.raises(ValueError, match="state"):
        rig.driver.submit(slot, READ, 0, 16384)
    rig.driver.release(slot)
    with pytest.raises(ValueError, match="state"):
        rig.driver.release(slot)
    with pytest.raises(ValueError, match="state"):
        rig.driver.submit(slot, READ, 0, 512)


def _life(speed: str, seed: int) -> list[Any]:
    """A random life under a platform that is often busy; every page is given back in the end."""
    draw, rig, log = random.Random(seed), Rig(speed, slots=5), []
    held: list[int] = []
    for _step in range(120):
        act = draw.randrange(4)
        rig.pages.codes = [draw.choice([0, 0, 1, 9900]) for _code in range(3)]
        if act == 0 and (slot := int(rig.driver.acquire())) >= 0:
            held.append(slot)
        elif act == 1 and held:
            code = rig.driver.submit(held[-1], WRITE if held[-1] % 2 else READ, draw.randrange(99), 512)
            log.append(("submit", held[-1], code))
            if code == 0:
                held.pop()
            rig.ring.publish()
        elif act == 2 and rig.ring.in_flight > len(rig.device.open) - 1 and rig.ring.published:
            if rig.ring.published != rig.device.fetched or rig.device.open:
                _head, chain = rig.chain()
                rig.answer(513 if chain[1][2] else 1)
        elif act == 3 and (slot := int(rig.driver.reap())) >= 0:
            log.append(("reap", slot, rig.driver.status(slot)))
            rig.driver.release(slot)
    rig.pages.codes = []
    while rig.ring.published != rig.device.fetched or rig.device.open:
        _head, chain = rig.chain()
        rig.answer(513 if chain[1][2] else 1)
    while (slot := int(rig.driver.reap())) >= 0:
        rig.driver.release(slot)
    for slot in held:
        rig.driver.release(slot)
    assert rig.pages.pages == {}
    assert rig.driver.idle == 5
    return [*log, rig.pages.asked, rig.driver.stalls]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_both_speeds_give_every_page_back(seed: int) -> None:
    assert _life("compiled", seed) == _life("interpreted", seed)


def test_entropy_is_mapped_per_request_and_taken_once(speed: str) -> None:
    memory, pages = bytearray(1 << 20), Pages()
    port = Port(host(pages, memory))  # type: ignore[arg-type]
    ring = splitdriverring.SplitDriverRing(port, RING, 4, False, True)
    driver = ENTROPY[speed].EntropyDriver(ring, MAPPINGS[speed, "per-request"](port, 2, 0, 4096, SLOTS, BUS))
    device = SlowDevice(memory, 4, True)
    assert driver.submit(100) == 0
    ring.publish()
    device.fetch(1)
    ((bus, length, _writable),) = device.open[0]
    assert length == 100
    at = pages.at(bus, 2)
    memory[at : at + 9] = b"nine-byte"
    device.use(0, 9)
    pages.codes = [1]
    assert driver.reap() < 0
    slot = driver.reap()
    assert driver.take(slot) == b"nine-byte"
    assert pages.pages == {}
    with pytest.raises(ValueError, match="state"):
        driver.take(slot)


@pytest.mark.parametrize("indirect", [False, True])
@pytest.mark.clause("CRQ-F-91")
def test_a_pool_is_mapped_before_the_first_request_and_by_no_request(speed: str, indirect: bool) -> None:
    rig = Rig(speed, kind="pool", indirect=indirect)
    assert rig.pages.asked == [("map", BUS, 3)]
    for sector in range(20):
        slot = rig.submit(READ, sector, 4096)
        rig.answer(4097)
        assert rig.driver.reap() == slot
        rig.driver.release(slot)
    assert rig.pages.asked == [("map", BUS, 3)]


@pytest.mark.clause("CRQ-F-90")
def test_what_a_pool_shows_is_its_slots_and_nothing_beside_them(speed: str) -> None:
    rig = Rig(speed, kind="pool")
    ram, window = pool.Pool.footprint(4, blockdriver.HEAD, 8192)
    assert ram == window == 4096 * len(rig.pages.pages)
    assert sorted(offset for offset, _access in rig.pages.pages.values()) == list(range(SLOTS, SLOTS + ram, 4096))


@pytest.mark.clause("CRQ-F-92")
def test_nothing_is_read_back_from_a_slot_that_the_driver_wrote_there_itself(speed: str) -> None:
    """A server may write into all of a pool at any time: the record of a request is elsewhere."""
    rig = Rig(speed, kind="pool")
    slot = rig.submit(READ, 7, 4096)
    _head, chain = rig.chain()
    rig.memory[SLOTS : SLOTS + 4 * 12288] = b"\x01" * (4 * 12288)
    rig.memory[rig.pages.at(chain[-1][0], 2)] = 0
    rig.device.use(next(iter(rig.device.open)), 513)
    with pytest.raises(DeviceFault, match="used-length-short"):
        rig.driver.reap()
    other = rig.submit(WRITE, 8, 512)
    assert other != slot
    rig.answer(1)
    assert rig.driver.reap() == other
    assert rig.driver.status(other) == 0


@pytest.mark.clause("CRQ-F-93")
def test_a_pool_is_taken_back_only_when_the_device_was_let_go_and_wholly(speed: str) -> None:
    rig = Rig(speed, kind="pool")
    slot = rig.submit(READ, 0, 512)
    rig.ring.reset()
    rig.driver.abandon()
    assert rig.driver.reap() < 0, "the slot may still be written into"
    rig.pages.codes = [1]
    assert rig.mapping.finish() == 1
    assert rig.driver.reap() < 0
    assert rig.mapping.finish() == 0
    assert rig.pages.pages == {}
    assert (rig.driver.reap(), rig.driver.status(slot)) == (slot, 1)
    assert rig.mapping.finish() == 0
    assert [name for name, _bus, _access in rig.pages.asked] == ["map", "unmap"]


@pytest.mark.clause("CRQ-F-94")
def test_a_slot_of_a_pool_is_nobody_elses_before_its_request_was_used(speed: str) -> None:
    rig = Rig(speed, kind="pool")
    running = [rig.submit(READ, sector, 512) for sector in range(4)]
    assert rig.driver.acquire() < 0
    assert rig.driver.reap() < 0
    rig.answer(513)
    slot = rig.driver.reap()
    assert slot == running[0]
    rig.driver.release(slot)
    assert rig.driver.acquire() == slot


@pytest.mark.parametrize("kind", ["per-request", "pool"])
def test_an_address_leads_to_own_memory_only_where_it_is_shown(speed: str, kind: str) -> None:
    rig = Rig(speed, kind=kind)
    find = rig.mapping.locate
    for bus in (0, BUS - 1, BUS - 4096, BUS + (1 << 20), (1 << 64) - 1):
        assert find(bus, 1) == -1
    if kind == "per-request":
        assert find(BUS, 1) == -1
    slot = rig.submit(READ, 3, 8192)
    for bus, length, flags in rig.chain()[1]:
        assert find(bus, length) == rig.pages.at(bus, 2 if flags else 1)
        assert find(bus, 0) == rig.pages.at(bus, 2 if flags else 1)
    data = rig.chain()[1][1][0]
    assert find(data, 8192) == rig.driver.data(slot)
    assert find(data + 8191, 1) == rig.driver.data(slot) + 8191
    end = SLOTS + rig.mapping.slots * rig.mapping.stride
    assert find(data, (1 << 64) - 1) == -1
    assert find(data, end - rig.driver.data(slot) + 1) == -1
    rig.answer(8193)
    rig.driver.release(rig.driver.reap())
    assert (find(data, 1) == -1) is (kind == "per-request")


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


@pytest.mark.parametrize("kind", [READ, WRITE])
def test_over_a_pool_the_load_pays_the_copy_that_a_block_layer_pays(speed: str, kind: int) -> None:
    rig = Rig(speed, kind="pool")
    wire = ServedWire(rig)
    buffers = 1 << 18
    filled = buffers if kind == WRITE else rig.driver.data(0)
    for slot in range(4):
        at = filled + slot * (4096 if kind == WRITE else rig.mapping.stride)
        rig.memory[at : at + 4096] = bytes([slot + 1]) * 4096
    generator = LOADS[speed].LoadGenerator(rig.driver, rig.front, wire, kind, 4096, 3, 40960, buffers=buffers)
    generator.begin(0, 50)
    assert generator.turn(10) == 0
    assert (generator.completed, generator.bounced) == (50, 50)
    for slot in {0, 1, 2}:
        at = rig.driver.data(slot) if kind == WRITE else buffers + slot * 4096
        assert rig.memory[at : at + 4096] == bytes([slot + 1]) * 4096


@pytest.mark.parametrize(("kind", "sequential"), [(READ, False), (WRITE, True)])
def test_the_load_generator_does_what_it_says_and_counts_it(speed: str, kind: int, sequential: bool) -> None:
    rig = Rig(speed)
    wire = ServedWire(rig)
    generator = LOADS[speed].LoadGenerator(rig.driver, rig.front, wire, kind, 4096, 3, 10 * 4096, sequential)
    for _run in range(2):
        wire.kinds.clear()
        generator.begin(0, 100)
        assert generator.turn(10) == 0
        assert (generator.completed, generator.failed) == (100, 0)
        assert {each for each, _sector in wire.kinds} == {kind}
        assert {sector for _each, sector in wire.kinds} == {8 * block for block in range(10)}
        assert 0 < generator.percentile(0.5) <= generator.percentile(0.99)
        assert generator.percentile(1.0) < generator.seconds() * 1e6 * 1.1
        assert generator.bounced == 0
    assert rig.ring.in_flight == 0
    assert rig.pages.pages == {}


def test_the_load_generator_gives_foreign_entries_to_its_caller(speed: str) -> None:
    rig = Rig(speed)
    wire = ServedWire(rig)
    generator = LOADS[speed].LoadGenerator(rig.driver, rig.front, wire, READ, 4096, 1, 40960)
    generator.begin(0, 5)
    wire.queued.append((4, 0, 0))
    assert generator.turn(10) == 4
    assert generator.turn(10) == 0
    assert generator.completed == 5


@given(st.integers(0, 2**40))
def test_histogram_buckets_are_exact_to_three_percent(value: int) -> None:
    bucket = load.bucket_of(value)
    assert bucket < 2048
    assert abs(load.bucket_value(bucket) - value) <= max(1, value * 0.04)
    assert bucket == LOADS["interpreted"].bucket_of(value)
