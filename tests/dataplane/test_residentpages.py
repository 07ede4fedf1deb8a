# SPDX-License-Identifier: Apache-2.0
"""Pages of a file read from a mapping: only those that were noted, right to the byte, and never past what is there."""

import gc
import mmap
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from disk import IN, OUT, Disk
from hypothesis import given, settings
from hypothesis import strategies as st
from rig import Rig
from test_stores import IOERR, OK, settle

from virtio_crq.dataplane.filestore import FileStore
from virtio_crq.dataplane.kernel import ResidentPages, in_memory

PAGE = mmap.PAGESIZE
PAGES = 200  # more than one word of bits
OWN = 0x10000  # in own RAM, where the bytes go
LONGEST = 4 * 4096  # bytes of one read
GROUP = 64  # pages that the kernel is asked about together
TICK = 0.02  # seconds: the kernel's clock ticks at least twice in it
WORTH = 32  # reads of a group by calls before one of its pages is noted
TABLE = 512 * PAGE  # bytes that one table of the kernel's maps, or less


def content(position: int, length: int) -> bytes:
    return b"".join((at // 8).to_bytes(8, "little") for at in range(position & ~7, position + length, 8))[
        position & 7 :
    ][:length]


@pytest.fixture
def image(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "image"
    path.write_bytes(content(0, PAGES * PAGE))
    descriptor = os.open(path, os.O_RDWR)
    yield descriptor
    os.close(descriptor)


class Reader:
    def __init__(self, descriptor: int, size: int = PAGES * PAGE) -> None:
        self.pages = ResidentPages(descriptor, size)
        self.port = Rig().port

    def note(self, position: int, length: int) -> None:
        """Read by calls as often as makes it worth noting."""
        for _ in range(WORTH + 1):
            self.pages.note(position, length)

    def read(self, position: int, length: int) -> bytes | None:
        """None where a call is to do it."""
        self.port.write(OWN, b"\xee" * length)
        read = self.pages.read(self.port, OWN, length, position)
        found = self.port.read(OWN, length)
        assert read or position + length > PAGES * PAGE or found == b"\xee" * length
        return found if read else None


def within_a_tick(happens: Callable[[], bool]) -> bool:
    """Whether it does, soon: who reads asks once in each tick of the clock."""
    late = time.monotonic() + TICK
    while time.monotonic() < late:
        if happens():
            return True
    return False


def note_all(reader: Reader) -> None:
    for page in range(PAGES):
        reader.note(page * PAGE, PAGE)


def doubting(image: int) -> Reader:
    """One that had to wait for a page, so that it believes its kernel no more."""
    if in_memory(image):
        pytest.skip("the directory for temporary files lies in memory, which no page leaves")
    os.fsync(image)
    os.posix_fadvise(image, 0, 0, os.POSIX_FADV_DONTNEED)
    reader = Reader(image)
    reader.note(0, 16)
    assert reader.read(0, 16) == content(0, 16)
    assert within_a_tick(lambda: reader.read(0, 16) is None)
    assert reader.pages.forgotten == 1
    return reader


places = st.tuples(st.integers(0, PAGES * PAGE + 4096), st.integers(0, LONGEST) | st.just(LONGEST + 1))


@pytest.mark.parametrize("group", [GROUP, 1], ids=["in groups", "alone"])
@settings(max_examples=100, deadline=None)
@given(steps=st.lists(st.tuples(st.booleans(), places), max_size=12))
def test_what_was_noted_is_read_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, group: int, steps: list[tuple[bool, tuple[int, int]]]
) -> None:
    """All of this file is in memory, or nobody believes that."""
    path = tmp_path_factory.getbasetemp() / f"pages{group}"
    if not path.exists():
        path.write_bytes(content(0, PAGES * PAGE))
    with path.open("r+b") as file:
        reader = Reader(file.fileno()) if group > 1 else doubting(file.fileno())
        noted: set[int] = set()
        for notes, (position, length) in steps:
            inside = 0 < length <= LONGEST and position + length <= PAGES * PAGE
            touched = range(position // PAGE, (position + length - 1) // PAGE + 1) if inside else range(0)
            if notes:
                reader.note(position, length)
                noted |= {page for at in touched for page in range(at - at % group, at - at % group + group)}
            else:
                found = reader.read(position, length)
                assert found == (content(position, length) if inside and set(touched) <= noted else None)


def test_pages_that_calls_read_seldom_are_not_worth_a_table(image: int) -> None:
    reader = Reader(image)
    for at in range(WORTH):
        reader.pages.note(at * PAGE, 16)
    assert reader.read(0, 16) is None
    reader.pages.note(WORTH * PAGE, 16)
    assert reader.read(0, 16) == content(0, 16)
    assert reader.read(GROUP * PAGE, 16) is None  # another group


def test_reads_of_groups_that_share_a_count_are_not_counted_together(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.touch()
    far = 32768 * GROUP * PAGE
    os.truncate(path, 2 * far)
    with path.open("r+b") as file:
        reader = Reader(file.fileno(), 2 * far)
        for _ in range(WORTH):
            reader.pages.note(0, 16)
            reader.pages.note(far, 16)
        assert not reader.pages.read(reader.port, OWN, 16, 0)
        assert not reader.pages.read(reader.port, OWN, 16, far)


def test_neither_memory_nor_file_is_passed(image: int) -> None:
    reader = Reader(image)
    note_all(reader)
    port = reader.port
    for offset, length, position in [
        (port.size - 8, 16, 0), (1 << 63, 16, 0), (OWN, 1 << 63, 0),
        (OWN, 16, PAGES * PAGE - 8), (OWN, 16, (1 << 64) - 8),
    ]:  # fmt: skip
        assert not reader.pages.read(port, offset, length, position)
    assert reader.read(PAGES * PAGE - 16, 16) == content(PAGES * PAGE - 16, 16)


def test_a_write_by_a_call_is_seen(image: int) -> None:
    reader = Reader(image)
    reader.note(0, PAGE)
    assert reader.read(0, 8) == content(0, 8)
    os.pwrite(image, b"written.", 0)
    assert reader.read(0, 8) == b"written."


def test_a_page_that_the_file_lost_is_left_to_a_call_and_so_is_every_other(image: int) -> None:
    reader = Reader(image)
    note_all(reader)
    os.ftruncate(image, PAGE)
    assert reader.read(PAGE, 16) is None
    assert reader.read(0, 16) is None  # forgotten
    reader.note(0, PAGE)
    assert reader.read(0, 16) == content(0, 16)


def test_where_a_shorter_file_ends_in_a_page_its_zeroes_are_not_taken_for_long(image: int) -> None:
    reader = Reader(image)
    note_all(reader)
    assert not within_a_tick(lambda: reader.read(PAGE, 16) is None)
    os.ftruncate(image, PAGE + 8)
    assert within_a_tick(lambda: reader.read(PAGE, 16) is None)
    reader.note(PAGE, 8)
    reader.note(PAGE, 16)
    assert reader.read(PAGE, 8) == content(PAGE, 8)
    assert reader.read(PAGE, 16) is None


def test_who_had_to_wait_for_a_page_forgets_them_all_and_notes_what_it_read_alone(image: int) -> None:
    reader = doubting(image)
    os.pread(image, PAGES * PAGE, 0)
    reader.note(150 * PAGE, 16)
    assert reader.read(150 * PAGE, 16) == content(150 * PAGE, 16)
    assert reader.read(151 * PAGE, 16) is None


def test_of_a_file_that_may_not_be_written_only_what_was_read_is_noted(image: int) -> None:
    """Of such a file the kernel may say that all of it is in memory (mincore(2))."""
    descriptor = os.open(f"/proc/self/fd/{image}", os.O_RDONLY)
    reader = Reader(descriptor)
    reader.note(0, PAGE)
    assert reader.read(0, PAGE) == content(0, PAGE)
    assert reader.read(PAGE, PAGE) is None
    os.close(descriptor)


def test_a_large_empty_disk_cannot_be_made_to_cost_memory(tmp_path: Path) -> None:
    """One page of each table: without a limit these would be 24 MiB that nobody gives back before the disk goes."""
    gc.collect()  # of what others mapped
    path = tmp_path / "large"
    path.touch()
    tables = 6 << 20 >> 10
    os.truncate(path, tables * TABLE)
    with path.open("r+b") as file:
        reader = Reader(file.fileno(), tables * TABLE)
        for table in range(tables):
            os.pread(file.fileno(), 16, table * TABLE)
            reader.note(table * TABLE, 16)
        read = [bool(reader.pages.read(reader.port, OWN, 16, table * TABLE)) for table in range(tables)]
        limit = (8 << 20) // PAGE
        assert read == [table < limit for table in range(tables)]
        other = Reader(file.fileno())
        other.note(0, 16)
        assert other.read(0, 16) is None  # the limit is of the process
        del reader
        other.note(0, 16)
        assert other.read(0, 16) == bytes(16)


def test_a_page_that_is_not_in_memory_is_not_noted_with_others(image: int) -> None:
    doubting(image)  # leaves nearly none there
    os.posix_fadvise(image, 0, 0, os.POSIX_FADV_RANDOM)
    os.posix_fadvise(image, 0, 0, os.POSIX_FADV_DONTNEED)
    os.pread(image, 16, 150 * PAGE)
    reader = Reader(image)
    reader.note(150 * PAGE, 16)
    assert reader.read(150 * PAGE, 16) == content(150 * PAGE, 16)
    assert reader.read(190 * PAGE, 16) is None


def test_what_cannot_be_mapped_is_read_by_calls() -> None:
    ours, theirs = os.pipe()
    try:
        with pytest.raises(OSError, match="cannot be mapped"):
            ResidentPages(ours, PAGE)
        store = FileStore(ours, PAGE, "threads", mapped=True)
        assert store.resident is None
        store.close()
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_disk_reads_its_pages_from_the_mapping_and_their_loss_is_an_error_of_that_request(image: int) -> None:
    store = FileStore(image, PAGES * PAGE, "threads", mapped=True)
    disk = Disk(Rig(), size=64, store=store)

    def ask(kind: int, sector: int, data: bytes = b"") -> tuple[int, bytes]:
        disk.submit(kind, sector, data, length=0 if data else 512)
        disk.announce(credit=1 if disk.results else 0)
        return settle(disk, 1)[0][1:]

    assert store.resident is not None
    assert [ask(IN, 16) for _ in range(WORTH + 3)] == [(OK, content(16 * 512, 512))] * (WORTH + 3)
    assert store.resident.reads == 2
    assert ask(OUT, 16, b"n" * 512)[0] == OK
    assert ask(IN, 16) == (OK, b"n" * 512)
    os.ftruncate(image, 4096)
    assert ask(IN, 16)[0] == IOERR
    assert ask(IN, 0) == (OK, content(0, 512))
    store.close()


def test_a_disk_that_grew_is_mapped_to_its_new_end(image: int) -> None:
    store = FileStore(image, PAGE, "threads", mapped=True)
    disk = Disk(Rig(), store=store)
    assert store.resident is not None
    note = [store.resident.note] * (WORTH + 1)
    assert not any(each(0, 16) for each in note)
    os.ftruncate(image, 2 * PAGES * PAGE)
    store.resize(2 * PAGES * PAGE)
    assert store.resident.read(disk.rig.port, OWN, 16, 0)  # what was noted still is
    assert not store.resident.read(disk.rig.port, OWN, 1024, PAGES * PAGE - 512)
    assert not any(each(PAGES * PAGE - 512, 1024) for each in note)
    assert store.resident.read(disk.rig.port, OWN, 1024, PAGES * PAGE - 512)
    assert disk.rig.port.read(OWN, 1024) == content(PAGES * PAGE - 512, 512) + bytes(512)
    store.close()


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(1, 4 * PAGES * PAGE), min_size=1, max_size=6))
def test_a_disk_of_changing_size_is_read_to_its_end_and_not_beyond(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
) -> None:
    path = tmp_path_factory.getbasetemp() / "sizes"
    path.write_bytes(content(0, 4 * PAGES * PAGE))
    with path.open("r+b") as file:
        reader = Reader(file.fileno(), 1)
        for size in sizes:
            reader.pages.resize(size)
            last = max(0, size - 16)
            reader.note(last, size - last)
            assert reader.pages.read(reader.port, OWN, size - last, last)
            assert reader.port.read(OWN, size - last) == content(last, size - last)
            reader.note(last, size - last + 1)
            assert not reader.pages.read(reader.port, OWN, size - last + 1, last)


OTHERS = """
import mmap, os, signal, sys
from virtio_crq.dataplane.kernel import ResidentPages
image = os.open(sys.argv[1], os.O_RDWR)
signal.signal(signal.SIGBUS, lambda *said: print("theirs", flush=True) if sys.argv[2] == "sent" else None)
if sys.argv[2] == "fault":
    signal.signal(signal.SIGBUS, signal.SIG_DFL)
pages = ResidentPages(image, os.fstat(image).st_size)
if sys.argv[2] == "sent":
    os.kill(os.getpid(), signal.SIGBUS)
    for _ in range(33):
        pages.note(0, 16)
    os.ftruncate(image, 0)
    from rig import Rig
    print(pages.read(Rig().port, 0x10000, 16, 0))
elif sys.argv[2] == "taken":
    signal.signal(signal.SIGBUS, lambda *said: None)
    try:
        ResidentPages(image, os.fstat(image).st_size)
    except OSError as error:
        print(error)
else:
    view = mmap.mmap(image, 0)
    os.ftruncate(image, 0)
    view[0]
"""


@pytest.mark.parametrize(
    ("what", "said", "status"),
    [
        pytest.param("fault", "", -signal.SIGBUS, id="a fault ends the process"),
        pytest.param("sent", "theirs\n0\n", 0, id="one that was sent is told, and ours stay ours"),
        pytest.param("taken", f"{2 * PAGE} bytes of a file cannot be mapped\n", 0, id="who took it keeps it"),
    ],
)
def test_a_signal_of_anybody_else_is_theirs(tmp_path: Path, what: str, said: str, status: int) -> None:
    path = tmp_path / "image"
    path.write_bytes(bytes(2 * PAGE))
    command = [sys.executable, "-c", OTHERS, str(path), what]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert (done.stdout, done.returncode) == (said, status)
