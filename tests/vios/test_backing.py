# SPDX-License-Identifier: Apache-2.0
"""Which backings are read, and how a bad one is refused in one line."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from virtio_crq.dataplane.filestore import FileStore
from virtio_crq.errors import UsageError
from virtio_crq.vios.backing import BackingSpec, image_size, open_backing, open_image, parse_backing, parse_size
from virtio_crq.vios.lock import SystemClock


@pytest.mark.parametrize(
    ("text", "size"), [("4096", 4096), ("1K", 1024), ("2 MiB", 2 << 20), ("3g", 3 << 30), ("1TB", 1 << 40)]
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("null:1M", BackingSpec("null", size=1 << 20)),
        ("ram:64K", BackingSpec("ram", size=65536)),
        ("file:a.img", BackingSpec("file", path="/base/a.img")),
        ("file:/x/a.img,engine=io_uring", BackingSpec("file", path="/x/a.img", engine="io_uring")),
        ("file:a:b.img,engine=threads", BackingSpec("file", path="/base/a:b.img", engine="threads")),
    ],
)
def test_backings_are_read_and_written_back(text: str, spec: BackingSpec) -> None:
    assert parse_backing(text, Path("/base")) == spec
    assert parse_backing(str(spec)) == spec


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not null:SIZE"),
        ("root.img", "is not null:SIZE"),
        ("file:", "is not null:SIZE"),
        ("file:,engine=auto", "names no file"),
        ("nbd:unix", "'nbd' is not one of"),
        ("null:-1", "is not a size"),
        ("null:0", "less than one sector"),
        ("null:99999999T", "'99999999T' is more than a disk can have, which is 9223372036854775296 bytes"),
        ("ram:" + "9" * 5000, "is not a size"),
        ("ram:1000", "not a multiple of 512"),
        ("file:a,engine=aio", "engine 'aio' is not one of auto, io_uring, threads"),
        ("file:a,cache=none", "'cache' is no option"),
    ],
)
def test_a_bad_backing_is_refused_in_one_line(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why) as refusal:
        parse_backing(text)
    assert "\n" not in str(refusal.value)


def test_an_image_opens_with_its_size(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(bytes(8192))
    descriptor = open_image(str(path), readonly=False)
    assert image_size(descriptor, str(path)) == 8192
    os.close(descriptor)


@pytest.mark.parametrize(
    ("size", "why"), [(0, "less than one sector"), (511, "less than one sector"), (1000, "not a multiple of 512")]
)
def test_a_short_or_uneven_image_is_refused(tmp_path: Path, size: int, why: str) -> None:
    path = tmp_path / "disk"
    path.write_bytes(bytes(size))
    with pytest.raises(UsageError, match=why):
        open_image(str(path), readonly=True)


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name, why in [("missing", "no such image"), ("", "not a file"), ("fifo", "not a file")]:
        for readonly in (True, False):
            with pytest.raises(UsageError, match=why):
                open_image(str(tmp_path / name), readonly=readonly)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may write everything; for a moment, be somebody who may not."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_a_write_protected_image_names_the_way_out() -> None:
    with tempfile.NamedTemporaryFile() as image:  # a test's own directory is closed to others
        image.truncate(512)
        os.chmod(image.name, 0o444)
        with as_nobody(), pytest.raises(UsageError, match="map it read-only"):
            open_image(image.name, readonly=False)


@pytest.mark.parametrize(("engine", "own"), [("auto", True), ("io_uring", False), ("threads", False)])
def test_who_names_an_engine_has_it_make_the_writes(tmp_path: Path, engine: str, own: bool) -> None:
    path = tmp_path / "disk"
    path.write_bytes(bytes(8192))
    backing = open_backing(parse_backing(f"file:{path},engine={engine}"), readonly=False, clock=SystemClock())
    assert isinstance(backing.store, FileStore)
    assert (backing.store.writer is not None) == own
    assert (backing.store.resident is not None) == own  # nor is anything read but by calls then
    backing.close()


def test_memory_that_there_is_not_is_refused_in_one_line() -> None:
    with pytest.raises(UsageError, match=r"^ram: no 1099510528264372224 bytes of memory for a disk$"):
        open_backing(parse_backing("ram:999999T"), readonly=False, clock=SystemClock())
