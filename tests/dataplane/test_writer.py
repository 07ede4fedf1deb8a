# SPDX-License-Identifier: Apache-2.0
"""Writes by a thread of our own: each is made, in turn, told of once, and never before it is made."""

import errno
import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from asker import ROOM, Asker
from disk import FLUSH, OUT, Disk
from rig import Rig
from shortkernel import Served

from virtio_crq.dataplane.filestore import FileStore
from virtio_crq.dataplane.threads import Threads

SIZE = 1 << 20


@pytest.fixture
def image(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "image", os.O_RDWR | os.O_CREAT)
    os.truncate(descriptor, SIZE)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def event() -> Iterator[int]:
    descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    yield descriptor
    os.close(descriptor)


def writers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "writer"]


def test_a_ring_makes_all_writes_in_the_order_in_which_they_were_queued(image: int, event: int) -> None:
    asker = Asker(image, event)
    for number in range(ROOM):
        assert asker.queue(number, 512 * (number // 2)) == 0
    assert asker.queue(ROOM, 0) == -errno.EAGAIN, "no slot is free before its write was reaped"
    assert asker.ended() == []
    asker.write()
    assert asker.ended() == [(number, 0) for number in range(ROOM)]
    assert os.pread(image, 512 * ROOM // 2, 0) == b"".join(n.to_bytes(2, "little") * 256 for n in range(1, ROOM, 2))
    assert asker.queue(ROOM, 0) == 0


def test_what_was_queued_and_not_asked_for_is_not_written(image: int, event: int) -> None:
    asker = Asker(image, event)
    asker.queue(1, 0)
    asker.ring.stop()
    asker.ring.run()
    assert asker.ended() == []
    assert os.pread(image, 512, 0) == bytes(512)


def test_a_write_that_the_file_refuses_ends_with_its_error_and_the_next_is_made(image: int, event: int) -> None:
    asker = Asker(image, event)
    asker.queue(1, 1 << 63)
    asker.queue(2, 0)
    asker.write()
    assert asker.ended() == [(1, -errno.EINVAL), (2, 0)]


def test_bytes_outside_own_memory_are_never_taken(image: int, event: int) -> None:
    asker = Asker(image, event)
    assert asker.ring.queue(asker.rig.port, len(asker.rig.platform.own) - 511, 512, 0, 1) == -errno.EFAULT
    assert asker.ring.queue(asker.rig.port, (1 << 64) - 256, 512, 0, 1) == -errno.EFAULT
    asker.write()
    assert asker.ended() == []


def test_who_looks_is_not_told_and_who_sleeps_is_told_once(image: int, event: int) -> None:
    asker = Asker(image, event)
    asker.queue(1, 0)
    asker.write()
    assert not asker.told()
    assert asker.ring.expect() == 1, "it would sleep over what ended before"
    assert asker.ended() == [(1, 0)]
    assert asker.ring.expect() == 0
    for number in (2, 3):
        asker.queue(number, 0)
    asker.write()
    assert os.eventfd_read(event) == 1


@pytest.mark.parametrize("polling", [0, None])
def test_a_worker_that_sleeps_or_looks_finds_each_write_that_ended(image: int, polling: int | None) -> None:
    store = FileStore(image, SIZE, "threads", own_writer=True)
    served = Served(store, size=64, polling=polling)
    for number in range(1, 41):
        served.worker.call(partial(served.disk.submit, OUT, number, bytes([number]) * 512))
        served.announce(1 if number > 1 else 0)
        assert served.said.wait(10), f"the worker slept over write {number}"
        served.said.clear()
        assert os.pread(image, 512, 512 * number) == bytes([number]) * 512
        served.worker.call(served.disk.collect)
    served.worker.stop()
    store.close()
    assert [status for _, status, _ in served.disk.results] == [0] * 40


def test_closing_waits_for_what_was_asked_for(image: int) -> None:
    """Otherwise it could land after somebody else took the image over."""
    store = FileStore(image, SIZE, "threads", own_writer=True)
    disk = Disk(Rig(), size=64, store=store)
    for number in range(1, 17):
        disk.submit(OUT, number, bytes([number]) * 512)
    disk.announce()
    disk.rig.link.turn()
    disk.rig.link.close_queue(0, 0)
    store.close()
    assert os.pread(image, 16 * 512, 512) == b"".join(bytes([number]) * 512 for number in range(1, 17))
    assert store.orphans == 16


def test_only_plain_writes_go_to_the_writer(image: int) -> None:
    store = FileStore(image, SIZE, "threads", own_writer=True)
    disk = Disk(Rig(), store=store, writethrough=True)
    disk.submit(OUT, 1, b"s" * 512)
    disk.submit(FLUSH)
    disk.announce()
    disk.rig.link.turn()
    assert not writers()
    store.close()


def test_a_file_system_that_writes_without_waiting_keeps_the_writer_out_of_it() -> None:
    descriptor = os.memfd_create("image")
    try:
        os.truncate(descriptor, SIZE)
        store = FileStore(descriptor, SIZE, "threads", True, False, True)
        disk = Disk(Rig(), store=store)
        disk.submit(OUT, 1, b"s" * 512)
        disk.announce()
        disk.rig.run()
        assert [status for _, status, _ in disk.collect()] == [0]
        assert not writers()
        store.close()
    finally:
        os.close(descriptor)


def test_without_a_thread_for_it_writes_go_the_way_of_reads(image: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a limit on processes is reached: what was taken is made all the same, and closing ends."""
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "writer":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    store = FileStore(image, SIZE, "threads", own_writer=True)
    disk = Disk(Rig(), store=store)
    for number in (1, 2):
        disk.submit(OUT, number, bytes([number]) * 512)
    disk.announce()
    disk.rig.link.turn()
    assert not writers()
    store.close()
    assert os.pread(image, 1024, 512) == b"\x01" * 512 + b"\x02" * 512


class Counting(Threads):
    reaped = 0

    def reap(self) -> int:
        found = super().reap()
        self.reaped += found
        return found


def test_writes_that_ended_keep_nobody_elses_end_waiting_nor_the_other_way_round(image: int) -> None:
    jobs: list[Callable[[], None]] = []
    others = Counting(image, jobs.append)
    store = FileStore(image, SIZE, others, own_writer=True)
    disk = Disk(Rig(), size=64, store=store)
    for number in range(1, 13):
        disk.submit(OUT, number, bytes([number]) * 512)
    for _ in range(4):
        disk.submit(FLUSH)
    disk.announce()
    disk.rig.link.turn()
    assert store.pending == 16
    while os.pread(image, 512, 12 * 512) == bytes(512):
        os.sched_yield()
    for job in jobs:
        job()
    for number in range(1, 5):
        assert store.reap() + store.reap() == 2
        assert others.reaped == number
    disk.rig.link.close_queue(0, 0)
    store.close()
