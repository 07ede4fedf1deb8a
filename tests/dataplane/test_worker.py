# SPDX-License-Identifier: Apache-2.0
"""One thread serves all connections of a worker, and sleeps when there is nothing to do."""

import os
import threading
from collections.abc import Iterator

import pytest
from disk import IN, Disk
from rig import ARENA, Rig
from slowring import interpreted

from virtio_crq.dataplane import worker as workers
from virtio_crq.dataplane.link import Link
from virtio_crq.dataplane.worker import Worker
from virtio_crq.platform.channel import CREDIT, LOST, STALLED


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker("test", polling=20)
    worker.start()
    yield worker
    worker.stop()
    assert worker.failure is None


def wait(worker: Worker, condition: threading.Event) -> None:
    assert condition.wait(10), f"not within 10 seconds (the worker slept {worker.sleeps} times)"


def asked(rig: Rig) -> threading.Event:
    """Set when the device announces something."""
    said = threading.Event()
    announce = rig.channel.announce

    def announced(*arguments: int) -> int:
        code = announce(*arguments)
        said.set()
        return code

    rig.channel.announce = announced  # type: ignore[method-assign]
    return said


def test_an_interrupt_ends_the_sleep_and_work_is_done(worker: Worker) -> None:
    rig = Rig()
    disk = Disk(rig)
    said = asked(rig)
    asleep = threading.Event()
    signal = rig.platform.signal

    def armed(enabled: int) -> int:
        if enabled:
            asleep.set()
        return signal(enabled)

    rig.platform.signal = armed  # type: ignore[method-assign]
    worker.add(rig.link)
    wait(worker, asleep)
    disk.submit(IN, 0, length=512, tag="woke")
    disk.announce()
    os.eventfd_write(rig.platform.event, 1)
    wait(worker, said)
    worker.remove(rig.link)
    assert [tag for tag, status, _ in disk.collect() if status == 0] == ["woke"]
    # What comes between two sleeps is found by looking, with the interrupt still on from the first.
    signals = rig.platform.signals
    assert signals == [1, 0, 1, 0][: len(signals)], (
        "the interrupt is on for a sleep, and off before it is turned on again"
    )
    assert signals


def test_several_connections_share_one_worker(worker: Worker) -> None:
    rigs = [Rig() for _ in range(3)]
    for rig in rigs:
        disk = Disk(rig)
        said = asked(rig)
        worker.add(rig.link)

        def submit(disk: Disk = disk) -> None:
            disk.submit(IN, 0, length=512)
            disk.announce()

        worker.call(submit)
        wait(worker, said)
    for rig in rigs:
        worker.remove(rig.link)
        assert rig.link.service(0, 0).requests == 1  # type: ignore[union-attr]


def test_what_is_called_runs_in_the_workers_thread_and_its_error_comes_back(worker: Worker) -> None:
    assert worker.call(lambda: threading.current_thread().name) == "test"
    assert worker.call(lambda: worker.call(lambda: 7)) == 7, "from its own thread it runs at once"
    with pytest.raises(ZeroDivisionError):
        worker.call(lambda: 1 // 0)


def test_a_connection_that_registered_anew_is_armed_again_before_the_next_sleep(worker: Worker) -> None:
    """Registering masks the interrupt, also of a connection that was armed when something else woke the worker."""
    rig = Rig()
    armed = threading.Event()
    signal = rig.platform.signal
    masked = [True]

    def told(enabled: int) -> int:
        masked[0] = not enabled
        if enabled:
            armed.set()
        return signal(enabled)

    def registers_anew(kind: int, entry: bytes) -> None:
        masked[0] = True

    rig.platform.signal = told  # type: ignore[method-assign]
    rig.link = Link(rig.port, rig.channel, ARENA, registers_anew, lambda *fault: None)
    worker.add(rig.link)
    wait(worker, armed)
    armed.clear()
    worker.call(lambda: rig.channel.coming.append((LOST, 0, 0, 0, 0)))
    wait(worker, armed)
    worker.remove(rig.link)
    assert not masked[0]


def test_an_announcement_without_room_at_the_partner_is_the_owners_to_judge() -> None:
    rig = Rig()
    disk = Disk(rig)
    rig.channel.code = -12
    rig.channel.stalled = 1
    disk.submit(IN, 0, length=512)
    disk.announce()
    rig.link.turn()
    assert rig.control == [(STALLED, b"")]
    assert rig.channel.stalled == 0


def test_an_error_of_our_own_ends_one_connection_and_the_worker_goes_on(worker: Worker) -> None:
    broken, sound = Rig(), Rig()
    failed = threading.Event()
    broken.link.on_failure = lambda error: failed.set() if isinstance(error, ZeroDivisionError) else None
    disk = Disk(sound)
    said = asked(sound)
    for rig in (broken, sound):
        worker.add(rig.link)

    def poll() -> int:
        raise ZeroDivisionError("injected")

    broken.channel.poll = poll  # type: ignore[method-assign]
    worker.wake()
    wait(worker, failed)

    def submit() -> None:
        disk.submit(IN, 0, length=512)
        disk.announce()

    worker.call(submit)
    wait(worker, said)
    assert worker.failures == 1
    assert worker.call(lambda: list(worker.links)) == [sound.link]
    worker.remove(sound.link)


def test_an_interrupt_that_wakes_for_every_entry_is_turned_on_once() -> None:
    """At depth 1 a pair of calls for each request would cost more than the interrupt that they spare."""
    rig = Rig()
    disk = Disk(rig)
    worker = Worker("test", polling=0)
    worker.add(rig.link)
    rig.link.turn()
    for number in range(5):
        os.eventfd_write(rig.platform.event, 1)
        worker._sleep()
        disk.submit(IN, 0, length=512, tag=number)
        disk.announce()
        rig.link.turn()
        rig.channel.coming.append((CREDIT, 0, 0, 0, 1))
        assert [tag for tag, status, _ in disk.collect() if status == 0] == [number]
    assert worker.sleeps == 5
    assert rig.platform.signals == [1]
    worker.stop()


def test_what_is_found_while_awake_turns_the_interrupt_off() -> None:
    rig = Rig()
    disk = Disk(rig)
    worker = Worker("test")
    worker.add(rig.link)
    rig.link.turn()
    rig.link.armed = 1
    rig.link.woken = 1
    for number, signals in enumerate(([], [0], [0])):
        disk.submit(IN, 0, length=512, tag=number)
        disk.announce()
        rig.link.turn()
        rig.channel.coming.append((CREDIT, 0, 0, 0, 1))
        assert rig.platform.signals == signals
    worker.stop()


def test_a_quiet_link_sleeps_alone_while_another_works_and_its_interrupt_brings_it_back() -> None:
    busy, quiet = Rig(), Rig()
    disk = Disk(busy)
    worker = Worker("test")
    for rig in (busy, quiet):
        worker.add(rig.link)
        rig.link.turn()
    for _round in range(10):
        disk.submit(IN, 0, length=512)
        disk.announce()
        busy.link.turn()
        disk.collect()
        busy.channel.coming.append((CREDIT, 0, 0, 0, 1))
        worker._tend()
    quiet.link.turn()  # what came before it was armed is looked for once more
    worker._tend()
    assert worker.awake == [busy.link]
    assert (quiet.platform.signals, busy.platform.signals) == ([1], [])
    os.eventfd_write(quiet.platform.event, 1)
    worker._tend()
    assert worker.awake == [busy.link, quiet.link]
    worker.stop()


def test_a_link_that_fell_asleep_with_new_descriptors_is_woken_by_them() -> None:
    busy, quiet = Rig(), Rig()
    worker = Worker("test")
    for rig in (busy, quiet):
        worker.add(rig.link)
        rig.link.turn()
    worker._rewired()
    quiet.link.rewired = 1
    worker._chain([busy.link])
    worker._tend()
    assert quiet.link.rewired == 0
    worker.stop()


def test_the_time_that_serving_took_is_no_part_of_the_wait_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = interpreted(workers)
    clock = 0
    monkeypatch.setattr(slow, "now", lambda: clock)
    looks = iter([(1_000, slow.IDLE), (50_000, slow.WORKED), (0, slow.BY_TURN)])

    class Served:
        def sweep(self, others: int) -> int:
            nonlocal clock
            took, found = next(looks)
            clock += took
            return int(found)

    looking = slow.Worker("slow", polling=32)
    assert looking._look_on(Served(), slow.FOR_EVER) == slow.BY_TURN
    looking.stop()
    assert looking.patience.granted > 0, "one microsecond of looking was worth it, however long the request took"


def test_who_has_something_under_way_keeps_nobody_from_being_looked_at(worker: Worker) -> None:
    """What a disk has not finished needs whole turns again and again; a neighbour's requests are served meanwhile."""
    busy, neighbour = Rig(), Rig()
    disk = Disk(neighbour)
    said = asked(neighbour)
    slow = Disk(busy)
    slow.service.store.pending = 1
    for rig in (busy, neighbour):
        worker.add(rig.link)
    for number in range(3):
        while worker.sleeps <= number:
            os.sched_yield()
        disk.submit(IN, 0, length=512, tag=number)
        disk.announce()
        os.eventfd_write(neighbour.platform.event, 1)
        wait(worker, said)
        said.clear()
        assert [tag for tag, status, _ in disk.collect() if status == 0] == [number]
        neighbour.channel.coming.append((CREDIT, 0, 0, 0, 1))
    slow.service.store.pending = 0
