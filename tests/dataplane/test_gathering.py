# SPDX-License-Identifier: Apache-2.0
"""A driver with much in flight is told a little later, of more; one that waits for an answer is told at once."""

import threading

import pytest
from disk import IN, Disk
from rig import Rig

from virtio_crq.dataplane.kernel import wait
from virtio_crq.dataplane.worker import Worker
from virtio_crq.platform.channel import CREDIT, USED

MICROSECONDS = 100


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000

    def __call__(self) -> int:
        return self.now

    def advance(self, microseconds: int) -> None:
        self.now += 1000 * microseconds


class Crowd:
    """A disk whose driver had eight requests in flight a moment ago; it heard of all of them."""

    def __init__(self, gathering: int = MICROSECONDS) -> None:
        self.rig = Rig(gathering=gathering)
        self.clock = Clock()
        self.rig.link.clock = self.clock
        self.disk = Disk(self.rig, size=64)
        self.ask(8, credit=0)
        self.rig.run()
        assert self.heard() == [(8, 1)]

    def ask(self, count: int, credit: int = 1) -> None:
        for _ in range(count):
            self.disk.submit(IN, 0, length=512)
        self.disk.announce(credit)

    def heard(self) -> list[tuple[int, int]]:
        """Announcements and credits since the last call."""
        found = [(position, credit) for kind, _, _, position, credit in self.rig.channel.said if kind in (USED, CREDIT)]
        self.rig.channel.said.clear()
        self.disk.collect()
        return found


def test_one_of_a_crowd_is_served_at_once_and_told_of_later_with_its_credit() -> None:
    crowd = Crowd()
    crowd.ask(1)
    crowd.rig.run()
    assert crowd.disk.ring.used_index() == 9  # it is there for a driver that looks
    assert crowd.heard() == []  # nor does the credit go back alone: that would be an interrupt as well
    crowd.clock.advance(MICROSECONDS - 1)
    crowd.rig.run()
    assert crowd.heard() == []
    crowd.clock.advance(1)
    crowd.rig.run()
    assert crowd.heard() == [(9, 1)]
    assert crowd.rig.link.due == 0


def test_half_the_crowd_is_worth_telling_at_once() -> None:
    crowd = Crowd()
    crowd.ask(5)
    crowd.rig.run()
    assert crowd.heard() == [(13, 1)]


def test_a_crowd_is_counted_in_requests_whatever_a_ring_counts() -> None:
    """Three requests are no crowd, though they are nine descriptors of a packed ring: one more is told at once."""
    rig = Rig(gathering=MICROSECONDS)
    disk = Disk(rig, fetch="packed-batched", size=64)
    for turn, count in enumerate((3, 1, 3, 1)):
        for _ in range(count):
            disk.submit(IN, 0, length=512)
        disk.announce(credit=1 if turn else 0)
        rig.run()
        assert len(disk.collect()) == count
        assert rig.said()[-1] == (disk.ring.seen, 1)


def test_a_driver_that_waits_for_each_answer_never_waits_longer() -> None:
    rig = Rig(gathering=MICROSECONDS)
    rig.link.clock = Clock()
    disk = Disk(rig)
    for number in range(1, 200):
        disk.submit(IN, 0, length=512)
        disk.announce(credit=0 if number == 1 else 1)
        rig.run()
        assert rig.said()[-1] == (number, 1)
        disk.collect()


def test_a_crowd_that_has_gone_is_forgotten() -> None:
    crowd = Crowd()
    waits = []
    for _ in range(150):
        crowd.ask(1)
        crowd.rig.run()
        told = crowd.heard()
        waits.append(not told)
        if not told:
            crowd.clock.advance(MICROSECONDS)
            crowd.rig.run()
            assert len(crowd.heard()) == 1
    assert waits[0]
    assert not any(waits[140:])


def test_without_gathering_everybody_is_told_at_once() -> None:
    crowd = Crowd(gathering=0)
    crowd.ask(1)
    crowd.rig.run()
    assert crowd.heard() == [(9, 1)]


def test_a_queue_that_is_closed_while_its_driver_waits_is_not_told() -> None:
    crowd = Crowd()
    crowd.ask(1)
    crowd.rig.run()
    crowd.rig.link.close_queue(0, 0)
    crowd.clock.advance(MICROSECONDS)
    crowd.rig.run()
    assert crowd.heard() == []
    assert crowd.rig.link.due == 0


def test_the_worker_sleeps_no_longer_than_the_driver_is_to_wait() -> None:
    rig = Rig(gathering=2000)
    disk = Disk(rig, size=64)
    told = threading.Event()
    rig.channel.watch = lambda kind, position, credit: told.set() if position == 9 else None
    worker = Worker("gathering", polling=0)
    for _ in range(8):
        disk.submit(IN, 0, length=512)
    disk.announce()
    rig.run()
    disk.submit(IN, 0, length=512)
    disk.announce(1)
    worker.start()
    try:
        worker.add(rig.link)
        assert told.wait(10), f"never told; the worker slept {worker.sleeps} times"
    finally:
        worker.stop()


@pytest.mark.parametrize("nanoseconds", [-5, 0, 1])
def test_a_wait_of_no_time_is_over_at_once(nanoseconds: int) -> None:
    rig = Rig()
    assert wait(rig.platform.event, nanoseconds) == 0
