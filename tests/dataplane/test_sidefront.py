# SPDX-License-Identifier: Apache-2.0
"""A front whose records go by side queues: what it sends, what it does about refusals, loss, return and lies."""

import struct
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pushpair import (
    MARK,
    MEMORY,
    PUSH_SPEEDS,
    RECORDS,
    SLOTS,
    TAIL,
    WINDOW,
    WRITE,
    PushPair,
    Record,
    SlowReceiver,
)
from slowring import Wire

from virtio_crq.errors import DeviceFault
from virtio_crq.platform.hosted import host
from virtio_crq.platform.port import Port

ANSWERS = 1 << 14  # the front's own ring of completions
BUSY, CLOSED, REFUSED, DROPPED = 1, 2, -4, -12


class Carrier:
    """A platform with side queues, whose answers to sends the test says: `codes`, then success."""

    def __init__(self, memory: bytearray) -> None:
        self.memory = memory
        self.codes: deque[int] = deque()
        self.limit = 128
        self.came: list[bytes] = []
        self.signals: list[int] = []
        self.handles = 4

    def fileno(self) -> int:
        return -1

    def map(self, bus: int, offset: int, length: int, access: int) -> int:
        return 0

    def queue_open(self, bus: int, length: int) -> tuple[int, int, int]:
        for at in range(bus - WINDOW, bus - WINDOW + length, 32):
            self.memory[at] = 0
        self.handles += 1
        return 0, self.handles, 1

    def queue_close(self, handle: int) -> int:
        return 0

    def queue_signal(self, interrupt: int, enabled: int) -> int:
        self.signals.append(enabled)
        return 0

    def queue_send(self, handle: int, record: bytes) -> int:
        return self._take([record])

    def queue_batch(self, handle: int, bus: int, count: int) -> int:
        at = bus - WINDOW
        assert at // 4096 == (at + 32 * count - 1) // 4096, "records of one page"
        if count > self.limit:
            return REFUSED
        return self._take([bytes(self.memory[at + 32 * n : at + 32 * n + 32]) for n in range(count)])

    def _take(self, records: list[bytes]) -> int:
        code = self.codes.popleft() if self.codes else 0
        if code == 0:
            self.came += records
        return code


class SlowSide(SlowReceiver):
    """Reads records where they arrived, and answers into the front's ring."""

    def __init__(self, memory: bytearray, size: int, carrier: Carrier) -> None:
        super().__init__(memory, size)
        self.carrier = carrier
        self.taken = 0
        self.at = 0

    def take(self) -> list[Record]:
        found = []
        while self.taken < len(self.carrier.came):
            text = self.carrier.came[self.taken]
            self.taken += 1
            scratch = self.requests
            kept = bytes(self.memory[scratch : scratch + 32])
            self.memory[scratch : scratch + 32] = text
            record = self.record(0)
            self.memory[scratch : scratch + 32] = kept
            assert record.head not in self.open
            self.open[record.head] = record
            found.append(record)
        return found

    def answer(self, head: int, written: int = 1, tail: int | None = 0, **other: int) -> None:
        fields = {"marker": 0x80, "flags": 0 if tail is None else TAIL, "head": head, "device": 3, "queue": 2}
        fields |= {"mark": self.mark, "written": written, "tail": tail or 0, "more": 0, "rest": 0} | other
        at = ANSWERS + 32 * self.at
        assert self.memory[at] == 0, "a slot that was not freed"
        self.memory[at : at + 32] = struct.pack("<BBHHBBIBBH", *fields.values()) + bytes(16)
        self.at = (self.at + 1) % 128
        self.open.pop(head, None)


class SidePair(PushPair):
    def __init__(self, speed: Any, size: int = 8, pooled: bool = True) -> None:
        self.memory = bytearray(MEMORY)
        self.carrier = Carrier(self.memory)
        self.port = Port(host(self.carrier, self.memory))  # type: ignore[arg-type]
        self.ring = speed.ring.SplitDriverRing(self.port, 0, size, False, True, 3, 2)
        self.side = speed.queue.SideQueue(self.port, ANSWERS, WINDOW + ANSWERS, 128)
        assert self.side.open() == 0
        self.side.partner = 99
        self.front = speed.side.SideFront(self.ring, RECORDS, WINDOW + RECORDS, MARK, self.side)
        self.pooled = pooled
        if pooled:
            slots = speed.pool.Pool(self.port, 64, 4096, 4096, SLOTS, WINDOW + SLOTS, 4096)
            assert slots.begin() == 0
            self.front.translate(slots)
        self.device = SlowSide(self.memory, size, self.carrier)
        self.wire = Wire()

    def returns(self, mark: int) -> list[int]:
        """The device is gone and another is there, with side queues of its own; the heads that were listed."""
        self.front.suspend()
        self.side.close()
        assert self.side.open() == 0
        self.side.partner = 100
        position, used, heads = self.front.standing(mark)
        assert (position, used) == (len(heads), 0)
        self.device.mark, self.device.at = mark, 0
        self.device.taken = len(self.carrier.came)
        self.device.open.clear()
        self.front.resume()
        return list(heads)


@pytest.fixture(params=sorted(PUSH_SPEEDS))
def speed(request: pytest.FixtureRequest) -> Any:
    return PUSH_SPEEDS[request.param]


def test_a_record_is_sent_as_soon_as_it_is_published_and_needs_no_announcement(speed: Any) -> None:
    pair = SidePair(speed)
    head = pair.block(5)
    pair.publish()
    assert pair.wire.sent == []
    at = WINDOW + pair.place(5)
    assert pair.device.take() == [
        Record(head, TAIL | WRITE, struct.pack("<IIQ", 0, 0, 5), ((at + 4096, 4096, 1),), MARK)
    ]
    assert not pair.front.arrived()
    pair.device.answer(head, 4097, tail=2)
    assert pair.front.arrived()
    assert pair.front.rearm() == 1
    pair.front.deliver()
    assert (pair.ring.collect(), pair.memory[pair.place(5) + 64]) == (5, 2)
    assert not pair.front.arrived()


def test_the_interrupt_is_turned_on_only_where_something_may_complete(speed: Any) -> None:
    pair = SidePair(speed)
    pair.front.listen(1)
    assert pair.carrier.signals == []
    head = pair.block(5)
    pair.publish()
    pair.front.listen(1)
    pair.front.listen(1)
    assert pair.carrier.signals == [1]
    pair.device.take()
    pair.device.answer(head, 4097, tail=0)
    pair.front.deliver()
    pair.front.listen(0)
    assert pair.carrier.signals == [1, 0]


@pytest.mark.clause("CRQ-F-82")
@pytest.mark.parametrize("limit", [16, 128])
def test_a_batch_that_is_too_long_for_the_platform_goes_by_sixteen(speed: Any, limit: int) -> None:
    pair = SidePair(speed, size=64)
    pair.carrier.limit = limit
    heads = [pair.block(token) for token in range(20)]
    pair.publish()
    assert [record.head for record in pair.device.take()] == heads
    assert (pair.side.refused, pair.side.limit) == (int(limit == 16), limit)


@pytest.mark.clause("CRQ-F-82")
def test_a_queue_that_is_gone_says_nothing_of_how_many_the_platform_takes(speed: Any) -> None:
    pair = SidePair(speed, size=64)
    heads = [pair.block(token) for token in range(20)]
    pair.carrier.codes.extend([REFUSED, REFUSED])
    pair.publish()
    assert (pair.device.take(), pair.side.refused, pair.side.limit, pair.front.held) == ([], 0, 128, 1)
    pair.publish()
    assert [record.head for record in pair.device.take()] == heads


@pytest.mark.parametrize("code", [BUSY, CLOSED, REFUSED])
def test_what_the_platform_did_not_take_goes_with_the_next_look(speed: Any, code: int) -> None:
    pair = SidePair(speed)
    head = pair.block(1)
    pair.carrier.codes.append(code)
    pair.publish()
    assert (pair.device.take(), pair.front.held, pair.wire.sent) == ([], 1, [])
    pair.publish()
    assert [record.head for record in pair.device.take()] == [head]
    assert pair.front.held == 0


@pytest.mark.clause("CRQ-F-86", "CRQ-F-87")
@pytest.mark.parametrize(("code", "rule"), [(DROPPED, "carrier-full"), (REFUSED, "carrier-gone")])
def test_a_record_that_is_refused_waits_and_is_held_against_the_device_only_by_who_asked_it(
    speed: Any, code: int, rule: str
) -> None:
    pair = SidePair(speed)
    head = pair.block(1)
    pair.carrier.codes.extend([code, code])
    pair.publish()
    assert (pair.front.held, bool(pair.front.denied), pair.front.refusals) == (1, True, {})
    pair.publish()
    assert pair.front.distrust() == rule
    assert pair.front.refusals == {rule: 1}
    assert not pair.front.trusted
    pair.publish()
    assert [record.head for record in pair.device.take()] == [head]
    assert (pair.front.held, pair.front.denied) == (0, 0)


@pytest.mark.clause("CRQ-F-86")
@pytest.mark.parametrize("code", [BUSY, CLOSED])
def test_a_busy_platform_and_a_partner_that_left_are_nobodys_fault(speed: Any, code: int) -> None:
    pair = SidePair(speed)
    pair.block(1)
    pair.carrier.codes.append(code)
    pair.publish()
    assert (pair.front.held, pair.front.denied) == (1, 0)


@pytest.mark.clause("CRQ-F-83")
def test_more_completions_of_old_sessions_than_any_can_have_left_are_refused_by_name(speed: Any) -> None:
    """One for one they could go on for ever, and have nothing else served."""
    pair = SidePair(speed)
    head = pair.block(1)
    pair.publish()
    pair.device.take()
    for _ in range(128):
        pair.device.answer(head, mark=MARK - 1)
    pair.front.deliver()
    pair.returns(MARK + 1)
    for _ in range(128):  # another session's are counted anew
        pair.device.answer(head, mark=MARK)
    pair.front.deliver()
    pair.device.answer(head, mark=MARK)
    with pytest.raises(DeviceFault) as caught:
        pair.front.deliver()
    assert caught.value.rule == "completion-form"
    assert pair.front.stale == 257


@pytest.mark.clause("CRQ-F-88")
def test_an_announcement_besides_is_refused_by_name(speed: Any) -> None:
    pair = SidePair(speed)
    pair.block(1)
    pair.publish()
    with pytest.raises(DeviceFault) as caught:
        pair.front.used_told(1, 0)
    assert caught.value.rule == "record-announced"


@pytest.mark.clause("CRQ-F-84")
def test_a_list_stays_until_all_that_was_in_flight_with_it_is_done_and_then_makes_room(speed: Any) -> None:
    pair = SidePair(speed, pooled=False)
    lists = RECORDS + (32 + 16) * 8
    slow = pair.submit(0, (0, 16, 0), (0x1000, 16, 0))
    pair.publish()  # 2 of 16 entries
    for token in range(1, 4):
        head = pair.submit(token, *[(0x1000 * index + token, 16, 0) for index in range(4)])
        pair.publish()
        pair.device.take()
        before = bytes(pair.memory[lists : lists + 32])
        pair.device.answer(head, 0, tail=None)
        pair.front.deliver()
        assert pair.ring.collect() == token
    pair.submit(4, *[(0x1000 * index, 16, 0) for index in range(4)])
    pair.publish()  # 14 of 16, although 12 of them are of requests that are done
    assert (pair.device.take(), pair.front.stalled) == ([], 1)
    assert bytes(pair.memory[lists : lists + 32]) == before
    pair.device.answer(slow, 0, tail=None)
    pair.front.deliver()
    assert pair.ring.collect() == 0
    pair.publish()
    assert [len(record.parts) for record in pair.device.take()] == [4]


# --- hostile completions ---

Act = Callable[[SidePair, int], None]
ACTS: dict[str, tuple[str, Act]] = {
    "no known flags": ("completion-form", lambda pair, head: pair.device.answer(head, flags=TAIL | 1)),
    "another device": ("completion-form", lambda pair, head: pair.device.answer(head, device=4)),
    "another queue": ("completion-form", lambda pair, head: pair.device.answer(head, queue=1)),
    "behind the tail": ("completion-form", lambda pair, head: pair.device.answer(head, more=1)),
    "never offered": ("used-unknown", lambda pair, head: pair.device.answer((head + 1) % 8)),
    "beyond the queue": ("used-unknown", lambda pair, head: pair.device.answer(0xFFFF)),
    "too long": ("used-length", lambda pair, head: pair.device.answer(head, 4098)),
    "twice": ("used-unknown", lambda pair, head: [pair.device.answer(head) for _ in range(2)] and None),
}


@pytest.mark.clause("CRQ-F-65", "CRQ-F-66")
@pytest.mark.parametrize("name", ACTS)
def test_a_hostile_completion_is_refused_by_name(speed: Any, name: str) -> None:
    rule, act = ACTS[name]
    pair = SidePair(speed)
    head = pair.block(1)
    pair.publish()
    pair.device.take()
    act(pair, head)
    with pytest.raises(DeviceFault) as caught:
        pair.front.deliver()
    assert caught.value.rule == rule
    assert pair.front.refusals == {rule: 1}
    assert pair.ring.collect() < 0


@pytest.mark.clause("CRQ-F-83")
def test_a_completion_of_a_session_that_is_over_is_dropped_and_its_slot_freed(speed: Any) -> None:
    pair = SidePair(speed)
    head = pair.block(1)
    pair.publish()
    pair.device.take()
    pair.device.answer(head, mark=MARK - 1)
    pair.front.deliver()
    assert (pair.front.stale, pair.ring.collect() < 0, pair.memory[ANSWERS]) == (1, True, 0)
    pair.device.answer(head)
    pair.front.deliver()
    assert pair.ring.collect() == 1


# --- loss and return ---


@pytest.mark.clause("CRQ-F-68", "CRQ-F-85")
@pytest.mark.parametrize("pooled", [False, True])
def test_what_is_in_flight_is_sent_once_more_in_its_order(speed: Any, pooled: bool) -> None:
    pair = SidePair(speed, size=16, pooled=pooled)
    heads = [pair.block(token) for token in range(4)]
    pair.publish()
    first = pair.device.take()
    pair.device.answer(heads[1], 4097, tail=0 if pooled else None)
    pair.front.deliver()
    pair.carrier.codes.append(CLOSED)
    late = pair.block(4)
    pair.publish()  # nobody took it: the device is gone
    assert pair.returns(9) == [heads[0], heads[2], heads[3]]
    pair.publish()
    again = pair.device.take()
    assert [record.head for record in again] == [heads[0], heads[2], heads[3], late]
    kept = [record._replace(mark=9) for record in first if record.head != heads[1]]
    assert [record[:3] + record[4:] for record in again[:3]] == [record[:3] + record[4:] for record in kept]


@pytest.mark.clause("CRQ-F-85")
def test_a_queue_that_is_not_paired_again_stands_in_the_window(speed: Any) -> None:
    pair = SidePair(speed, size=16)
    heads = [pair.block(token) for token in range(3)]
    pair.publish()
    pair.device.take()
    pair.device.answer(heads[0])
    pair.front.deliver()
    assert pair.ring.collect() == 0
    pair.front.suspend()
    pair.side.close()
    window = speed.front.WindowFront(pair.ring, RECORDS, WINDOW + RECORDS, 9)
    window.inherit(pair.front)
    assert window.standing(9) == (2, 0, heads[1:])
    window.resume()
    slow = SlowReceiver(pair.memory, 16)
    slow.mark = 9
    for record in slow.fetch(2):
        slow.use(record.head, 4097, tail=1)
    window.used_told(2, 0)
    window.deliver()
    assert [pair.ring.collect(), pair.ring.collect(), pair.memory[pair.place(2) + 64]] == [1, 2, 1]
    heads.append(pair.block(7))
    assert window.publish() == 1
    assert [record.head for record in slow.fetch(3)] == [heads[-1]]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(1, 4)),
        st.tuples(st.just("answer"), st.integers(1, 8)),
        st.tuples(st.just("refuse"), st.sampled_from([BUSY, CLOSED])),
        st.tuples(st.just("return"), st.integers(0, 1)),
        st.tuples(st.just("look"), st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=150)
@given(steps=STEPS, pooled=st.booleans(), limit=st.sampled_from([16, 128]), name=st.sampled_from(sorted(PUSH_SPEEDS)))
def test_every_request_ends_once_whatever_is_refused_lost_or_late(
    steps: list[tuple[str, int]], pooled: bool, limit: int, name: str
) -> None:
    """And a device sees, after each return, what it is told to be in flight first and in that order."""
    pair = SidePair(PUSH_SPEEDS[name], size=16, pooled=pooled)
    pair.carrier.limit = limit
    asked: list[int] = []
    ended: list[int] = []
    mark = MARK
    expected: list[int] = []

    def look() -> None:
        nonlocal expected
        pair.front.deliver()
        while (token := pair.ring.collect()) >= 0:
            ended.append(token)
        pair.publish()
        for record in pair.device.take():
            if expected:
                assert record.head == expected.pop(0)

    for what, number in [*steps, ("return", 0), *[("answer", 16)] * 20]:
        if what == "ask":
            for _ in range(number):
                if len(asked) - len(ended) < 5 and pair.block(len(asked)) >= 0:
                    asked.append(len(asked))
        elif what == "answer":
            for head in list(pair.device.open)[:number]:
                pair.device.answer(head, 4097, tail=0 if pooled else None)
        elif what == "refuse":
            pair.carrier.codes.append(number)
        elif what == "return":
            mark += 1
            if number:
                pair.front.deliver()
            pair.carrier.codes.clear()
            expected = pair.returns(mark)
        look()
    assert sorted(ended) == asked
    assert pair.wire.sent == []
