# SPDX-License-Identifier: Apache-2.0
"""A guest takes memory back under a copy: its call waits, because stock Linux takes no notice of H_Busy.

The copier is a forked child that was stopped in its call, so that the copy does not end by itself.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import cast

import pytest
from test_stop_points import die
from twopartitions import BOTH, DATA, PAGE, End, TwoPartitions

from virtio_crq.hypervisor import binding_stops
from virtio_crq.hypervisor.machine import Machine
from virtio_crq.hypervisor.occupancy import Occupancy, Process
from virtio_crq.papr.hypercalls import Hypercall
from virtio_crq.papr.returncodes import ReturnCode

LONG = 60.0


class Scene:
    """Server `s` is stopped in a copy from client `c`, in a process of its own."""

    def __init__(self) -> None:
        self.pair = TwoPartitions("power9", binding_stops)
        assert self.pair.c.register() == ReturnCode.H_CLOSED
        assert self.pair.c.port.map(DATA, DATA, PAGE, BOTH) == 0
        self.copier = die(self.pair, "s", "copy_published", 0, self._copy, signal.SIGSTOP)
        self._pool = ThreadPoolExecutor(1)

    def _copy(self, end: End) -> None:
        end.register()
        end.port.map(DATA, DATA, PAGE, BOTH)
        end.port.stage(DATA, DATA, PAGE, 0)
        end.port.flush()

    def take_back(self, alarm: float, limit: float) -> int:
        call, liobn = Hypercall.H_STUFF_TCE, self.pair.c.liobns[0]
        return self.pair.client.call_as_guest(call, liobn, DATA, 0, 1, alarm=alarm, limit=limit)

    def begin_to_take_back(self, alarm: float) -> "Future[int]":
        """In a thread, as a virtual processor is one."""
        return self._pool.submit(self.take_back, alarm, LONG)

    def until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + LONG
        while not holds():
            assert time.monotonic() < deadline
            os.sched_yield()

    def end_copier(self, number: int) -> None:
        os.kill(self.copier, number)
        os.waitpid(self.copier, 0)
        self.copier = 0

    def close(self) -> None:
        if self.copier:
            self.end_copier(signal.SIGKILL)
        self._pool.shutdown()
        self.pair.close()


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.close()


def test_the_call_waits_until_the_copy_has_ended_and_counts_once(scene: Scene) -> None:
    before = scene.pair.machine.counters("c")["H_STUFF_TCE"]
    waiting = scene.begin_to_take_back(alarm=LONG)
    assert not waiting.done()
    assert scene.pair.machine.obstructors() == []
    scene.end_copier(signal.SIGCONT)
    assert waiting.result(LONG) == ReturnCode.H_SUCCESS
    assert scene.pair.machine.counters("c")["H_STUFF_TCE"] == before + 1


def test_a_copier_that_stays_stopped_is_named_and_its_death_lets_the_guest_go_on(scene: Scene) -> None:
    waiting = scene.begin_to_take_back(alarm=0)
    scene.until(lambda: scene.pair.machine.obstructors() == ["s"])
    assert not waiting.done()
    scene.end_copier(signal.SIGKILL)
    assert scene.pair.machine.reap("s")
    assert waiting.result(LONG) == ReturnCode.H_SUCCESS
    assert scene.pair.machine.obstructors() == []


def test_a_copier_that_runs_on_in_time_is_no_longer_named(scene: Scene) -> None:
    waiting = scene.begin_to_take_back(alarm=0)
    scene.until(lambda: scene.pair.machine.obstructors() == ["s"])
    scene.end_copier(signal.SIGCONT)
    assert waiting.result(LONG) == ReturnCode.H_SUCCESS
    assert scene.pair.machine.obstructors() == []


def test_without_a_machine_that_acts_the_wait_is_bounded(scene: Scene) -> None:
    """The entry is stored all the same: no copy begins through it from then on."""
    assert scene.take_back(alarm=0, limit=0.01) == ReturnCode.H_BUSY
    assert scene.pair.machine.obstructors() == []
    code, registers = scene.pair.c.port.call(Hypercall.H_GET_TCE, scene.pair.c.liobns[0], DATA)
    assert (code, registers[0]) == (ReturnCode.H_SUCCESS, 0)


def test_a_guest_that_dies_while_it_waits_names_nobody(scene: Scene) -> None:
    waiting = scene.begin_to_take_back(alarm=0)
    scene.until(lambda: scene.pair.machine.obstructors() == ["s"])
    assert not scene.pair.machine.reap("c")  # its memory is still being read
    assert waiting.result(LONG) == ReturnCode.H_HARDWARE
    assert scene.pair.machine.obstructors() == []


def test_other_calls_that_are_busy_answer_at_once(scene: Scene) -> None:
    """The drivers make H_FREE_CRQ again by themselves."""
    call = scene.pair.client.call_as_guest(Hypercall.H_FREE_CRQ, scene.pair.c.unit, alarm=LONG, limit=LONG)
    assert call == ReturnCode.H_BUSY


def test_a_guest_in_the_way_of_itself_accuses_nobody() -> None:
    """One of its processors copies within its own window while another takes that back: the server is not killed."""
    pair = TwoPartitions("power9", binding_stops)
    pair.connect()

    def copy(end: End) -> None:
        own = end.liobns[0]
        end.call(Hypercall.H_COPY_RDMA, PAGE, own, DATA, own, DATA + PAGE)

    copier = die(pair, "c", "copy_published", 0, copy, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        arguments = (Hypercall.H_STUFF_TCE, pair.c.liobns[0], DATA, 0, 1)
        waiting = pool.submit(pair.client.call_as_guest, *arguments, alarm=0, limit=0.1)
        accused = set()
        while not waiting.done():
            accused.update(pair.machine.obstructors())
        os.kill(copier, signal.SIGKILL)
        os.waitpid(copier, 0)
        assert waiting.result() == ReturnCode.H_BUSY
    assert not accused
    pair.close()


@pytest.mark.expects_warnings("virtio_crq.hypervisor.occupancy")
def test_the_process_that_obstructs_a_guest_is_powered_off() -> None:
    class Obstructed:
        def obstructors(self) -> list[str]:
            return ["s", "not running"]

        def reap(self, name: str) -> bool:
            return True

    async def watch() -> None:
        occupancy = Occupancy(cast(Machine, Obstructed()))
        for name, process in (("s", stopped), ("c", bystander)):
            await occupancy.occupy(name, Process(process.pid, os.pidfd_open(process.pid)))
        occupancy.power_off_obstructors()
        assert stopped.wait(LONG) == -signal.SIGKILL
        assert bystander.poll() is None
        await occupancy.close()

    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    stopped, bystander = (subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(2))
    os.kill(stopped.pid, signal.SIGSTOP)
    try:
        asyncio.run(watch())
    finally:
        for process in (stopped, bystander):
            process.kill()
            process.communicate()
