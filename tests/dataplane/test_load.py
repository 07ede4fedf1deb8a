# SPDX-License-Identifier: Apache-2.0
"""Loads do what they say and count it, alone in a thread or several in one."""

import os
from typing import Any

import pytest
from driverrig import READ, SPEEDS, WRITE, Pages, Rig, ServedWire, Wire
from hypothesis import given
from hypothesis import strategies as st
from slowring import interpreted

from virtio_crq.dataplane import load, loadround
from virtio_crq.platform.channel import NOTHING, USED

LOADS = {"compiled": load, "interpreted": interpreted(load)}
ROUNDS = {"compiled": loadround, "interpreted": interpreted(loadround, LOADS["interpreted"])}
FINISHED, NOTHING_CAME = loadround.FINISHED, loadround.NOTHING_CAME


@pytest.fixture(params=SPEEDS)
def speed(request: pytest.FixtureRequest) -> Any:
    return request.param


class RefusingPages(Pages):
    """A platform that is busy whenever a request is to be mapped."""

    def map(self, bus: int, offset: int, length: int, access: int) -> int:
        return 1


def test_a_load_that_is_over_leaves_no_slot_behind_however_busy_the_platform_was(speed: str) -> None:
    rig = Rig(speed, pages=RefusingPages())
    generator = LOADS[speed].LoadGenerator(rig.driver, rig.front, ServedWire(rig), READ, 4096, 1, 40960)
    generator.begin(0.02, 0)
    while generator.turn(10) != FINISHED:
        pass
    assert generator.completed == 0
    assert rig.driver.idle == rig.driver.slots


@pytest.mark.parametrize("kind", [READ, WRITE])
def test_over_a_pool_the_load_pays_the_copy_that_a_block_layer_pays(speed: str, kind: int) -> None:
    rig = Rig(speed, kind="pool")
    wire = ServedWire(rig)
    buffers = 1 << 18
    filled = buffers if kind == WRITE else rig.driver.mapping.short.offset
    for page in range(4):
        rig.memory[filled + 4096 * page : filled + 4096 * (page + 1)] = bytes([page + 1]) * 4096
    generator = LOADS[speed].LoadGenerator(rig.driver, rig.front, wire, kind, 4096, 3, 40960, buffers=buffers)
    generator.begin(0, 3)
    assert generator.turn(10) == 0
    for slot in range(3):
        data = rig.driver.data(slot)
        assert rig.memory[data] != 0
        assert rig.memory[data : data + 4096] == rig.memory[buffers + slot * 4096 : buffers + (slot + 1) * 4096]
    generator.begin(0, 50)
    assert generator.turn(10) == 0
    assert (generator.completed, generator.bounced) == (50, 50)


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


class Shared(Wire):
    """One channel for several queues, each with a slow device behind it."""

    def __init__(self, rigs: list[Rig]) -> None:
        super().__init__()
        self.parts = [ServedWire(rig) for rig in rigs]
        self.queued: list[tuple[int, int, int, int]] = []

    def announce(self, kind: int, device: int, queue: int, position: int, credit: int) -> int:
        self.parts[queue].announce(kind, device, queue, position, credit)
        self.queued += [(queue, *entry) for entry in self.parts[queue].queued]
        self.parts[queue].queued.clear()
        return 0

    def poll(self) -> int:
        if not self.queued:
            return NOTHING
        self.queue, kind, self.position, self.credit = self.queued.pop(0)
        return kind


def spread(speed: str, queues: int = 3) -> tuple[list[Rig], Shared, list[Any]]:
    rigs = [Rig(speed, pages=Woken(), queue=queue) for queue in range(queues)]
    wire = Shared(rigs)
    loads = [
        LOADS[speed].LoadGenerator(rig.driver, rig.front, wire, READ, 4096, 1 + queue, 40960, seed=1 + queue)
        for queue, rig in enumerate(rigs)
    ]
    loads[0].join(loads[1:])
    return rigs, wire, loads


def test_a_load_on_several_queues_is_driven_and_counted_by_the_first(speed: str) -> None:
    rigs, wire, loads = spread(speed)
    for _again in range(2):
        loads[0].begin(0, 40)
        assert loads[0].turn(10) == FINISHED
        assert [each.completed for each in loads] == [40, 40, 40]
        assert loads[0].answered() == 120
        loads[0].gather()
        assert (loads[0].completed, loads[0].failed) == (120, 0)
        assert loads[0].batches >= loads[1].batches + loads[2].batches
        assert 0 < loads[0].percentile(0.5) <= loads[0].percentile(0.99)
        assert loads[0].seconds() > 0
    assert [rig.ring.in_flight for rig in rigs] == [0, 0, 0]
    assert all(part.kinds for part in wire.parts)


def test_an_entry_for_none_of_the_queues_is_given_to_the_caller(speed: str) -> None:
    _rigs, wire, loads = spread(speed)
    loads[0].begin(0, 5)
    wire.queued.append((3, USED, 1, 1))  # a queue that the load has not
    assert loads[0].turn(10) == USED
    assert loads[0].turn(10) == FINISHED
    assert loads[0].answered() == 15


def test_queues_that_sleep_turn_the_adapters_interrupt_on_once() -> None:
    rigs, _wire, loads = spread("interpreted")
    for generator in loads:
        generator.heard = 9
    loads[0]._arm_all()
    loads[0]._arm_all()
    assert [(each.armed, each.heard) for each in loads] == [(1, 0)] * 3
    loads[0]._unarm_all()
    assert [each.armed for each in loads] == [0, 0, 0]
    assert [rig.pages.signals for rig in rigs] == [[1, 0], [], []]  # type: ignore[attr-defined]


@given(st.integers(0, 2**40))
def test_histogram_buckets_are_exact_to_three_percent(value: int) -> None:
    bucket = load.bucket_of(value)
    assert bucket < 2048
    assert abs(load.bucket_value(bucket) - value) <= max(1, value * 0.04)
    assert bucket == LOADS["interpreted"].bucket_of(value)


class Woken(Pages):
    """A platform with an interrupt: how often it was turned on and off is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.event = os.eventfd(0, os.EFD_NONBLOCK)
        self.signals: list[int] = []

    def fileno(self) -> int:
        return self.event

    def signal(self, enabled: int) -> int:
        self.signals.append(enabled)
        return 0


class Slow(ServedWire):
    """Its device serves what was announced when `ring` says so."""

    held: tuple[int, int, int, int, int] | None = None

    def announce(self, kind: int, device: int, queue: int, position: int, credit: int) -> int:
        self.held = kind, device, queue, position, credit
        return 0

    def ring(self) -> None:
        assert self.held is not None
        super().announce(*self.held)


class Several:
    """Some clients' loads, each with a driver, a device and a channel of its own, in one round."""

    def __init__(self, speed: str, wire: type[ServedWire] = ServedWire, clients: int = 3) -> None:
        self.rigs = [Rig(speed, pages=Woken()) for _ in range(clients)]
        self.wires = [wire(rig) for rig in self.rigs]
        self.loads = [
            LOADS[speed].LoadGenerator(rig.driver, rig.front, wire, READ, 4096, 2, 40960)
            for rig, wire in zip(self.rigs, self.wires, strict=True)
        ]
        self.round = ROUNDS[speed].LoadRound(self.loads)

    def begin(self, requests: int) -> None:
        for generator in self.loads:
            generator.begin(0, requests)


def test_loads_in_one_thread_all_come_to_their_end(speed: str) -> None:
    several = Several(speed)
    for _again in range(2):
        several.begin(20)
        assert several.round.turn(10) == FINISHED
        assert [(each.completed, each.failed) for each in several.loads] == [(20, 0)] * 3
    assert [rig.ring.in_flight for rig in several.rigs] == [0, 0, 0]
    assert all(rig.pages.signals == [] for rig in several.rigs)  # type: ignore[attr-defined]
    several.round.close()


def test_an_entry_for_nobodys_queue_is_given_to_the_caller_with_its_load(speed: str) -> None:
    several = Several(speed)
    several.begin(5)
    several.wires[1].queued.append((4, 0, 0))
    assert several.round.turn(10) == 4
    assert several.round.speaker is several.loads[1]
    assert several.round.turn(10) == FINISHED
    assert [each.completed for each in several.loads] == [5, 5, 5]
    several.round.close()


def test_a_round_that_hears_nothing_says_so(speed: str) -> None:
    several = Several(speed, Slow)
    several.begin(4)
    assert several.round.turn(10) == NOTHING_CAME
    assert [each.completed for each in several.loads] == [0, 0, 0]
    several.round.close()


def test_a_round_sleeps_once_for_all_and_who_was_woken_stays_armed(speed: str) -> None:
    several = Several(speed, Slow)
    several.begin(4)
    assert several.round.turn(1, 0.001) == NOTHING_CAME
    assert several.round.sleeps == 1
    assert [rig.pages.signals for rig in several.rigs] == [[1]] * 3  # type: ignore[attr-defined]
    for wire, rig in zip(several.wires[:2], several.rigs[:2], strict=True):
        wire.ring()  # type: ignore[attr-defined]
        os.eventfd_write(rig.pages.fileno(), 1)
    assert several.round.turn(1, 0.001) == NOTHING_CAME
    # Whom a look found, before it was known that it would wake, is turned off and armed again.
    assert [rig.pages.signals for rig in several.rigs] == [[1, 0, 1], [1, 0, 1], [1]]  # type: ignore[attr-defined]
    assert [each.completed for each in several.loads] == [2, 2, 0]
    several.round.close()
