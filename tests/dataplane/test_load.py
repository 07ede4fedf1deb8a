# SPDX-License-Identifier: Apache-2.0
"""Loads do what they say and count it, alone in a thread or several in one."""

import os
from typing import Any

import pytest
from driverrig import READ, SPEEDS, WRITE, Pages, Rig, ServedWire
from hypothesis import given
from hypothesis import strategies as st
from slowring import interpreted

from virtio_crq.dataplane import load, loadround

LOADS = {"compiled": load, "interpreted": interpreted(load)}
ROUNDS = {"compiled": loadround, "interpreted": interpreted(loadround, LOADS["interpreted"])}
FINISHED, NOTHING_CAME = loadround.FINISHED, loadround.NOTHING_CAME


@pytest.fixture(params=SPEEDS)
def speed(request: pytest.FixtureRequest) -> Any:
    return request.param


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
