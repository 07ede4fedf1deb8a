# SPDX-License-Identifier: Apache-2.0
"""A writer's ring between two threads: what was asked for is made, whoever sleeps, stops or fails meanwhile."""

import errno
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from asker import ROOM, Asker, Running
from hypothesis import given
from hypothesis import strategies as st
from rig import Rig

from virtio_crq.dataplane.kernel import writer_granted
from virtio_crq.dataplane.patience import Patience

SOURCE = Path(__file__).parents[2] / "src/virtio_crq"
MOST = 128_000  # nanoseconds that a writer looks at most


@pytest.fixture
def image(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "image", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def event() -> Iterator[int]:
    descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    yield descriptor
    os.close(descriptor)


def test_an_ask_and_a_stop_between_two_looks_of_the_writer_lose_no_write(tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    program, image = tmp_path / "writerstop", tmp_path / "image"
    image.touch()
    includes = [f"-I{SOURCE / part}" for part in ("dataplane", "platform")]
    source = str(Path(__file__).with_name("writerstop.c"))
    subprocess.run([compiler, "-Wall", "-Werror", *includes, source, "-o", str(program)], check=True)
    done = subprocess.run([str(program), str(image)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_was_asked_for_before_a_stop_is_written_whenever_the_stop_comes(image: int, event: int) -> None:
    rig = Rig()
    for number in range(200):
        asker = Asker(image, event, rig)
        with Running(asker.ring):
            asker.queue(number, 0)
            asker.ring.ask()
        assert asker.ended() == [(number, 0)]


def test_a_writer_that_went_to_sleep_is_woken_by_the_next_write(image: int, event: int) -> None:
    asker = Asker(image, event)
    with Running(asker.ring) as writer:
        for number in range(20):
            asker.queue(number, 512 * number)
            asker.ring.ask()
            assert asker.one() == (number, 0)
            assert writer.asleep()


def test_slots_are_used_again_by_more_writes_than_there_is_room_for(image: int, event: int) -> None:
    asker = Asker(image, event)
    found: list[tuple[int, int]] = []
    with Running(asker.ring):
        for number in range(3 * ROOM):
            while asker.queue(number, 512 * number) == -errno.EAGAIN:
                asker.ring.ask()
                found.append(asker.one())
        asker.ring.ask()
    assert found + asker.ended() == [(number, 0) for number in range(3 * ROOM)]
    written = b"".join(number.to_bytes(2, "little") * 256 for number in range(3 * ROOM))
    assert os.pread(image, 3 * ROOM * 512, 0) == written


def test_a_write_that_is_cut_short_ends_with_an_error_and_the_next_is_made(image: int, event: int) -> None:
    """A limit on file size in the middle of a block: the kernel writes the first half, and refuses the other."""
    asker = Asker(image, event)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6144, before[1]))
    try:
        asker.queue(1, 4096, 4096)
        asker.queue(9, 0)
        asker.write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert asker.ended() == [(1, -errno.EFBIG), (9, 0)]
    assert os.fstat(image).st_size == 6144
    assert os.pread(image, 512, 0) == b"\x09\x00" * 256


@given(waits=st.lists(st.integers(0, 2 * MOST) | st.integers(MOST - 1, MOST + 1), max_size=30))
def test_a_writer_looks_as_long_as_a_patience_of_its_limit_would(waits: list[int]) -> None:
    patience, granted = Patience(MOST), 0
    for waited in waits:
        granted = writer_granted(granted, waited)
        assert granted == patience.waited(waited)
