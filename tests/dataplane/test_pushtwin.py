# SPDX-License-Identifier: Apache-2.0
"""Pushed queues against slow twins: the device over any records, the transport over any chains of its driver."""

import random
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pushguest import LIST, MARK, TAIL, WRITE, PushGuest
from pushpair import PUSH_SPEEDS, WINDOW, PushPair, Record
from pushtwin import PushTwin
from rig import Rig
from test_pushring import LAYOUTS
from test_twin import AREA, SECTORS, SIZE, address, descriptor, header, length

flags = st.sampled_from([TAIL, TAIL | WRITE, TAIL | LIST, LIST, 0, WRITE] * 4 + [WRITE | LIST, 0x1F, 0x11 | TAIL])
names = st.sampled_from([(2, 1, MARK)] * 12 + [(1, 1, MARK), (2, 0, MARK), (2, 1, MARK - 1)])
headers = header.map(lambda each: struct.pack("<IIQ", each[0], 0, each[1]))
inlined = st.one_of(headers, headers, headers, st.binary(max_size=16))
head = st.sampled_from([*range(SIZE)] * 4 + [SIZE, 0xFFFF])
area = st.sampled_from([AREA + 64, AREA + 0x400, AREA + 0x800])
record = st.tuples(
    head,
    inlined,
    flags,
    st.one_of(area.map(lambda at: at + 0x10000000), address.map(lambda at: at & (1 << 40) - 1), st.just(0)),
    st.one_of(st.sampled_from([16, 32, 48, 64, 512, 1024, 0]), length.map(lambda each: each & 0xFFFFFF)),
    st.sampled_from([0x80] * 15 + [0]),
    names,
)
good = st.tuples(
    st.integers(0, SIZE - 1), headers, st.sampled_from([TAIL, TAIL | WRITE]), st.just(0x10000000 + AREA + 0x400),
    st.sampled_from([512, 1024]), st.just(0x80), st.just((2, 1, MARK)),
)  # fmt: skip


@pytest.mark.clause("CRQ-D-142", "CRQ-D-146", "CRQ-D-148")
@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    pushed=st.lists(st.one_of(good, good, record), min_size=1, max_size=8),
    inner=st.lists(descriptor, min_size=4, max_size=4),
    data=st.binary(min_size=64, max_size=64),
)
def test_any_records_end_as_on_the_twin(
    layout: str,
    pushed: list[tuple[int, bytes, int, int, int, int, tuple[int, int, int]]],
    inner: list[tuple[int, int, int, int]],
    data: bytes,
) -> None:
    ends = []
    for slow in (False, True):
        rig = Rig()
        guest = PushGuest(rig, SECTORS, layout=layout)
        memory = rig.platform.guest
        memory[AREA : AREA + 0x2000] = data * 128
        for index, (at, size, flag, follower) in enumerate(inner):
            struct.pack_into("<QIHH", memory, AREA + 64 + 16 * index, at, size, flag, follower)
        twin = PushTwin(guest, SECTORS)
        rule = None
        for turn, each in enumerate(pushed):  # one by one: what a batch does in another order is not compared here
            if layout == "paired" and unheard(each):
                continue
            guest.record(*each)
            if slow:
                rule = twin.serve()
            else:
                guest.serve(credit=1 if turn else 0)
                rule = rig.faults[0][2] if rig.faults else None
            if rule is not None:
                break
        ends.append((rule, None if rule else bytes(memory)))
    assert ends[0] == ends[1]


def unheard(pushed: tuple[int, bytes, int, int, int, int, tuple[int, int, int]]) -> bool:
    """Of a side queue: what has no marker, or is left from an old session."""
    *_, marker, (device, queue, session) = pushed
    return marker == 0 or (session != MARK and (device, queue) == (2, 1))


def answered(pair: PushPair, found: Record, answer: bytes) -> None:
    """The device writes this into the request, to the last byte."""
    left = answer
    for at, size, write in found.parts:
        if write:
            pair.memory[at - WINDOW : at - WINDOW + size] = left[:size]
            left = left[size:]
    tail = left[0] if found.flags & TAIL else None
    assert len(left) == (0 if tail is None else 1)
    pair.device.use(found.head, len(answer), tail)


def readable(pair: PushPair, found: Record) -> bytes:
    parts = [pair.memory[at - WINDOW : at - WINDOW + size] for at, size, write in found.parts if not write]
    return found.inlined + b"".join(parts)


pieces = st.lists(st.sampled_from([1, 7, 8, 15, 16, 17, 64, 512]), max_size=3)


@pytest.mark.clause("CRQ-F-61", "CRQ-F-66", "CRQ-F-67")
@pytest.mark.parametrize("speed", sorted(PUSH_SPEEDS))
@settings(max_examples=100, deadline=None)
@given(
    requests=st.lists(st.tuples(pieces, pieces).filter(any), min_size=1, max_size=12),
    pooled=st.booleans(),
    indirect=st.booleans(),
    event_idx=st.booleans(),
    seed=st.integers(0, 1 << 16),
)
def test_what_a_driver_asks_and_is_told_is_what_a_ring_of_its_own_would_have_had(
    speed: str, requests: list[tuple[list[int], list[int]]], pooled: bool, indirect: bool, event_idx: bool, seed: int
) -> None:
    """The twin is the driver's view: bytes that it showed to read, and bytes that it finds where it asked for them."""
    draw = random.Random(seed)
    pair = PushPair(PUSH_SPEEDS[speed], 16, pooled, indirect, event_idx)
    for token, (reads, writes) in enumerate(requests):
        at = pair.place(token) + 4096  # behind its table
        segments = []
        for index, size in enumerate([*reads, *writes]):
            segments.append((at + 512 * index, size, int(index >= len(reads))))
            pair.memory[at + 512 * index : at + 512 * index + size] = draw.randbytes(size)
        asked = b"".join(bytes(pair.memory[place : place + size]) for place, size, write in segments if not write)
        assert pair.submit(token, *segments) >= 0
        pair.publish()
        (found,) = pair.fetch()
        assert readable(pair, found) == asked
        answer = draw.randbytes(sum(writes))
        answered(pair, found, answer)
        pair.tell()
        assert (pair.ring.collect(), pair.ring.length) == (token, len(answer))
        assert b"".join(bytes(pair.memory[place : place + size]) for place, size, write in segments if write) == answer
        pair.front.rearm()
    assert pair.front.refusals == {}
