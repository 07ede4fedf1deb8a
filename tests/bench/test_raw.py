# SPDX-License-Identifier: Apache-2.0
"""The yardstick measures the file it is given, and says when it cannot."""

import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from virtio_crq.bench.case import CASES, Case
from virtio_crq.bench.grammar import case as load
from virtio_crq.bench.image import Image, fill, pinned, written_by
from virtio_crq.bench.raw import Job, Pin
from virtio_crq.errors import UsageError

SIZE = 4 << 20


@pytest.fixture
def image(tmp_path: Path) -> Iterator[Image]:
    path = tmp_path / "image"
    fill(path, SIZE, lambda done: None)
    with pinned(path) as image:
        yield image


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_engine_runs_each_load(image: Image, case: Case) -> None:
    found = image.raw(case, 0.01)
    assert "pread" in found
    assert all(iops > 0 for iops in found.values())


def test_a_written_file_has_the_same_size_and_is_all_in_memory(image: Image) -> None:
    image.raw(Case("write", 4096, 8, write=True), 0.01)
    assert image.path.stat().st_size == SIZE
    assert image.resident() == 1.0


def test_no_page_of_a_filled_file_equals_another(image: Image) -> None:
    data = image.path.read_bytes()
    assert len({data[at : at + 4096] for at in range(0, SIZE, 4096)}) == SIZE // 4096


def test_a_refusal_of_the_kernel_is_an_error_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "closed"
    path.write_bytes(bytes(8192))
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="Bad file descriptor") as caught:
            Job(descriptor, 8192, 4096, 1, True, False, 0.01).iops("pread")
        assert caught.value.errno == errno.EBADF
    finally:
        os.close(descriptor)


def test_a_read_past_the_end_is_not_counted_as_a_request(tmp_path: Path) -> None:
    path = tmp_path / "short"
    path.write_bytes(bytes(4096))
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="Input/output error"):
            Job(descriptor, 1 << 20, 4096, 1, False, False, 0.01).iops("pread")
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(("size", "depth"), [(0, 1), (8192, 1), (4096, 0), (4096, 100_000)])
def test_a_load_that_makes_no_sense_is_refused(size: int, depth: int) -> None:
    with pytest.raises(ValueError, match="on a file of 4096 bytes"):
        Job(0, 4096, size, depth, False, False, 0.01)


def test_a_pin_counts_what_is_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "pinned"
    path.write_bytes(bytes(range(256)) * 64)
    descriptor = os.open(path, os.O_RDONLY)
    pin = Pin(descriptor, 256 * 64)
    assert pin.resident() == 1.0
    pin.close()
    assert pin.resident() == 0.0
    os.close(descriptor)


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"), pinned(tmp_path / "absent"):
        pass


def test_what_is_only_written_at_random_is_written_by_blocks_from_the_start(tmp_path: Path) -> None:
    assert written_by([load("randwrite-4k-qd32"), load("randwrite-16k-qd8")]) == 4096
    assert written_by([load("randwrite-512-qd1")]) == 4096
    assert written_by([load("randwrite-4k-qd32"), load("seqread-128k-qd8")]) == written_by([]) == 1 << 20
    assert written_by([load("seqwrite-128k-qd8")]) == 1 << 20
    path = tmp_path / "image"
    size = (1 << 20) + 10000  # no whole number of anything
    fill(path, size, lambda done: None, 4096)
    content = path.read_bytes()
    assert len(content) == size
    assert len({content[page : page + 8] for page in range(0, size, 4096)}) == -(-size // 4096)


def test_a_file_that_cannot_be_written_whole_is_an_error_not_a_short_file(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE + 4096, hard))  # where it ends, a write is short before one fails
    try:
        with pytest.raises(OSError, match="File too large"):
            fill(tmp_path / "image", SIZE + 8192, lambda done: None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
