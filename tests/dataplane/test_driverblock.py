# SPDX-License-Identifier: Apache-2.0
"""The block and entropy drivers show requests as Linux would or from a pool, and check what comes back."""

import random
import struct
from typing import Any

import pytest
from driverrig import BUS, FLUSH, GET_ID, MAPPINGS, READ, RING, SLOTS, SPEEDS, WRITE, Pages, Rig
from hypothesis import given, settings
from hypothesis import strategies as st
from slowring import SlowDevice, interpreted

from virtio_crq.dataplane import (
    blockdriver,
    entropydriver,
    pool,
    splitdriverring,
)
from virtio_crq.errors import DeviceFault, PlatformError
from virtio_crq.platform.hosted import host
from virtio_crq.platform.port import Port

ENTROPY = {"compiled": entropydriver, "interpreted": interpreted(entropydriver)}


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
    slot = rig.driver.acquire(512)
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
    slot = rig.driver.acquire(512)
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
    slot = rig.driver.acquire(512)
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
        if act == 0 and (slot := int(rig.driver.acquire(512))) >= 0:
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
    standing = [("map", BUS + slot * 12288, 3) for slot in range(4)]
    assert rig.pages.asked == standing
    for sector in range(20):
        slot = rig.submit(READ, sector, 4096)
        rig.answer(4097)
        assert rig.driver.reap() == slot
        rig.driver.release(slot)
    assert rig.pages.asked == standing


def test_a_request_that_is_shorter_than_its_slot_was_acquired_for_is_reached_where_its_data_lies(speed: str) -> None:
    rig = Rig(speed, kind="pool", kept=4096)
    slot = rig.driver.acquire(8192)
    assert rig.driver.submit(slot, READ, 3, 512) == 0
    rig.ring.publish()
    data, _length, _flags = rig.chain()[1][1]
    assert rig.pages.at(data, 2) == rig.driver.data(slot)


@pytest.mark.parametrize("kept", [0, 4096])
def test_data_that_is_longer_than_a_pool_keeps_is_mapped_for_its_request_by_one_call(speed: str, kept: int) -> None:
    rig = Rig(speed, kind="pool", kept=kept)
    standing = dict(rig.pages.pages)
    rig.pages.asked = []
    slot = rig.submit(READ, 3, kept + 512)
    _head, ((header, _, _), (data, length, _), (status, _, _)) = rig.chain()
    assert {header // 4096, status // 4096} <= set(standing)
    assert data // 4096 not in standing
    assert length == kept + 512
    assert rig.pages.asked == [("map", data, 3)]
    rig.answer(kept + 513)
    assert rig.driver.reap() == slot
    assert rig.pages.asked == [("map", data, 3), ("unmap", data, 0)]
    assert rig.pages.pages == standing


def test_a_pool_that_cannot_take_long_data_back_yet_lends_its_slot_to_nobody(speed: str) -> None:
    rig = Rig(speed, kind="pool", kept=4096, slots=1)
    slot = rig.submit(WRITE, 3, 8192)
    rig.answer(1)
    rig.pages.codes = [1, 1]  # it asks again before it gives up
    assert rig.driver.reap() < 0
    assert rig.driver.acquire(512) < 0
    assert rig.driver.reap() == slot


def test_a_pool_goes_on_mapping_where_the_platform_was_busy(speed: str) -> None:
    pages = Pages()
    pages.codes = [0, 0, 1]
    port = Port(host(pages, bytearray(1 << 20)))  # type: ignore[arg-type]
    mapping = MAPPINGS[speed, "pool"](port, 4, blockdriver.HEAD, 8192, SLOTS, BUS, 4096)
    assert mapping.begin() == 1
    assert mapping.begin() == 0
    assert len(pages.pages) == 4 * 2


@pytest.mark.clause("CRQ-F-90")
def test_what_a_pool_shows_is_its_slots_and_nothing_beside_them(speed: str) -> None:
    rig = Rig(speed, kind="pool")
    ram, window = pool.Pool.footprint(4, blockdriver.HEAD, 8192, 8192)
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
    assert [name for name, _bus, _access in rig.pages.asked] == ["map"] * 4 + ["unmap"] * 4


@pytest.mark.clause("CRQ-F-94")
def test_a_slot_of_a_pool_is_nobody_elses_before_its_request_was_used(speed: str) -> None:
    rig = Rig(speed, kind="pool")
    running = [rig.submit(READ, sector, 512) for sector in range(4)]
    assert rig.driver.acquire(512) < 0
    assert rig.driver.reap() < 0
    rig.answer(513)
    slot = rig.driver.reap()
    assert slot == running[0]
    rig.driver.release(slot)
    assert rig.driver.acquire(512) == slot


@pytest.mark.clause("CRQ-F-112")
def test_in_a_pool_data_of_one_request_follows_that_of_the_one_before_it(speed: str) -> None:
    """Whoever serves them together can move all of it by one copy; a request that ends leaves the lowest room first."""
    rig = Rig(speed, kind="pool")
    for length in (4096, 512, 8192, 4096):
        rig.submit(READ, 0, length)
    found = []
    for _ in range(4):
        _head, chain = rig.chain()
        found.append(chain[1][0] - BUS - rig.mapping.slots * blockdriver.HEAD)
        rig.answer(1, status=1)
        rig.driver.release(rig.driver.reap())
    assert found == [0, 4096, 8192, 16384]
    rig.submit(READ, 0, 8192)
    assert rig.chain()[1][1][0] == BUS + rig.mapping.slots * blockdriver.HEAD


def test_room_that_is_there_only_in_pieces_is_waited_for(speed: str) -> None:
    rig = Rig(speed, kind="pool")
    slots = [int(rig.driver.acquire(length)) for length in (4096, 8192, 8192, 8192)]
    rig.driver.release(slots[0])
    assert (rig.driver.acquire(8192), rig.driver.idle) == (-1, 1)
    rig.driver.release(slots[3])
    assert rig.driver.acquire(8192) in (slots[0], slots[3])


def test_a_request_is_no_longer_than_what_its_slot_was_taken_for(speed: str) -> None:
    rig = Rig(speed, kind="pool")
    slot = rig.driver.acquire(512)
    with pytest.raises(ValueError, match="longer than 512"):
        rig.driver.submit(slot, READ, 0, 1024)
    with pytest.raises(ValueError, match="longer than 8192"):
        rig.driver.acquire(8704)


@pytest.mark.parametrize(("kind", "kept"), [("per-request", 0), ("pool", 8192), ("pool", 0)])
def test_an_address_leads_to_own_memory_only_where_it_is_shown(speed: str, kind: str, kept: int) -> None:
    rig = Rig(speed, kind=kind, kept=kept)
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
    assert (find(data, 1) == -1) is (kept == 0)
