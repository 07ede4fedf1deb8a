# SPDX-License-Identifier: Apache-2.0
"""The order of a pushing transport's loads and stores, written down by a port that records them (as interpreted)."""

import pytest
from pushpair import PUSH_SPEEDS, RECORDS, PushPair
from slowring import Wire
from test_driverorder import Recorder, Step, index_of

LISTS = RECORDS + (32 + 16) * 8


class RecordedPair(PushPair):
    """A pushed queue over a recording port."""

    def __init__(self, pooled: bool, event_idx: bool = True) -> None:
        super().__init__(PUSH_SPEEDS["interpreted"], pooled=pooled, event_idx=event_idx)
        self.recorder = Recorder(self.port)
        self.front.port = self.front.drain.port = self.recorder

    def steps(self) -> list[Step]:
        found, self.recorder.steps = self.recorder.steps, []
        return found


@pytest.mark.clause("CRQ-F-64")
@pytest.mark.parametrize("event_idx", [False, True])
def test_a_drain_asks_for_more_and_looks_once_more_behind_a_barrier(event_idx: bool) -> None:
    pair = RecordedPair(pooled=True, event_idx=event_idx)
    pair.block(1)
    pair.publish()
    last = [step[:2] for step in pair.steps()][-3:]
    wish = ("store16", pair.ring.used + 4 + 8 * 8)
    assert last[1:] == [("fence", 0), ("acquire16", pair.ring.available + 2)]
    assert (last[0] == wish) == event_idx


@pytest.mark.clause("CRQ-F-64")
def test_what_came_while_it_asked_is_pushed_as_well() -> None:
    pair = RecordedPair(pooled=True)
    pair.block(1)
    fence = pair.recorder.port.fence
    late: list[int] = []

    class Sneaking:
        def __getattr__(self, name: str) -> object:
            return getattr(pair.port, name)

        def fence(self) -> int:
            if not late:
                late.append(pair.block(2))
                pair.ring.publish()  # without a kick: the transport has not asked for one yet
            return int(fence())

    pair.front.drain.port = Sneaking()
    pair.publish()
    assert [record.head for record in pair.fetch()][1:] == late


@pytest.mark.clause("CRQ-F-61")
@pytest.mark.parametrize("pooled", [False, True])
def test_what_is_announced_stands_whole_in_memory(pooled: bool) -> None:
    pair = RecordedPair(pooled)
    stood: list[tuple[int, int]] = []

    class Looking(Wire):
        def announce(self, kind: int, device: int, queue: int, position: int, credit: int) -> int:
            for step, at, _value in pair.steps():
                if step == "fence":
                    stood.append((len(pair.device.fetch(position)), position))
                elif step.startswith("store") and at >= RECORDS:
                    assert not stood, "no byte of a record or list is stored behind the barrier"
            return super().announce(kind, device, queue, position, credit)

    pair.wire = Looking()
    pair.block(1)
    pair.block(2)
    pair.publish()
    assert stood == [(2, 2)]


@pytest.mark.clause("CRQ-F-61")
def test_a_list_is_stored_before_the_record_that_names_it() -> None:
    pair = RecordedPair(pooled=False)
    pair.block(1)
    pair.publish()
    stores = [at for step, at, _ in pair.steps() if step.startswith("store") and at >= RECORDS]
    first = next(index for index, at in enumerate(stores) if at < LISTS)
    assert min(stores[:first]) >= LISTS
    assert max(stores[first:]) < LISTS


@pytest.mark.clause("CRQ-F-65", "CRQ-F-67")
def test_a_completion_is_read_once_then_byte_then_element_then_index() -> None:
    pair = RecordedPair(pooled=True)
    head = pair.block(1)
    pair.publish()
    pair.fetch()
    pair.device.use(head, 4097, tail=3)
    pair.steps()
    pair.tell()
    steps = pair.steps()
    answer = pair.device.completions
    assert [step[:2] for step in steps if RECORDS <= step[1] < LISTS] == [("load64", answer), ("load64", answer + 8)]
    byte = index_of(steps, "store8", pair.place(1) + 64)
    element = [index for index, step in enumerate(steps) if step[1] in (pair.ring.used + 4, pair.ring.used + 8)]
    index = index_of(steps, "release16", pair.ring.used + 2)
    assert max(byte, *element) < index
    assert not [step for step in steps if step[0] == "store16" and step[1] == pair.ring.used + 2]


@pytest.mark.clause("CRQ-F-67")
def test_many_completions_are_shown_by_one_index() -> None:
    pair = RecordedPair(pooled=True)
    heads = [pair.submit(token, (pair.place(token), 64, 1)) for token in range(4)]
    pair.publish()
    pair.fetch()
    for head in heads:
        pair.device.use(head, 64)
    pair.steps()
    pair.tell()
    assert [step for step in pair.steps() if step[0] == "release16"] == [("release16", pair.ring.used + 2, 4)]
