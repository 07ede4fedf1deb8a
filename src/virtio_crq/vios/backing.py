# SPDX-License-Identifier: Apache-2.0
"""What stands behind a target: `null:SIZE`, `ram:SIZE` or `file:PATH[,engine=auto|io_uring|threads]`."""

import hashlib
import logging
import os
import re
import secrets
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from virtio_crq.dataplane.filestore import FileStore
from virtio_crq.dataplane.kernel import in_memory
from virtio_crq.dataplane.nullstore import NullStore
from virtio_crq.dataplane.ramstore import RamStore
from virtio_crq.dataplane.store import Store
from virtio_crq.errors import UsageError
from virtio_crq.vios.lock import Clock, acquire
from virtio_crq.virtio.block import SECTOR_SIZE as SECTOR

log = logging.getLogger("virtio_crq.vios")
NULL, RAM, FILE = "null", "ram", "file"
ENGINES = ("auto", "io_uring", "threads")
IDENTITY_BYTES = 16
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
LARGEST = (1 << 63) - SECTOR  # what an offset into a file can say
_SIZE = re.compile(r"(\d{1,30})\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)


@dataclass(frozen=True)
class BackingSpec:
    """A parsed backing: `size` in bytes for null and ram, `path` and `engine` for file."""

    kind: str
    size: int = 0
    path: str = ""
    engine: str = "auto"

    def __str__(self) -> str:
        if self.kind != FILE:
            return f"{self.kind}:{self.size}"
        return f"file:{self.path}" + ("" if self.engine == "auto" else f",engine={self.engine}")


def parse_size(text: str) -> int:
    """Bytes of `64M`, `1GiB`, `4096`."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is not a size (a number with K, M, G or T)")
    size = int(match[1]) * _UNITS[match[2].upper()]
    if size > LARGEST:
        raise UsageError(f"{text!r} is more than a disk can have, which is {LARGEST} bytes")
    return size


def parse_backing(text: str, base: Path = Path()) -> BackingSpec:
    """Read a backing; a relative path counts from `base`, the machine file's directory."""
    kind, colon, rest = text.partition(":")
    if not colon or not rest:
        raise UsageError(f"backing {text!r} is not null:SIZE, ram:SIZE or file:PATH")
    if kind in (NULL, RAM):
        size = parse_size(rest)
        _whole_sectors(text, size)
        return BackingSpec(kind, size=size)
    if kind == FILE:
        return _parse_file(text, rest, base)
    raise UsageError(f"backing {text!r}: {kind!r} is not one of null, ram, file")


def _parse_file(text: str, rest: str, base: Path) -> BackingSpec:
    path, *options = rest.split(",")
    engine = "auto"
    for option in options:
        key, _, value = option.partition("=")
        if key != "engine":
            raise UsageError(f"backing {text!r}: {key!r} is no option of file (engine is)")
        if value not in ENGINES:
            raise UsageError(f"backing {text!r}: engine {value!r} is not one of {', '.join(ENGINES)}")
        engine = value
    if not path or "\0" in path:
        raise UsageError(f"backing {text!r} names no file")
    return BackingSpec(FILE, path=str(base / path), engine=engine)


def _whole_sectors(name: str, size: int) -> None:
    if size < SECTOR:
        raise UsageError(f"{name}: {size} bytes are less than one sector of {SECTOR}")
    if size % SECTOR:
        raise UsageError(f"{name}: size {size} is not a multiple of {SECTOR}")


def open_image(path: str, *, readonly: bool) -> int:
    """Open an image for I/O and refuse what cannot be a disk; the descriptor is also what the lock is taken on."""
    flags = (os.O_RDONLY if readonly else os.O_RDWR) | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not stop us here
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such image") from None
    except IsADirectoryError:
        raise UsageError(f"{path}: not a file or a block device") from None
    except PermissionError:
        how = "reading" if readonly else "writing (map it read-only, or change its mode)"
        raise UsageError(f"{path}: permission denied for {how}") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    try:
        os.set_blocking(descriptor, True)
        image_size(descriptor, path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def image_size(descriptor: int, path: str) -> int:
    """The size of an opened image, in whole sectors."""
    status = os.fstat(descriptor)
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISBLK(status.st_mode)):
        raise UsageError(f"{path}: not a file or a block device")
    size = _bytes_in(descriptor, status)
    _whole_sectors(path, size)
    return size


def _bytes_in(descriptor: int, status: os.stat_result) -> int:
    """The length of a file or a block device, whose `status` has none."""
    return status.st_size if stat.S_ISREG(status.st_mode) else os.lseek(descriptor, 0, os.SEEK_END)


class Backing:
    """An opened backing: its store, its bytes' identity, and for a file the descriptor that store and lock share."""

    def __init__(self, spec: BackingSpec, store: Store, seed: bytes, descriptor: int | None = None) -> None:
        self.spec = spec
        self.store = store
        self.descriptor = descriptor
        self._seed = seed

    @property
    def size(self) -> int:
        """In bytes, as the store has it now."""
        return self.store.capacity

    def identity(self, target: str) -> bytes:
        """16 bytes that stay the same for as long as the same data stands behind this target."""
        return hashlib.sha256(target.encode() + b"\0" + self._seed).digest()[:IDENTITY_BYTES]

    def measure(self) -> int:
        """What the size would be if the image were opened now."""
        return self.size if self.descriptor is None else image_size(self.descriptor, self.spec.path)

    def damage(self) -> str:
        """What became of the image while it is in use; empty when nothing did."""
        if self.descriptor is None:
            return ""
        status = os.fstat(self.descriptor)
        if stat.S_ISREG(status.st_mode) and status.st_nlink == 0:
            return "its file was deleted, and what is in it goes with this server; copy the disk before"
        size = _bytes_in(self.descriptor, status)
        if size < self.size:
            return f"it was truncated to {size} bytes of {self.size}; what was beyond is lost, and reading there fails"
        return ""

    def grow(self, size: int) -> None:
        """Make the image larger; its new bytes read as zeroes."""
        assert self.descriptor is not None
        _whole_sectors(self.spec.path, size)
        now = self.measure()
        if size < now:
            raise UsageError(f"{self.spec.path} has {now} bytes; shrinking it to {size} would lose data")
        if stat.S_ISBLK(os.fstat(self.descriptor).st_mode):
            raise UsageError(f"{self.spec.path} is a block device; resize it by its own tools, then leave SIZE out")
        try:
            os.ftruncate(self.descriptor, size)
        except OSError as error:
            raise UsageError(f"{self.spec.path}: {error.strerror}") from error

    def close(self) -> None:
        """After the store's last operation: give back the store, and with the descriptor the lock."""
        self.store.close()
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


def open_backing(spec: BackingSpec, *, readonly: bool, clock: Clock) -> Backing:
    """Make the store, holding the image lock before anything else is done with an image."""
    if spec.kind == NULL:
        return Backing(spec, NullStore(spec.size), str(spec).encode())
    if spec.kind == RAM:
        # What a predecessor kept in its memory is gone: never let a client resume on other data.
        return Backing(spec, _ram_store(spec.size), str(spec).encode() + secrets.token_bytes(IDENTITY_BYTES))
    descriptor = open_image(spec.path, readonly=readonly)
    try:
        acquire(descriptor, spec.path, shared=readonly, clock=clock)
        size = image_size(descriptor, spec.path)
        return Backing(spec, _file_store(spec, descriptor, size), _file_seed(descriptor), descriptor)
    except BaseException:
        os.close(descriptor)
        raise


def _ram_store(size: int) -> Store:
    try:
        return RamStore(size)
    except MemoryError as error:
        raise UsageError(f"ram: {error}") from None


def _file_store(spec: BackingSpec, descriptor: int, size: int) -> Store:
    auto = spec.engine == "auto"  # who names an engine wants it used
    waits = not auto or not in_memory(descriptor)
    engine = "threads" if spec.engine == "threads" else "uring"
    # Of a file that lies in memory a mapping has pages made where reading finds none.
    mapped = auto and waits and stat.S_ISREG(os.fstat(descriptor).st_mode)
    try:
        return FileStore(descriptor, size, engine, write_now=auto, waits=waits, own_writer=auto, mapped=mapped)
    except UsageError as error:
        if not auto:
            raise UsageError(f"{spec.path}: {error}; engine=auto would take threads") from error
        _say_once(str(error))
        return FileStore(descriptor, size, "threads", write_now=True, waits=waits, own_writer=True, mapped=mapped)


@cache
def _say_once(reason: str) -> None:
    log.info("%s; threads do the I/O of files", reason)


def _file_seed(descriptor: int) -> bytes:
    status = os.fstat(descriptor)
    if stat.S_ISBLK(status.st_mode):
        return f"device {status.st_rdev}".encode()
    return f"file {status.st_dev} {status.st_ino}".encode()


def refuse_shared_images(specs: Sequence[tuple[BackingSpec, bool]]) -> None:
    """Two targets of one server on one image: without this a server would wait for its own lock.

    Each item is a backing and whether it is read-only; readers may share.
    """
    seen: dict[tuple[int, int], tuple[str, bool]] = {}
    for spec, readonly in specs:
        if spec.kind != FILE:
            continue
        try:
            status = os.stat(spec.path)
        except OSError:
            continue  # opening it says what is wrong
        path, shared = seen.setdefault((status.st_dev, status.st_ino), (spec.path, readonly))
        if path is not spec.path and not (shared and readonly):
            raise UsageError(f"{spec.path}: mapped twice (also as {path}); only read-only maps may share an image")
