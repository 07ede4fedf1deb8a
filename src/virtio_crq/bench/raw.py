# SPDX-License-Identifier: Apache-2.0
"""The raw file as the yardstick: what one thread gets from it by pread or io_uring, and the file held in memory."""

import os

import cython


class Job:
    """One load on an open file: blocks of `size` bytes, `depth` at a time, for `seconds`."""

    def __init__(
        self, descriptor: int, file_size: int, size: int, depth: int, write: bool, sequential: bool, seconds: float
    ) -> None:
        if size <= 0 or file_size < size or not 1 <= depth <= RAW_DEPTH_MAX:
            raise ValueError(f"blocks of {size} bytes, {depth} at a time, on a file of {file_size} bytes")
        self.job.fd = descriptor
        self.job.blocks = file_size // size
        self.job.size = size
        self.job.depth = depth
        self.job.write = write
        self.job.sequential = sequential
        self.job.nanoseconds = int(seconds * 1e9)

    def _run(self, uring: bool) -> int:
        with cython.nogil:
            return raw_uring(cython.address(self.job)) if uring else raw_pread(cython.address(self.job))

    def iops(self, engine: str) -> float:
        """Requests a second by `engine`: "pread" or "io_uring". OSError when the kernel refuses."""
        answer = self._run(engine == "io_uring")
        if answer < 0:
            raise OSError(-answer, os.strerror(-answer))
        return self.job.ops * 1e9 / max(self.job.elapsed, 1)


class Pin:
    """A file mapped and, where the limits allow, locked into memory for as long as this lives."""

    def __init__(self, descriptor: int, length: int) -> None:
        answer = pin_file(cython.address(self.pin), descriptor, length)
        if answer < 0:
            raise OSError(-answer, os.strerror(-answer))

    @property
    def refusal(self) -> str:
        """Why the kernel would not lock it; empty when it did."""
        return os.strerror(-self.pin.locked) if self.pin.locked else ""

    def resident(self) -> float:
        """The part of the file that is in memory now, 0 to 1."""
        if self.pin.address == cython.NULL:
            return 0.0
        found = raw_resident(self.pin.address, self.pin.length)
        if found < 0:
            raise OSError(-found, os.strerror(-found))
        return found / ((self.pin.length + 4095) // 4096)

    def close(self) -> None:
        raw_release(cython.address(self.pin))

    def __dealloc__(self) -> None:
        raw_release(cython.address(self.pin))
