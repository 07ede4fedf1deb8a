# SPDX-License-Identifier: Apache-2.0
"""The file that is measured: made once, held in memory, and watched whether it stays there."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from virtio_crq.bench.case import Case
from virtio_crq.bench.raw import Job, Pin
from virtio_crq.errors import UsageError

SMALLEST = 1 << 20  # the deepest case has so much in flight
IMAGE_BYTES = 1 << 30
_PIECE = 1 << 20
RAW_ENGINES = ("pread", "io_uring")


class Image:
    """An open file, pinned in the page cache."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.size = os.fstat(descriptor).st_size
        self._descriptor = descriptor
        self._pin = Pin(descriptor, self.size)
        self.refusal = self._pin.refusal

    def resident(self) -> float:
        """The part of the file in memory, 0 to 1."""
        return self._pin.resident()

    def raw(self, case: Case, seconds: float) -> dict[str, float]:
        """Requests a second that one thread gets from the file itself, by engine; a forbidden engine is absent."""
        found = {}
        for engine in RAW_ENGINES:
            job = Job(self._descriptor, self.size, case.size, case.depth, case.write, case.sequential, seconds)
            try:
                found[engine] = job.iops(engine)
            except OSError as error:
                if engine == "pread":
                    raise UsageError(f"{self.path}: {error.strerror} while measuring the raw file") from None
        return found

    def close(self) -> None:
        self._pin.close()
        os.close(self._descriptor)


def written_by(cases: Sequence[Case]) -> int:
    """By how many bytes the file of these loads is written.

    ext4 (at 6.18) caches what is written at once in one large folio. That is good for reading much at once; but each
    later write of 4 KiB walks that folio's whole list of blocks: 32,000 writes a second instead of a million. So what
    is only written at random is written by blocks from the start.
    """
    if cases and all(case.write and not case.sequential for case in cases):
        return max(4096, min(case.size for case in cases))
    return _PIECE


def fill(path: Path, size: int, progress: Callable[[int], None], unit: int = _PIECE) -> None:
    """Write a file without holes, so many bytes at once. Every page differs from its neighbours; none is zero."""
    piece = bytearray(os.urandom(_PIECE))
    with path.open("wb", buffering=0) as file:
        for start in range(0, size, _PIECE):
            for page in range(0, _PIECE, 4096):
                piece[page : page + 8] = (start + page + 1).to_bytes(8, "little")
            end = min(_PIECE, size - start)
            for at in range(0, end, unit):
                _write_whole(file, piece[at : min(at + unit, end)])
            progress(min(start + _PIECE, size))


def _write_whole(file: FileIO, data: bytes | bytearray) -> None:
    """What is written short is not the last of it: the next write says why, or takes the rest."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


@contextmanager
def pinned(path: Path) -> Iterator[Image]:
    """The file at `path`, open and held in memory."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    if os.fstat(descriptor).st_size < SMALLEST:
        os.close(descriptor)
        raise UsageError(f"{path} is too small to measure on; {SMALLEST >> 20} MiB at least")
    image = Image(path, descriptor)
    try:
        yield image
    finally:
        image.close()
