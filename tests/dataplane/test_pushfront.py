# SPDX-License-Identifier: Apache-2.0
"""The transport pushes its driver's requests: what a record holds, what a completion may say, what a loss leaves."""

import random
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pushpair import LIST, MARK, PUSH_SPEEDS, RECORDS, TAIL, WINDOW, WRITE, PushPair, Record

from virtio_crq.errors import DeviceFault
from virtio_crq.platform.channel import AVAIL, CREDIT


@pytest.fixture(params=sorted(PUSH_SPEEDS))
def speed(request: pytest.FixtureRequest) -> Any:
    return PUSH_SPEEDS[request.param]


def test_a_read_of_a_block_is_one_record_and_its_status_comes_inlined(speed: Any) -> None:
    pair = PushPair(speed)
    head = pair.block(5)
    pair.publish()
    assert pair.wire.sent == [(AVAIL, 1, 0)]
    at = pair.place(5)
    assert pair.fetch() == [
        Record(head, TAIL | WRITE, struct.pack("<IIQ", 0, 0, 5), ((WINDOW + at + 4096, 4096, 1),), MARK)
    ]
    pair.device.use(head, 4097, tail=2)
    pair.tell()
    assert pair.ring.collect() == 5
    assert pair.ring.length == 4097
    assert pair.memory[at + 64] == 2
    assert pair.front.rearm() == 0


def test_a_write_names_a_segment_to_read(speed: Any) -> None:
    pair = PushPair(speed)
    pair.block(1, kind=1)
    pair.block(2, length=0)
    pair.publish()
    write, flush = pair.fetch()
    assert (write.flags, write.parts) == (TAIL, ((WINDOW + pair.place(1) + 4096, 4096, 0),))
    assert (flush.flags, flush.parts) == (TAIL, ())


def test_without_the_mapping_the_chain_goes_as_a_list(speed: Any) -> None:
    pair = PushPair(speed, pooled=False)
    pair.block(5)
    pair.publish()
    (record,) = pair.fetch()
    at = WINDOW + pair.place(5)
    assert record[1:4] == (LIST, b"", ((at, 16, 0), (at + 4096, 4096, 1), (at + 64, 1, 1)))
    pair.memory[at - WINDOW + 64] = 0
    pair.device.use(record.head, 4097)
    pair.tell()
    assert pair.ring.collect() == 5


def test_one_segment_alone_needs_no_list_with_or_without_the_mapping(speed: Any) -> None:
    for pooled in (False, True):
        pair = PushPair(speed, pooled=pooled)
        pair.submit(1, (pair.place(1), 64, 1))
        pair.submit(2, (pair.place(2), 300, 0))
        pair.publish()
        first, second = pair.fetch()
        assert (first.flags, first.parts) == (WRITE, ((WINDOW + pair.place(1), 64, 1),))
        assert (second.flags, second.parts) == (0, ((WINDOW + pair.place(2), 300, 0),))


def test_a_few_bytes_to_read_are_whole_in_their_record(speed: Any) -> None:
    pair = PushPair(speed)
    pair.memory[pair.place(1) : pair.place(1) + 11] = b"hello world"
    pair.submit(1, (pair.place(1), 11, 0))
    pair.publish()
    assert pair.fetch()[0][1:4] == (0, b"hello world", ())


@pytest.mark.parametrize("pooled", [False, True])
def test_a_segment_that_a_record_has_no_room_for_goes_as_a_list(speed: Any, pooled: bool) -> None:
    pair = PushPair(speed, pooled=pooled)
    assert pair.ring.segment(1 << 40, 512, 1) == 0
    pair.ring.submit(1, 0, 0)
    assert pair.ring.segment(WINDOW, 1 << 24, 1) == 0
    pair.ring.submit(2, 0, 0)
    pair.publish()
    high, wide = pair.fetch()
    assert (high.flags, high.parts) == (LIST, ((1 << 40, 512, 1),))
    assert (wide.flags, wide.parts) == (LIST, ((WINDOW, 1 << 24, 1),))


@pytest.mark.parametrize("pooled", [False, True])
def test_a_drivers_own_table_is_the_list_unless_one_record_holds_all(speed: Any, pooled: bool) -> None:
    pair = PushPair(speed, pooled=pooled, indirect=True)
    pair.block(1)
    at = pair.place(2)
    pair.submit(2, (at, 16, 0), (at + 4096, 512, 1), (at + 5120, 512, 1), (at + 64, 1, 1))
    pair.publish()
    one, two = pair.fetch()
    if pooled:
        assert (one.flags, len(one.inlined), len(one.parts)) == (TAIL | WRITE, 16, 1)
    else:
        assert (one.flags, len(one.inlined), len(one.parts)) == (LIST, 0, 3)
    assert (two.flags, two.inlined, len(two.parts)) == (LIST, b"", 4)
    for record in (two, one):
        pair.device.use(record.head, 1, tail=0 if record.flags & TAIL else None)
    pair.tell()
    assert [pair.ring.collect(), pair.ring.collect()] == [2, 1]


@pytest.mark.clause("CRQ-F-62")
def test_lists_stay_until_the_credit_came_back_and_requests_wait_for_room(speed: Any) -> None:
    pair = PushPair(speed, size=8, pooled=False)
    lists = slice(RECORDS + (32 + 16) * 8, RECORDS + (32 + 16 + 32) * 8)
    for round_ in range(2):
        for token in range(2):
            pair.submit(token, *[(0x1000 * index + 0x100 * token + 0x10 * round_, 16, 0) for index in range(4)])
        pair.publish()
        if round_ == 0:
            before = bytes(pair.memory[lists])
            for record in pair.fetch():
                pair.device.use(record.head, 0)
            pair.tell(credit=0)
            while pair.ring.collect() >= 0:
                pass
    assert pair.front.position == 4
    assert bytes(pair.memory[lists])[:128] == before[:128], "announced, and not known to be read"
    assert pair.front.credit_returned() == 1
    pair.front.settle(pair.wire)
    records = pair.fetch()
    places = [[part[0] for part in record.parts] for record in records]
    assert places == [[WINDOW + 0x1000 * index + 0x100 * token + 0x10 for index in range(4)] for token in range(2)]


@pytest.mark.clause("CRQ-F-62")
def test_a_request_whose_list_has_no_room_is_pushed_when_there_is(speed: Any) -> None:
    pair = PushPair(speed, size=4, pooled=False)
    pair.submit(0, *[(0x1000 * index, 16, 0) for index in range(3)])
    pair.publish()  # announced: 3 of 8 entries
    for record in pair.fetch():
        pair.device.use(record.head, 0)
    pair.tell(credit=0)
    assert pair.ring.collect() == 0
    pair.submit(1, *[(0x1000 * index, 16, 0) for index in range(4)])
    pair.publish()  # 7 of 8
    assert (pair.front.position, pair.front.stalled) == (2, 0)
    assert pair.front.credit_returned() == 1
    pair.front.settle(pair.wire)  # the first 3 are free, 4 are announced
    pair.device.use(pair.fetch()[0].head, 0)
    pair.tell(credit=0)
    assert pair.ring.collect() == 1
    pair.submit(2, *[(0x1000 * index, 16, 0) for index in range(4)])
    pair.publish()  # one entry at the end is skipped: 4 + 1 + 4 are too many
    assert (pair.front.position, pair.front.stalled) == (2, 1)
    pair.front.credit_returned()
    pair.publish()
    assert (pair.front.position, pair.front.stalled) == (3, 0)
    assert len(pair.fetch()[0].parts) == 4


@pytest.mark.parametrize("count", [2, 3, 4])
def test_lists_go_round_and_round_in_their_room(speed: Any, count: int) -> None:
    pair = PushPair(speed, size=4, pooled=False)
    last = pair.submit(0, *[(0x1000 * index, 16, 0) for index in range(count)])
    pair.publish()
    for token in range(1, 20):
        pair.fetch()
        pair.device.use(last, 0)
        pair.tell(credit=0)
        assert pair.ring.collect() == token - 1
        last = pair.submit(token, *[(0x1000 * index + 0x100 * token, 16, 0) for index in range(count)])
        pair.publish()  # while the list before it may still be read
        pair.front.credit_returned()
        pair.publish()
        pair.front.settle(pair.wire)
        (record,) = pair.fetch()
        assert [part[0] for part in record.parts] == [WINDOW + 0x1000 * index + 0x100 * token for index in range(count)]


@pytest.mark.clause("CRQ-F-64")
def test_the_driver_kicks_for_what_comes_after_a_drain(speed: Any) -> None:
    pair = PushPair(speed)
    avail_event = pair.ring.used + 4 + 8 * 8
    for token in range(5):
        pair.block(token % 2)
        pair.publish()
        assert int.from_bytes(pair.memory[avail_event : avail_event + 2], "little") == token + 1
        assert pair.front.position == token + 1
        for record in pair.fetch():
            pair.device.use(record.head, 4097, tail=0)
        pair.tell()
        assert pair.ring.collect() == token % 2


@pytest.mark.clause("CRQ-F-63")
def test_nothing_of_the_drivers_ring_is_needed_by_the_device(speed: Any) -> None:
    pair = PushPair(speed)
    head = pair.block(1)
    ring = bytes(pair.memory[: pair.ring.used])
    pair.publish()
    pair.fetch()
    pair.device.use(head, 1, tail=1)
    pair.tell()
    assert bytes(pair.memory[: pair.ring.available]) == ring[: pair.ring.available]
    assert pair.ring.collect() == 1


# --- hostile completions ---


def raw(pair: PushPair, text: bytes) -> None:
    at = pair.device.completions + 16 * (pair.device.position % 8)
    pair.memory[at : at + 16] = text
    pair.device.position += 1
    pair.tell()


def form(pair: PushPair, head: int, **other: int) -> None:
    fields = {"marker": 0x80, "flags": TAIL, "head": head, "device": 3, "queue": 2, "mark": MARK, "written": 1}
    fields |= {"tail": 0, "more": 0, "rest": 0} | other
    raw(pair, struct.pack("<BBHHBBIBBH", *fields.values()))


def twice(pair: PushPair, head: int) -> None:
    pair.device.use(head, 1, tail=0)
    pair.device.use(head, 1, tail=0)
    pair.tell()


def unannounced(pair: PushPair, head: int) -> None:
    later = pair.block(2)
    pair.publish()  # without credit: the record stands, and was not announced
    assert pair.front.position == 2
    pair.device.use(later, 1, tail=0)
    pair.tell()


def unasked_tail(pair: PushPair, head: int) -> None:
    pair.front.credit_returned()
    later = pair.submit(2, (pair.place(2), 64, 1))
    pair.publish()
    pair.device.use(later, 1, tail=0)
    pair.tell(credit=0)


Act = Callable[[PushPair, int], None]
ACTS: dict[str, tuple[str, Act]] = {
    "no marker": ("completion-form", lambda pair, head: form(pair, head, marker=0)),
    "marker of an event": ("completion-form", lambda pair, head: form(pair, head, marker=0xFF)),
    "flags": ("completion-form", lambda pair, head: form(pair, head, flags=TAIL | 1)),
    "all flags": ("completion-form", lambda pair, head: form(pair, head, flags=0xFF)),
    "another device": ("completion-form", lambda pair, head: form(pair, head, device=4)),
    "another queue": ("completion-form", lambda pair, head: form(pair, head, queue=0)),
    "another session": ("completion-form", lambda pair, head: form(pair, head, mark=MARK + 1)),
    "behind the tail": ("completion-form", lambda pair, head: form(pair, head, more=1)),
    "at the end": ("completion-form", lambda pair, head: form(pair, head, rest=0x8000)),
    "a tail without its flag": ("completion-form", lambda pair, head: form(pair, head, flags=0, tail=1)),
    "nothing was written": ("completion-form", lambda pair, head: raw(pair, bytes(16))),
    "a tail unasked": ("completion-tail", unasked_tail),
    "never offered": ("used-unknown", lambda pair, head: form(pair, (head + 1) % 8)),
    "beyond the queue": ("used-unknown", lambda pair, head: form(pair, 8)),
    "largest head": ("used-unknown", lambda pair, head: form(pair, 0xFFFF)),
    "twice": ("used-ahead", twice),
    "not announced": ("used-unknown", unannounced),
    "too long": ("used-length", lambda pair, head: form(pair, head, written=4098)),
    "as long as can be": ("used-length", lambda pair, head: form(pair, head, written=0xFFFFFFFF)),
    "position ahead": ("used-ahead", lambda pair, head: pair.front.used_told(2, 0)),
    "position back": ("used-ahead", lambda pair, head: pair.front.used_told(0xFFFF, 0)),
}


@pytest.mark.clause("CRQ-F-65", "CRQ-F-66", "CRQ-F-19")
@pytest.mark.parametrize("name", ACTS)
def test_a_hostile_completion_is_refused_by_name_before_the_driver_sees_it(speed: Any, name: str) -> None:
    rule, act = ACTS[name]
    pair = PushPair(speed)
    head = pair.block(1)
    pair.publish()
    pair.fetch()
    with pytest.raises(DeviceFault) as caught:
        act(pair, head)
    assert caught.value.rule == rule
    assert pair.front.refusals == {rule: 1}
    assert pair.ring.collect() < 0
    assert pair.memory[pair.place(1) + 64] == 0xFF


@pytest.mark.clause("CRQ-F-66")
def test_a_head_twice_is_refused_although_another_is_in_flight(speed: Any) -> None:
    pair = PushPair(speed)
    head = pair.block(1)
    pair.block(2)
    pair.publish()
    pair.fetch()
    with pytest.raises(DeviceFault, match="not in flight"):
        twice(pair, head)
    assert pair.front.refusals == {"used-unknown": 1}


# --- loss and return ---


@pytest.mark.clause("CRQ-F-68", "CRQ-F-44")
@pytest.mark.parametrize("pooled", [False, True])
def test_what_is_in_flight_stands_again_in_its_order_with_the_same_bytes(speed: Any, pooled: bool) -> None:
    pair = PushPair(speed, size=16, pooled=pooled)
    heads = [pair.block(token) for token in range(4)]
    pair.publish()
    first = pair.fetch()
    late = pair.block(4)
    pair.publish()  # no credit: not announced
    pair.device.use(heads[1], 4097, tail=0 if pooled else None)
    pair.tell(credit=0)
    assert pair.ring.collect() == 1
    pair.front.suspend()
    for token in range(5):  # whatever became of the driver's own bytes
        pair.memory[pair.place(token) : pair.place(token) + 16] = b"\xcc" * 16 if pooled else bytes(16)
    pair.memory[RECORDS : RECORDS + (32 + 16 + 32) * 16] = b"\xee" * (32 + 16 + 32) * 16
    assert pair.front.standing(9) == (3, 0, [heads[0], heads[2], heads[3]])
    pair.front.resume()
    pair.device.fetched = pair.device.position = 0
    pair.device.open.clear()
    pair.device.mark = 9
    again = pair.device.fetch(3)
    expected = [record._replace(mark=9) for record in first if record.head != heads[1]]
    assert [record[:3] + record[4:] for record in again] == [record[:3] + record[4:] for record in expected]
    assert [record.parts for record in again] == [record.parts for record in expected]
    pair.front.settle(pair.wire)
    assert pair.wire.sent[-1] == (AVAIL, 4, 0)
    assert [record.head for record in pair.fetch()] == [late]
    for record in list(pair.device.open.values()):
        pair.device.use(record.head, 1, tail=0 if pooled else None)
    pair.tell()
    assert [pair.ring.collect() for _ in range(4)] == [0, 2, 3, 4]


def test_a_reset_forgets_everything_and_starts_anew(speed: Any) -> None:
    pair = PushPair(speed)
    pair.block(4)
    pair.block(3)
    pair.publish()
    assert pair.front.reset() == [4, 3]
    pair.device.fetched = pair.device.position = 0
    pair.device.open.clear()
    pair.wire.sent.clear()
    head = pair.block(5)
    pair.publish()
    assert [record.head for record in pair.fetch()] == [head]
    pair.device.use(head, 1, tail=0)
    pair.tell()
    assert pair.ring.collect() == 5


def test_credits_are_those_of_every_front(speed: Any) -> None:
    pair = PushPair(speed, size=16)
    first, _second = pair.block(1), pair.block(2)
    pair.publish()
    pair.fetch()
    pair.block(3)
    pair.publish()
    assert pair.wire.sent == [(AVAIL, 2, 0)]
    pair.device.use(first, 1, tail=0)
    pair.tell(credit=0)
    pair.ring.collect()
    pair.front.settle(pair.wire)
    assert pair.wire.sent[-1][0] == CREDIT
    pair.front.credit_returned()
    pair.front.settle(pair.wire)
    assert pair.wire.sent[-1] == (AVAIL, 3, 0)


def _life(module: Any, seed: int, pooled: bool, indirect: bool, event_idx: bool) -> tuple[list[Any], bytes]:
    """A random life with a device that keeps the rules, and is lost now and then; what it saw, and the memory left."""
    draw = random.Random(seed)
    pair = PushPair(module, 8, pooled, indirect, event_idx)
    ring, front, device, wire = pair.ring, pair.front, pair.device, pair.wire
    log: list[Any] = []
    flying: set[int] = set()
    told = heard = mark = 0
    mine = True
    for token in range(150):
        act = draw.randrange(7)
        if act <= 1 and token % 64 not in {each % 64 for each in flying}:
            kind, length = draw.randrange(2), 512 * draw.randrange(3)
            head = pair.block(token, kind, length)
            if head >= 0:
                flying.add(token)
                log.append(("made", token, head))
            pair.publish()
        elif act == 2 and wire.sent:
            for kind, position, credit in wire.sent:
                heard = position if kind == AVAIL else heard
                mine = mine or bool(credit)
            wire.sent.clear()
            log += device.fetch(heard)
            if front.credit == 0:
                front.credit_returned()
        elif act == 3 and device.open:
            record = device.open[draw.choice(sorted(device.open))]
            room = sum(size for _at, size, write in record.parts if write) + (1 if record.flags & TAIL else 0)
            device.use(record.head, draw.randrange(room + 1), draw.randrange(256) if record.flags & TAIL else None)
        elif act in (4, 5):
            if mine and told != device.position:
                told, mine = device.position, False
                front.used_told(told, 0)
            front.deliver()
            while (done := ring.collect()) >= 0:
                log.append((done, ring.length))
                flying.discard(done)
            front.publish()
            front.rearm()
            front.settle(wire)
        elif draw.randrange(4) == 0:
            front.deliver()
            front.suspend()
            mark = (mark + 1) % 255 + 1
            count, _used, heads = front.standing(mark)
            front.resume()
            device.mark, device.fetched, device.position = mark, 0, 0
            device.open.clear()
            wire.sent.clear()
            heard, told, mine = count, 0, True
            again = device.fetch(count)
            assert [record.head for record in again] == heads
            log += again
            front.settle(wire)
    assert front.refusals == {}
    assert sorted(ring.in_flight_tokens()) == sorted(flying)
    log.append((ring.heads(), ring.free_count))
    return log, bytes(pair.memory)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), pooled=st.booleans(), indirect=st.booleans(), event_idx=st.booleans())
def test_both_speeds_live_the_same_life(seed: int, pooled: bool, indirect: bool, event_idx: bool) -> None:
    lives = [_life(PUSH_SPEEDS[name], seed, pooled, indirect, event_idx) for name in ("compiled", "interpreted")]
    assert lives[0] == lives[1]


@settings(max_examples=150, deadline=None)
@given(noise=st.binary(min_size=64, max_size=64), positions=st.lists(st.integers(0, 4), max_size=4))
def test_noise_among_completions_ends_in_the_same_refusal_at_both_speeds(noise: bytes, positions: list[int]) -> None:
    ends = []
    for name in ("compiled", "interpreted"):
        pair = PushPair(PUSH_SPEEDS[name])
        for token in range(3):
            pair.block(token)
        pair.publish()
        at = pair.device.completions
        pair.memory[at : at + 64] = noise
        end: list[Any] = []
        try:
            for position in positions:
                pair.front.used_told(position, 0)
                pair.front.deliver()
        except DeviceFault as fault:
            end.append((fault.rule, fault.detail))
        while (done := pair.ring.collect()) >= 0:
            end.append((done, pair.ring.length))
        ends.append(end)
    assert ends[0] == ends[1]
