# SPDX-License-Identifier: Apache-2.0
"""The driver's ring agrees with a slow device, compiled and interpreted, and believes nothing it cannot check."""

import os
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slowring import SPEEDS, Pair, SlowDevice

from virtio_crq.dataplane import splitdriverring as compiled
from virtio_crq.errors import DeviceFault
from virtio_crq.platform.channel import AVAIL, CREDIT


@pytest.fixture(params=sorted(SPEEDS))
def module(request: pytest.FixtureRequest) -> Any:
    return SPEEDS[request.param]


def test_the_two_speeds_are_two() -> None:
    assert compiled.__file__ is not None
    assert compiled.__file__.endswith(".so") or os.environ.get("VIRTIO_CRQ_INTERPRETED") == "1"
    assert str(SPEEDS["interpreted"].ring.__file__).endswith(".py")


@pytest.mark.parametrize("indirect", [False, True])
def test_a_request_travels_there_and_back(module: Any, indirect: bool) -> None:
    pair = Pair(module, indirect=indirect)
    head = pair.submit(7, (0x1000, 16, 0), (0x2000, 4096, 1), (0x9000, 1, 1))
    pair.publish()
    assert pair.wire.sent == [(AVAIL, 1, 0)]
    pair.device.fetch(1)
    assert pair.device.open[head] == [(0x1000, 16, 0), (0x2000, 4096, 2), (0x9000, 1, 2)]
    pair.device.use(head, 4097)
    assert pair.front.used_told(1, 1) == 0
    assert pair.ring.collect() == 7
    assert pair.ring.length == 4097
    assert pair.ring.collect() < 0
    assert pair.ring.free_count == 8


def test_a_full_ring_refuses_and_recovers(module: Any) -> None:
    pair = Pair(module, size=4)
    assert pair.submit(1, (0, 1, 0), (0, 1, 1)) >= 0
    assert pair.submit(2, (0, 1, 0), (0, 1, 1)) >= 0
    assert pair.submit(3, (0, 1, 1)) < 0
    pair.publish()
    pair.device.fetch(2)
    pair.device.use(0, 0)
    assert pair.ring.collect() == 1
    assert pair.submit(3, (0, 1, 1)) >= 0


def test_readable_after_writable_is_no_chain(module: Any) -> None:
    pair = Pair(module)
    assert pair.submit(1, (0, 1, 1), (0, 1, 0)) < 0
    assert pair.ring.free_count == 8


@pytest.mark.clause("CRQ-F-15", "CRQ-F-17")
def test_without_credit_it_keeps_quiet_and_tells_when_the_credit_returns(module: Any) -> None:
    pair = Pair(module, event_idx=False)
    pair.one(1)
    pair.submit(2, (0, 1, 1))
    pair.publish()
    pair.submit(3, (0, 1, 1))
    pair.publish()
    assert pair.wire.sent == [(AVAIL, 1, 0)]
    assert pair.front.credit_returned() == 1
    pair.front.settle(pair.wire)
    assert pair.wire.sent == [(AVAIL, 1, 0), (AVAIL, 3, 0)]


@pytest.mark.clause("CRQ-F-14")
def test_an_announcement_that_failed_stays_due(module: Any) -> None:
    pair = Pair(module)
    pair.wire.code = -12
    pair.submit(1, (0, 1, 1))
    pair.publish()
    assert pair.front.settle(pair.wire) == -12
    pair.wire.code = 0
    assert pair.front.settle(pair.wire) == 0
    assert pair.wire.sent == [(AVAIL, 1, 0)]


@pytest.mark.clause("CRQ-F-16")
def test_a_used_credit_goes_back_with_the_next_announcement_or_alone(module: Any) -> None:
    pair = Pair(module)
    first = pair.one(1)
    pair.submit(2, (0, 1, 1))
    pair.publish()
    pair.device.use(first, 0)
    pair.front.used_told(1, 0)
    assert pair.ring.collect() == 1
    pair.front.settle(pair.wire)
    assert pair.wire.sent[-1] == (CREDIT, 1, 1)  # one in flight, and no credit to announce with
    pair = Pair(module)
    pair.device.use(pair.one(1), 0)
    pair.front.used_told(1, 1)
    pair.ring.collect()
    pair.front.settle(pair.wire)
    assert pair.wire.sent == [(AVAIL, 1, 0)]  # none in flight: it may be kept
    pair.submit(3, (0, 1, 1))
    pair.device.wish(1)
    pair.publish()
    assert pair.wire.sent[-1] == (AVAIL, 2, 1)


@pytest.mark.clause("CRQ-F-14")
def test_event_idx_suppresses_what_the_device_does_not_want(module: Any) -> None:
    pair = Pair(module)
    pair.device.wish(5)
    pair.submit(1, (0, 1, 1))
    pair.publish()
    assert pair.wire.sent == []
    pair.device.wish(1)
    pair.submit(2, (0, 1, 1))
    pair.publish()
    assert pair.wire.sent == [(AVAIL, 2, 0)]


def test_rearming_notices_what_slipped_in(module: Any) -> None:
    pair = Pair(module)
    head = pair.one()
    assert pair.ring.rearm() == 0
    pair.device.use(head, 0)
    assert pair.ring.rearm() == 1
    pair.ring.collect()
    assert pair.ring.rearm() == 0
    assert pair.device.number(pair.device.avail + 4 + 2 * 8, 2) == 1


def _never_offered(pair: Pair, head: int) -> None:
    pair.device.use((head + 3) % 8, 0)
    pair.ring.collect()


def _beyond_the_ring(pair: Pair, head: int) -> None:
    pair.device.use(0x10000 + head, 0)
    pair.ring.collect()


def _used_twice(pair: Pair, head: int) -> None:
    pair.submit(8, (0, 1, 1))
    pair.publish()
    pair.device.use(head, 0)
    pair.ring.collect()
    pair.device.use(head, 0)
    pair.ring.collect()


def _too_long(pair: Pair, head: int) -> None:
    pair.device.use(head, 101)
    pair.ring.collect()


def _index_jumps(pair: Pair, head: int) -> None:
    pair.device.put(pair.device.used + 2, 2, 2)
    pair.ring.collect()


def _index_goes_back(pair: Pair, head: int) -> None:
    pair.device.put(pair.device.used + 2, 2, 0xFFFF)
    pair.ring.collect()


def _position_jumps(pair: Pair, head: int) -> None:
    pair.front.used_told(2, 0)


def _position_before_index(pair: Pair, head: int) -> None:
    pair.front.used_told(1, 0)


def _used_without_credit(pair: Pair, head: int) -> None:
    pair.device.use(head, 0)
    pair.front.used_told(1, 1)
    pair.front.used_told(1, 0)


def _credit_twice(pair: Pair, head: int) -> None:
    pair.front.credit_returned()
    pair.front.credit_returned()


@pytest.mark.clause("CRQ-F-19", "CRQ-F-28")
@pytest.mark.parametrize(
    ("act", "rule"),
    [
        (_never_offered, "used-unknown"),
        (_beyond_the_ring, "used-unknown"),
        (_used_twice, "used-unknown"),
        (_too_long, "used-length"),
        (_index_jumps, "used-ahead"),
        (_index_goes_back, "used-ahead"),
        (_position_jumps, "used-ahead"),
        (_position_before_index, "used-ahead"),
        (_used_without_credit, "credit-overrun"),
        (_credit_twice, "credit-unowed"),
    ],
)
def test_a_hostile_device_is_refused_by_name(module: Any, act: Any, rule: str) -> None:
    pair = Pair(module)
    head = pair.one()
    with pytest.raises(DeviceFault) as caught:
        act(pair, head)
    assert caught.value.rule == rule
    assert pair.ring.refusals == {rule: 1}


def test_descriptors_that_the_device_scribbles_over_are_never_read_back(module: Any) -> None:
    pair = Pair(module)
    heads = [pair.submit(token, (token, 1, 0), (token, 1, 1)) for token in range(4)]
    pair.publish()
    pair.memory[0 : 16 * 8] = b"\xff" * (16 * 8)
    for head in heads:
        pair.device.use(head, 1)
    assert [pair.ring.collect() for _head in heads] == [0, 1, 2, 3]
    assert pair.ring.free_count == 8
    assert pair.submit(9, *[(index, 1, 0) for index in range(8)]) >= 0
    pair.publish()
    pair.device.fetched = 4
    pair.device.fetch(5)
    assert next(iter(pair.device.open.values())) == [(index, 1, 0) for index in range(8)]


@pytest.mark.clause("CRQ-F-31", "CRQ-F-33", "CRQ-F-43")
def test_what_is_in_flight_is_told_in_order_and_completes_after_the_return(module: Any) -> None:
    pair = Pair(module)
    heads = [pair.submit(token, (0, 1, 1)) for token in range(5)]
    pair.publish()
    pair.device.fetch(5)
    pair.device.use(heads[2], 1)
    assert pair.ring.collect() == 2
    assert pair.front.standing(0) == (5, 1, [heads[0], heads[1], heads[3], heads[4]])
    late = pair.submit(9, (0, 1, 1))
    pair.publish()
    assert pair.wire.sent == [(AVAIL, 5, 0)]
    pair.front.resume()
    pair.front.settle(pair.wire)
    assert pair.wire.sent[-1] == (AVAIL, 6, 0)
    for head in (heads[4], heads[0], heads[1], heads[3], late):
        pair.device.use(head, 1)
    assert [pair.ring.collect() for _each in range(5)] == [4, 0, 1, 3, 9]


def test_a_reset_forgets_everything_and_starts_anew(module: Any) -> None:
    pair = Pair(module)
    pair.submit(4, (0, 1, 1))
    pair.submit(3, (0, 1, 1))
    pair.publish()
    assert pair.front.reset() == [4, 3]
    pair.device = SlowDevice(pair.memory, 8, True)
    head = pair.one(5)
    pair.device.use(head, 0)
    assert pair.ring.collect() == 5


def _history(module: Any, seed: int, indirect: bool, event_idx: bool) -> tuple[list[Any], bytes]:
    """A random life of a ring whose device keeps to the rules; what it saw, and the memory left behind."""
    draw = random.Random(seed)
    pair = Pair(module, 8, indirect, event_idx)
    ring, front, device, wire = pair.ring, pair.front, pair.device, pair.wire
    log: list[Any] = []
    flying: dict[int, int] = {}
    told = heard = 0
    my_credit = True
    for token in range(200):
        act = draw.randrange(5)
        if act <= 1:
            parts = [(draw.randrange(1 << 40), draw.randrange(1, 4096), 0) for _part in range(draw.randrange(1, 3))]
            parts += [(draw.randrange(1 << 40), draw.randrange(1, 4096), 1) for _part in range(draw.randrange(0, 3))]
            if pair.submit(token, *parts) >= 0:
                flying[token] = sum(length for _bus, length, writable in parts if writable)
            pair.publish()
        elif act == 2 and wire.sent:
            for kind, position, credit in wire.sent:
                heard = position if kind == AVAIL else heard
                my_credit = my_credit or bool(credit)
            wire.sent.clear()
            device.fetch(heard)
            device.wish(device.fetched)
            if front.credit == 0:
                front.credit_returned()
        elif act == 3 and device.open:
            head = draw.choice(sorted(device.open))
            room = sum(length for _bus, length, writable in device.open[head] if writable)
            device.use(head, draw.randrange(room + 1))
        elif act == 4:
            if my_credit and told != device.position:
                told, my_credit = device.position, False
                front.used_told(told, 0)
            while (done := ring.collect()) >= 0:
                log.append((done, ring.length))
                assert ring.length <= flying.pop(done)
            ring.rearm()
            front.settle(wire)
    log.append((ring.in_flight, ring.heads(), ring.free_count, sorted(flying)))
    assert ring.refusals == {}
    assert ring.in_flight_tokens() == sorted(flying)
    return log, bytes(pair.memory)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), indirect=st.booleans(), event_idx=st.booleans())
def test_both_speeds_live_the_same_life_with_a_device_that_keeps_the_rules(
    seed: int, indirect: bool, event_idx: bool
) -> None:
    lives = [_history(SPEEDS[speed], seed, indirect, event_idx) for speed in ("compiled", "interpreted")]
    assert lives[0] == lives[1]


@settings(max_examples=150, deadline=None)
@given(noise=st.binary(min_size=70, max_size=70), positions=st.lists(st.integers(0, 0xFFFF), max_size=4))
def test_noise_in_the_used_ring_ends_in_the_same_refusal_at_both_speeds(noise: bytes, positions: list[int]) -> None:
    ends = []
    for speed in ("compiled", "interpreted"):
        pair = Pair(SPEEDS[speed])
        for token in range(3):
            pair.submit(token, (0, 1, 0), (0, 64, 1))
        pair.publish()
        pair.memory[pair.device.used : pair.device.used + 70] = noise
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
