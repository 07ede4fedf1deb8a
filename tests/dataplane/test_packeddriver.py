# SPDX-License-Identifier: Apache-2.0
"""The driver's packed ring agrees with a slow device, compiled and interpreted, and believes nothing unchecked."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slowpacked import PackedPair, SlowPackedDevice
from slowring import SPEEDS

from virtio_crq.errors import DeviceFault
from virtio_crq.platform.channel import AVAIL


@pytest.fixture(params=sorted(SPEEDS))
def speed(request: pytest.FixtureRequest) -> Any:
    return SPEEDS[request.param]


@pytest.mark.clause("CRQ-F-50")
@pytest.mark.parametrize("indirect", [False, True])
def test_a_request_travels_there_and_back(speed: Any, indirect: bool) -> None:
    pair = PackedPair(speed, indirect=indirect)
    span = 1 if indirect else 3
    for turn in range(20):
        head = pair.submit(7, (0x1000, 16, 0), (0x2000, 4096, 1), (0x9000, 1, 1))
        pair.publish()
        end = span * (turn + 1)
        assert pair.wire.sent[-1][:2] == (AVAIL, end)
        pair.device.fetch(end)
        assert pair.device.open[head] == [(0x1000, 16, 0), (0x2000, 4096, 2), (0x9000, 1, 2)]
        pair.device.use(head, 4097)
        assert pair.device.position == end
        pair.front.used_told(end, 1)
        assert pair.ring.collect() == 7
        assert pair.ring.length == 4097
        assert pair.ring.collect() < 0
        pair.ring.rearm()
        pair.front.settle(pair.wire)
        assert pair.ring.free_count == 8


def test_a_full_ring_refuses_and_recovers(speed: Any) -> None:
    pair = PackedPair(speed, size=4)
    first = pair.submit(1, (0, 1, 0), (0, 1, 1))
    second = pair.submit(2, (0, 1, 0), (0, 1, 1))
    assert pair.submit(3, (0, 1, 1)) < 0
    pair.publish()
    pair.device.fetch(4)
    pair.device.use(second, 0)
    assert pair.ring.collect() == 2
    assert pair.submit(3, (0, 1, 1)) == second
    pair.publish()
    pair.device.fetch(5)
    pair.device.use(first, 1)
    pair.device.use(second, 1)
    assert [pair.ring.collect() for _ in range(2)] == [1, 3]


@pytest.mark.parametrize("event_idx", [False, True])
def test_the_devices_wish_is_honoured(speed: Any, event_idx: bool) -> None:
    pair = PackedPair(speed, event_idx=event_idx)
    pair.device.wish(1)
    pair.submit(1, (0, 1, 1))
    pair.publish()
    assert pair.wire.sent == []
    pair.device.wish(2, 5)
    pair.submit(2, (0, 1, 1))
    pair.publish()
    assert pair.wire.sent == ([] if event_idx else [(AVAIL, 2, 0)])
    pair.device.wish(2, 3)
    pair.submit(3, (0, 1, 0), (0, 1, 1))
    pair.publish()
    assert pair.wire.sent == ([(AVAIL, 4, 0)] if event_idx else [(AVAIL, 2, 0)])


def test_rearming_asks_for_the_next_used_descriptor_and_notices_what_slipped_in(speed: Any) -> None:
    pair = PackedPair(speed)
    for turn in range(1, 9):
        head = pair.one()
        assert pair.ring.rearm() == 0
        wrap = 0x8000 if 2 * (turn - 1) // 8 % 2 == 0 else 0
        assert pair.device.asked() == (2, 2 * (turn - 1) % 8 | wrap)
        pair.device.use(head, 0)
        assert pair.ring.rearm() == 1
        pair.ring.collect()
        assert pair.ring.rearm() == 0
    pair = PackedPair(speed, event_idx=False)
    pair.one()
    assert pair.ring.rearm() == 0
    assert pair.device.asked() == (0, 0)


@pytest.mark.clause("CRQ-D-128")
def test_in_order_one_used_descriptor_ends_all_before_it(speed: Any) -> None:
    pair = PackedPair(speed, size=16, in_order=True)
    heads = [pair.submit(token, (0x1000, 16, 0), (0x2000, 100 + token, 1)) for token in range(5)]
    pair.publish()
    pair.device.fetch(10)
    pair.device.use_up_to(heads[3], 7)
    assert pair.device.position == 8
    pair.front.used_told(8, 0)
    found = [(pair.ring.collect(), pair.ring.length) for _ in range(4)]
    assert found == [(0, 100), (1, 101), (2, 102), (3, 7)]
    assert pair.ring.collect() < 0
    assert pair.ring.last_used == 8
    assert pair.ring.in_flight == 1


def never_offered(pair: PackedPair, head: int) -> None:
    pair.device.mark(0, (head + 3) % 8, 0)
    pair.ring.collect()


def beyond_the_ring(pair: PackedPair, head: int) -> None:
    pair.device.mark(0, 0xFFFF, 0)
    pair.ring.collect()


def used_twice(pair: PackedPair, head: int) -> None:
    pair.submit(8, (0, 1, 1))
    pair.publish()
    pair.device.use(head, 0)
    pair.ring.collect()
    pair.device.mark(2, head, 0)
    pair.ring.collect()


def nothing_in_flight(pair: PackedPair, head: int) -> None:
    pair.device.use(head, 0)
    pair.ring.collect()
    pair.device.mark(2, head, 0)
    pair.ring.collect()


def too_long(pair: PackedPair, head: int) -> None:
    pair.device.use(head, 101)
    pair.ring.collect()


def position_jumps(pair: PackedPair, head: int) -> None:
    pair.front.used_told(3, 0)


def position_before_flags(pair: PackedPair, head: int) -> None:
    pair.front.used_told(2, 0)
    pair.ring.collect()


def used_without_credit(pair: PackedPair, head: int) -> None:
    pair.device.use(head, 0)
    pair.front.used_told(2, 1)
    pair.front.used_told(2, 0)


ACTS = [
    (never_offered, "used-unknown"),
    (beyond_the_ring, "used-unknown"),
    (used_twice, "used-unknown"),
    (nothing_in_flight, "used-unknown"),
    (too_long, "used-length"),
    (position_jumps, "used-ahead"),
    (position_before_flags, "used-ahead"),
    (used_without_credit, "credit-overrun"),
]


@pytest.mark.clause("CRQ-F-19", "CRQ-F-28", "CRQ-F-51")
@pytest.mark.parametrize("in_order", [False, True])
@pytest.mark.parametrize(("act", "rule"), ACTS, ids=[act.__name__ for act, _ in ACTS])
def test_a_hostile_device_is_refused_by_name(speed: Any, in_order: bool, act: Any, rule: str) -> None:
    pair = PackedPair(speed, in_order=in_order)
    head = pair.one()
    with pytest.raises(DeviceFault) as caught:
        act(pair, head)
    assert caught.value.rule == rule
    assert pair.ring.refusals == {rule: 1}


@pytest.mark.clause("CRQ-F-52", "CRQ-F-31", "CRQ-F-33", "CRQ-F-43")
def test_a_ring_that_was_overwritten_is_laid_out_again_for_the_next_device(speed: Any) -> None:
    pair = PackedPair(speed, size=16)
    spans = [1, 3, 2, 1, 3]
    heads = [
        pair.submit(token, *[(100 * token + part, 1, 1) for part in range(span)]) for token, span in enumerate(spans)
    ]
    pair.publish()
    pair.submit(9, (900, 1, 1), (901, 1, 1))  # published below, and never announced: the credit is away
    pair.front.publish()
    pair.device.fetch(10)
    pair.device.use(heads[2], 2)
    pair.device.use(heads[4], 3)
    assert pair.ring.collect() == 2
    assert pair.ring.collect() == 4
    pair.memory[: 16 * 16] = b"\xff" * 256  # whatever a lost server wrote
    assert pair.front.standing(0) == (10, 5, [])
    late = pair.submit(5, (500, 1, 1))
    assert pair.front.standing(0) == (10, 5, []), "asked again when the server is back"
    again = SlowPackedDevice(pair.memory, 16)
    again.fetched = again.position = 5
    again.fetch(10)
    assert list(again.open) == [heads[0], heads[1], heads[3]]
    assert again.open[heads[1]] == [(100, 1, 2), (101, 1, 2), (102, 1, 2)]
    pair.front.resume()
    pair.front.settle(pair.wire)
    assert pair.wire.sent[-1][:2] == (AVAIL, 13)
    again.fetch(13)
    for head in (heads[3], late, heads[0], heads[1]):
        again.use(head, 1)
    assert [pair.ring.collect() for _ in range(4)] == [3, 5, 0, 1]
    assert pair.ring.collect() < 0


def test_a_reset_forgets_everything_and_starts_anew(speed: Any) -> None:
    pair = PackedPair(speed)
    pair.submit(4, (0, 1, 1))
    pair.submit(3, (0, 1, 1))
    pair.publish()
    assert pair.front.reset() == [4, 3]
    pair.device = SlowPackedDevice(pair.memory, 8)
    head = pair.one(5)
    pair.device.use(head, 0)
    assert pair.ring.collect() == 5


def history(speed: Any, seed: int, indirect: bool, event_idx: bool, in_order: bool) -> tuple[list[Any], bytes]:
    """A random life of a ring: its device keeps to the rules, and is now and then lost for good and replaced."""
    draw = random.Random(seed)
    pair = PackedPair(speed, 8, indirect, event_idx, in_order)
    ring, front, wire = pair.ring, pair.front, pair.wire
    log: list[Any] = []
    flying: dict[int, int] = {}
    told = heard = 0
    my_credit = True
    for token in range(200):
        device = pair.device
        act = draw.randrange(16)
        if act <= 5:
            parts = [(draw.randrange(1 << 40), draw.randrange(1, 4096), 0) for _part in range(draw.randrange(1, 3))]
            parts += [(draw.randrange(1 << 40), draw.randrange(1, 4096), 1) for _part in range(draw.randrange(0, 3))]
            if pair.submit(token, *parts) >= 0:
                flying[token] = sum(length for _bus, length, writable in parts if writable)
            pair.publish()
        elif act <= 8 and wire.sent:
            for kind, position, credit in wire.sent:
                heard = position if kind == AVAIL else heard
                my_credit = my_credit or bool(credit)
            wire.sent.clear()
            device.fetch(heard)
            if front.credit == 0:
                front.credit_returned()
        elif act <= 11 and device.open:
            head = draw.choice(list(device.open))
            room = sum(length for _bus, length, writable in device.open[head] if writable)
            (device.use_up_to if in_order else device.use)(head, draw.randrange(room + 1))
        elif act <= 14:
            if my_credit and told != device.position:
                told, my_credit = device.position, False
                front.used_told(told, 0)
            while (done := ring.collect()) >= 0:
                log.append((done, ring.length))
                assert ring.length <= flying.pop(done)
            ring.rearm()
            front.settle(wire)
        elif act == 15:
            while (done := ring.collect()) >= 0:
                log.append((done, ring.length))
                del flying[done]
            scribbled = draw.randrange(8) * 16
            pair.memory[scribbled : scribbled + 16] = draw.randbytes(16)
            available, used, heads = front.standing(0)
            pair.device = device = SlowPackedDevice(pair.memory, 8)
            device.wish(0)
            device.fetched = device.position = used
            device.fetch(available)
            assert heads == []
            heard, told, my_credit = available, used, True
            wire.sent.clear()
            front.resume()
            front.settle(wire)
    log.append((ring.in_flight, ring.heads(), ring.free_count, sorted(flying)))
    assert ring.refusals == {}
    assert ring.in_flight_tokens() == sorted(flying)
    return log, bytes(pair.memory)


@pytest.mark.clause("CRQ-F-52")
@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), indirect=st.booleans(), event_idx=st.booleans(), in_order=st.booleans())
def test_both_speeds_live_the_same_life_with_devices_that_come_and_go(
    seed: int, indirect: bool, event_idx: bool, in_order: bool
) -> None:
    lives = [history(SPEEDS[speed], seed, indirect, event_idx, in_order) for speed in ("compiled", "interpreted")]
    assert lives[0] == lives[1]


@settings(max_examples=200, deadline=None)
@given(
    noise=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 9), st.integers(0, 80), st.booleans()), max_size=4),
    raw=st.binary(max_size=64),
    positions=st.lists(st.integers(0, 0xFFFF), max_size=3),
    in_order=st.booleans(),
)
def test_noise_in_the_ring_ends_in_the_same_refusal_at_both_speeds(
    noise: list[tuple[int, int, int, bool]], raw: bytes, positions: list[int], in_order: bool
) -> None:
    ends = []
    for speed in ("compiled", "interpreted"):
        pair = PackedPair(SPEEDS[speed], in_order=in_order)
        for token in range(3):
            pair.submit(token, (0, 1, 0), (0, 64, 1))
        pair.publish()
        pair.memory[32 : 32 + len(raw)] = raw
        for position, head, length, wrap in noise:
            pair.device.mark(position if wrap else position + 8, head, length)
        end: list[Any] = []
        try:
            for position in positions:
                pair.front.used_told(position, 0)
            while (done := pair.ring.collect()) >= 0:
                end.append((done, pair.ring.length))
        except DeviceFault as fault:
            end.append((fault.rule, fault.detail))
        ends.append(end)
    assert ends[0] == ends[1]
