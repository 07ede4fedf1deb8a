# SPDX-License-Identifier: Apache-2.0
"""Copies whole disks: a local file or block device to a disk, back, or between two disks.

Several pieces are under way at a time. Holes of a local source are not read, and zeroes are not written into a new
local file; a disk always gets every byte, since nobody knows what it held.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol

from virtio_crq.client.disk import Disk
from virtio_crq.errors import UsageError

PIECE = 512 * 1024
UNDER_WAY = 8
GRAIN = 64 * 1024  # zeroes shorter than this are written

Progress = Callable[[int], None]  # bytes done since the last call


class Source(Protocol):
    name: str
    size: int

    def pieces(self) -> Iterator[tuple[int, int, bool]]:
        """(offset, length, whether there is data) of all of it, in order."""
        ...

    async def read(self, offset: int, length: int) -> bytes: ...


class Target(Protocol):
    name: str
    skips_zeroes: bool

    def begin(self, size: int) -> None:
        """Refuse what does not fit, before anything is changed."""
        ...

    async def write(self, offset: int, data: bytes) -> None: ...
    async def finish(self) -> None: ...


def pieces_of(begin: int, end: int, data: bool) -> Iterator[tuple[int, int, bool]]:
    for offset in range(begin, end, PIECE):
        yield offset, min(PIECE, end - offset), data


class DiskEnd:
    """A client's disk at either end."""

    skips_zeroes = False

    def __init__(self, disk: Disk, name: str) -> None:
        self.disk = disk
        self.name = name
        self.size = disk.capacity

    def pieces(self) -> Iterator[tuple[int, int, bool]]:
        return pieces_of(0, self.size, True)

    async def read(self, offset: int, length: int) -> bytes:
        return await self.disk.start_read(offset, length)

    def begin(self, size: int) -> None:
        if self.disk.readonly:
            raise UsageError(f"disk {self.name} is read-only")
        if size > self.size:
            raise UsageError(f"{size} bytes do not fit disk {self.name} of {self.size} bytes")

    async def write(self, offset: int, data: bytes) -> None:
        tail = -len(data) % self.disk.block_size
        if tail:  # the source ends within a block: the rest of the block stays what it was
            block = await self.disk.start_read(offset + len(data) + tail - self.disk.block_size, self.disk.block_size)
            data += block[-tail:]
        await self.disk.start_write(offset, data)

    async def finish(self) -> None:
        await self.disk.start_flush()


class LocalSource:
    """A regular file or block device that is read."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO must not stop us here
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror}") from error
        mode = os.fstat(self._descriptor).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISBLK(mode):
            os.close(self._descriptor)
            raise UsageError(f"{path} is neither a file nor a block device")
        self.size = os.lseek(self._descriptor, 0, os.SEEK_END)

    def pieces(self) -> Iterator[tuple[int, int, bool]]:
        at = 0
        while at < self.size:
            try:
                begin = min(self.size, os.lseek(self._descriptor, at, os.SEEK_DATA))
                end = min(self.size, os.lseek(self._descriptor, begin, os.SEEK_HOLE))
            except OSError as error:
                # ENXIO: nothing but a hole is left. Anything else: the file system cannot tell, so all may be data.
                begin = self.size if error.errno == errno.ENXIO else at
                end = self.size
            yield from pieces_of(at, begin, False)
            yield from pieces_of(begin, end, True)
            at = end

    async def read(self, offset: int, length: int) -> bytes:
        data = os.pread(self._descriptor, length, offset)
        if len(data) != length:
            raise UsageError(f"{self.name} became shorter while it was read")
        return data

    def __enter__(self) -> "LocalSource":
        return self

    def __exit__(self, *_exception: object) -> None:
        os.close(self._descriptor)


class LocalTarget:
    """A file that appears under its name only when it is whole; a block device is written in place.

    A file that is there already keeps its mode, and its owner where that may be set; a link is followed.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = Path(os.path.realpath(path))
        try:
            self._device = stat.S_ISBLK(os.stat(self._path).st_mode)
        except OSError:  # what is wrong with it is said when it is written
            self._device = False
        self.skips_zeroes = not self._device
        self._scratch = self._path if self._device else self._path.parent / f".virtio-crq-{os.getpid()}.partial"
        self._descriptor = -1
        self._replaced = -1

    def begin(self, size: int) -> None:
        try:
            if self._path.exists() and not self._device:
                self._take_over()
            flags = os.O_WRONLY | os.O_CLOEXEC | (0 if self._device else os.O_CREAT | os.O_EXCL)
            self._descriptor = os.open(self._scratch, flags, 0o666)
            if self._replaced >= 0:
                self._keep(os.fstat(self._replaced))
        except OSError as error:
            raise UsageError(f"cannot write {self.name}: {error.strerror}") from error
        if not self._device:
            os.ftruncate(self._descriptor, size)
        elif os.lseek(self._descriptor, 0, os.SEEK_END) < size:
            raise UsageError(f"{size} bytes do not fit {self.name}")

    def _take_over(self) -> None:
        """The file that stands there, with the lock that its server would hold: that one would serve a deleted file."""
        self._replaced = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(self._replaced).st_mode):
            raise UsageError(f"{self.name} is neither a file nor a block device")
        try:
            fcntl.flock(self._replaced, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"{self.name} is in use: a server has it as an image") from None

    def _keep(self, before: os.stat_result) -> None:
        with contextlib.suppress(PermissionError):
            os.fchown(self._descriptor, before.st_uid, before.st_gid)
        os.fchmod(self._descriptor, stat.S_IMODE(before.st_mode))

    async def write(self, offset: int, data: bytes) -> None:
        done = 0
        while done < len(data):
            done += os.pwrite(self._descriptor, data[done:], offset + done)

    async def finish(self) -> None:
        os.fsync(self._descriptor)
        if not self._device:
            os.rename(self._scratch, self._path)

    def __enter__(self) -> "LocalTarget":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for descriptor in (self._descriptor, self._replaced):
            if descriptor >= 0:
                os.close(descriptor)
        if kind is not None and not self._device and self._descriptor >= 0:
            self._scratch.unlink(missing_ok=True)


async def copy(source: Source, target: Target, progress: Progress) -> None:
    """All of `source` to the start of `target`, on stable storage when this returns."""
    target.begin(source.size)
    first: Exception | None = None
    pieces = source.pieces()

    async def carry() -> None:
        for offset, length, data in pieces:  # one iterator for all: each piece is taken once
            await _carry(source, target, offset, length, data)
            progress(length)

    try:
        async with asyncio.TaskGroup() as group:
            for _worker in range(UNDER_WAY):
                group.create_task(carry())
    except* Exception as group_error:
        first = group_error.exceptions[0]
    if first is not None:
        raise first
    await target.finish()


async def _carry(source: Source, target: Target, offset: int, length: int, data: bool) -> None:
    if not data:
        if not target.skips_zeroes:
            await target.write(offset, bytes(length))
        return
    content = await source.read(offset, length)
    if not target.skips_zeroes:
        await target.write(offset, content)
        return
    for at in range(0, length, GRAIN):
        grain = content[at : at + GRAIN]
        if grain.count(0) != len(grain):
            await target.write(offset + at, grain)
