# SPDX-License-Identifier: Apache-2.0
"""Files: what waits is deferred and ends out of order, what fails is an I/O error, and nobody waits for anybody."""

import os
import resource
import select
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from disk import FIRST, FLUSH, IN, OUT, SLOT, Disk
from rig import Rig

from combinations import strategies
from virtio_crq.dataplane.filestore import FileStore
from virtio_crq.dataplane.kernel import in_memory
from virtio_crq.dataplane.nullstore import NullStore
from virtio_crq.dataplane.threads import Threads
from virtio_crq.errors import UsageError

OK, IOERR = 0, 1
SIZE = 1 << 20


@pytest.fixture
def image(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "image"
    path.write_bytes(b"".join(bytes([sector & 0xFF]) * 512 for sector in range(SIZE // 512)))
    descriptor = os.open(path, os.O_RDWR)
    yield descriptor
    os.close(descriptor)


def settle(disk: Disk, count: int) -> list[tuple[object, int, bytes]]:
    """Run until `count` requests completed, waiting on the store's descriptor in between."""
    found: list[tuple[object, int, bytes]] = []
    for _ in range(200):
        disk.rig.run()
        found += disk.collect()
        if len(found) >= count:
            return found
        if disk.rig.link.expects():
            continue
        assert select.select(disk.rig.link.wakeups(), [], [], 5)[0], "nothing ended within 5 seconds"
        for descriptor in disk.rig.link.wakeups():
            os.eventfd_read(descriptor)
    raise AssertionError("the store made no progress")


def filed(image: int, engine: str, write_now: bool = False) -> FileStore:
    """As `engine` "writer": plain writes by a thread of its own, and the rest by threads; "mapped": reads, too."""
    waiting = engine if engine in ("uring", "threads") else "threads"
    return FileStore(image, SIZE, waiting, write_now, own_writer=waiting != engine, mapped=engine == "mapped")


class Gate:
    """Runs jobs only when told to: a store as slow as the test wants."""

    def __init__(self) -> None:
        self.jobs: list[Callable[[], None]] = []

    def __call__(self, job: Callable[[], None]) -> None:
        self.jobs.append(job)

    def open(self, which: int = 0) -> None:
        self.jobs.pop(which)()


@pytest.mark.parametrize("engine", ["uring", "threads", "writer", "mapped"])
@pytest.mark.parametrize("fetch", strategies())
def test_a_file_keeps_what_was_written_flushed_and_read(image: int, engine: str, fetch: str) -> None:
    store = filed(image, engine)
    disk = Disk(Rig(), store=store, fetch=fetch)
    disk.submit(IN, 3, length=1024, tag="old")
    disk.submit(OUT, 100, b"n" * 4096, tag="write")
    disk.announce()
    assert {tag: status for tag, status, _ in settle(disk, 2)} == {"old": OK, "write": OK}
    assert disk.results[0][2] == b"\x03" * 512 + b"\x04" * 512
    disk.submit(FLUSH, tag="flush")
    disk.submit(IN, 99, length=1024, tag="new")
    disk.announce(credit=1)
    settle(disk, 2)
    assert {tag: (status, data[510:514]) for tag, status, data in disk.results}["new"] == (OK, b"ccnn")
    assert os.pread(image, 4096, 51200) == b"n" * 4096
    assert store.engine == ("uring" if engine == "uring" else "threads")
    store.close()


def test_a_cold_page_is_deferred_and_arrives(image: int) -> None:
    os.fsync(image)
    os.posix_fadvise(image, 0, SIZE, os.POSIX_FADV_DONTNEED)
    store = FileStore(image, SIZE)
    disk = Disk(Rig(), store=store)
    disk.submit(IN, 1500, length=4096, tag="cold")
    disk.announce()
    assert settle(disk, 1)[0][1:] == (OK, b"".join(bytes([s & 0xFF]) * 512 for s in range(1500, 1508)))
    store.close()


@pytest.mark.parametrize("engine", ["uring", "threads", "writer", "mapped"])
def test_a_file_shorter_than_its_disk_gives_an_error_past_its_end(image: int, engine: str) -> None:
    os.ftruncate(image, 8192)
    store = filed(image, engine)
    disk = Disk(Rig(), store=store)
    disk.submit(IN, 0, length=8192, tag="inside")
    disk.submit(IN, 8, length=8192, tag="over the end")
    disk.submit(IN, 64, length=512, tag="beyond")
    disk.announce()
    assert {tag: status for tag, status, _ in settle(disk, 3)} == {"inside": OK, "over the end": IOERR, "beyond": IOERR}
    store.close()


@pytest.mark.parametrize("engine", ["uring", "threads", "writer", "mapped"])
@pytest.mark.parametrize("write_now", [False, True])
def test_a_full_disk_is_an_error_of_that_request(tmp_path: Path, engine: str, write_now: bool) -> None:
    """A limit on file size stands for the full disk: both fail in the middle of a write."""
    descriptor = os.open(tmp_path / "image", os.O_RDWR | os.O_CREAT)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6144, before[1]))
    try:
        store = filed(descriptor, engine, write_now)
        disk = Disk(Rig(), store=store)
        disk.submit(OUT, 8, b"y" * 4096, tag="does not fit")
        disk.submit(OUT, 0, b"x" * 4096, tag="fits")
        disk.announce()
        assert {tag: status for tag, status, _ in settle(disk, 2)} == {"fits": OK, "does not fit": IOERR}
        store.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
        os.close(descriptor)


def test_a_file_in_memory_is_read_and_written_at_once() -> None:
    descriptor = os.memfd_create("image")  # of the kind that tmpfs has
    os.truncate(descriptor, SIZE)
    try:
        assert in_memory(descriptor)
        store = FileStore(descriptor, SIZE, waits=False)
        disk = Disk(Rig(), store=store)
        disk.submit(OUT, 8, b"y" * 4096, tag="write")
        disk.announce()
        disk.rig.run()
        disk.submit(IN, 8, length=4096, tag="read")
        disk.announce(credit=1)
        disk.rig.run()
        assert {tag: (status, data) for tag, status, data in disk.collect()} == {
            "write": (OK, b""),
            "read": (OK, b"y" * 4096),
        }
        assert store.misses == 0
        store.close()
    finally:
        os.close(descriptor)


def test_what_may_have_to_be_waited_for_is_no_file_in_memory() -> None:
    with open("/proc/self/stat", "rb") as file:
        assert not in_memory(file.fileno())
    assert not in_memory(-1)


def test_a_store_that_waits_keeps_no_other_device_waiting(image: int) -> None:
    gate = Gate()
    rig = Rig()
    slow = Disk(rig, store=FileStore(image, SIZE, Threads(image, gate)))
    quick = Disk(rig, device=1, base=0x100000)
    for sector in (1, 2, 3):
        slow.submit(OUT, sector, bytes([sector]) * 512, tag=sector)
    slow.announce()
    rig.run()
    assert rig.said(3) == [(0, 1)], "the right to announce goes back while the requests are in the store"
    for _ in range(5):
        quick.submit(IN, 0, length=512)
    quick.announce()
    rig.run()
    assert len(quick.collect()) == 5
    assert slow.service.in_flight == 3
    order = []
    for which in (1, 1, 0):
        gate.open(which)
        rig.run()
        order += [tag for tag, _, _ in slow.collect()]
    assert order == [2, 3, 1], "requests end when the store is done with them"


@pytest.mark.clause("CRQ-D-51", "CRQ-D-52", "CRQ-D-63")
def test_what_was_in_the_store_at_a_reset_ends_without_a_trace(image: int) -> None:
    gate = Gate()
    rig = Rig()
    disk = Disk(rig, store=FileStore(image, SIZE, Threads(image, gate)))
    disk.submit(OUT, 5, b"old" + bytes(509), tag="write")
    disk.announce()
    rig.run()
    rig.link.close_queue(0, 0)
    rig.platform.log.clear()
    rig.channel.said.clear()
    gate.open()
    rig.run()
    disk.open()  # the driver came back, and what is left of the past has ended by now
    rig.run()
    assert disk.store.orphans == 0
    assert rig.platform.log == []
    assert rig.channel.said == []
    assert disk.ring.used_index() == 0


@pytest.mark.clause("CRQ-D-89")
def test_a_queue_opened_again_waits_for_what_the_old_one_left_in_the_store(image: int) -> None:
    gate = Gate()
    rig = Rig()
    disk = Disk(rig, store=FileStore(image, SIZE, Threads(image, gate)))
    head = disk.submit(OUT, 5, b"old" + bytes(509), tag="write")
    disk.announce()
    rig.run()
    free = rig.link.staging.free
    rig.link.close_queue(0, 0)
    assert disk.store.orphans == 1
    disk.open((1, 0, [head]))
    disk.submit(IN, 5, length=512, tag="read")
    disk.announce()
    rig.run()
    assert disk.collect() == [], "a write of the past could still overtake"
    assert len(gate.jobs) == 1
    gate.open()
    rig.run()
    gate.open()
    rig.run()
    assert {tag: (status, data[:3]) for tag, status, data in disk.collect()} == {
        "write": (OK, b""), "read": (OK, b"old"),
    }  # fmt: skip
    assert rig.link.staging.free >= free


def test_more_than_the_arena_holds_is_parked_and_served_in_the_end(image: int) -> None:
    gate = Gate()
    disk = Disk(Rig(), size=256, store=FileStore(image, SIZE, Threads(image, gate)))
    memory = disk.rig.platform.guest
    for number in range(12):  # twelve writes of 128 KiB each, in less than two MiB of own RAM
        at = 0x8000 + 32 * number
        memory[at : at + 16] = (1).to_bytes(8, "little") + bytes(8)
        disk.ring.make_available(disk.ring.chain([(at, 16, 0), (0x100000, 262144, 0), (at + 16, 1, 2)]))
    disk.announce()
    disk.rig.run()
    assert 0 < len(gate.jobs) < 12
    done = 0
    for _ in range(12):
        gate.open()
        disk.rig.run()
        done += len(disk.ring.collect())
    assert done == 12


def test_null_reads_zeroes_and_never_what_passed_before() -> None:
    disk = Disk(Rig(), store=NullStore(SIZE))
    disk.submit(OUT, 0, b"secret!!" * 64)
    disk.submit(IN, 0, length=512, tag="read")
    disk.announce()
    disk.rig.run()
    assert disk.collect()[-1] == ("read", OK, bytes(512))


def test_engines_that_do_not_exist_are_the_users_error(image: int) -> None:
    with pytest.raises(UsageError, match="auto, uring or threads"):
        FileStore(image, SIZE, "magic")


@pytest.mark.parametrize("engine", ["uring", "threads", "writer", "mapped"])
def test_what_a_batch_asked_of_the_store_before_its_fault_ends_all_the_same(image: int, engine: str) -> None:
    """Otherwise the next queue on this store would wait for it for ever."""
    store = filed(image, engine)
    disk = Disk(Rig(), store=store)
    disk.submit(OUT, 8, b"w" * 512, tag="write")
    disk.submit(IN, 3, length=512, tag="read")
    read = disk.base + FIRST + SLOT + 512
    disk.rig.platform.revoked.append(range(read, read + 512))
    disk.announce()
    disk.rig.run()
    assert [rule for _, _, rule in disk.rig.faults] == ["copy-refused"]
    while store.orphans:
        if not disk.rig.link.expects():
            assert select.select(disk.rig.link.wakeups(), [], [], 5)[0], "nothing ended within 5 seconds"
        disk.rig.run()
    store.close()


class Fickle(Threads):
    """Its descriptor is readable, but holds nothing when it is read; the operation ends after three such alarms."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor)
        self.alarm, self.nothing = (os.eventfd(count, os.EFD_NONBLOCK | os.EFD_CLOEXEC) for count in (1, 0))
        self.asked = 0

    def reap(self) -> int:
        return int(self.asked == 7)

    def wakeup(self) -> int:
        self.asked += 1
        return self.alarm if self.asked % 2 else self.nothing

    def close(self) -> None:
        os.close(self.alarm)
        os.close(self.nothing)
        super().close()


def test_closing_goes_on_waiting_after_an_alarm_for_nothing(image: int) -> None:
    waiting = Fickle(image)
    store = FileStore(image, SIZE, waiting)
    store.pending = 1
    store.close()
    assert (waiting.asked, store.pending) == (7, 0)


def refuse_threads(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """No thread can be started any more, after so many."""
    start, started = threading.Thread.start, []

    def refuse(thread: threading.Thread) -> None:
        if len(started) == after:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)


def test_fewer_threads_than_wanted_do_it_all(image: int, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_threads(monkeypatch, 1)
    store = filed(image, "threads")
    disk = Disk(Rig(), size=64, store=store)
    for sector in range(8):
        disk.submit(OUT, sector, b"y" * 512)
    disk.announce()
    assert [status for _, status, _ in settle(disk, 8)] == [OK] * 8
    store.close()


def test_without_any_thread_it_is_an_error_of_that_request(image: int, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filed(image, "threads")
    disk = Disk(Rig(), store=store)
    with monkeypatch.context() as short:
        refuse_threads(short, 0)
        disk.submit(OUT, 8, b"y" * 512)
        disk.announce()
        assert [status for _, status, _ in settle(disk, 1)] == [IOERR]
    disk.submit(OUT, 8, b"z" * 512)
    disk.announce(credit=1)
    assert [status for _, status, _ in settle(disk, 1)] == [OK]
    store.close()
