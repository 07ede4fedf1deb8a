# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: F821 — C names come from the .pxd; types for people stand in kernel.pyi
"""The binding to `kernel.h`. Always compiled, like `platform.port`; results below zero are negated errno."""

import os

import cython

READ = 0
WRITE = 1
WRITE_STABLE = 2
SYNC = 3


def transfer(fd: int, port: object, offset: int, length: int, position: int, operation: int, now: int) -> int:
    return kernel_transfer(fd, port.handle, offset, length, position, operation, now)


def in_memory(fd: int) -> int:
    return kernel_in_memory(fd)


def wait(fd: int, nanoseconds: int) -> int:
    with cython.nogil:
        return kernel_wait(fd, nanoseconds)


def doze(fd: int, nanoseconds: int) -> int:
    return kernel_doze(fd, nanoseconds)


def now() -> int:
    return kernel_now()


def zero(port: object, offset: int, length: int) -> int:
    return kernel_zero(port.handle, offset, length)


def random(port: object, offset: int, length: int) -> int:
    return kernel_random(port.handle, offset, length)


class Memory:
    def __cinit__(self, size: int) -> None:
        self.memory = kernel_memory_new(size)
        if self.memory == cython.NULL:
            raise MemoryError(f"no {size} bytes of memory for a disk")

    def __dealloc__(self) -> None:
        kernel_memory_free(self.memory)

    def move(self, port: object, offset: int, length: int, position: int, operation: int) -> int:
        return kernel_memory_move(self.memory, port.handle, offset, length, position, operation)


class Submission:
    def __cinit__(self, entries: int, wakeup: int) -> None:
        self.uring = kernel_uring_new()
        if self.uring == cython.NULL:
            raise MemoryError("no memory for an io_uring")
        code = kernel_uring_open(self.uring, entries, wakeup)
        if code < 0:
            raise OSError(-code, os.strerror(-code))

    def __dealloc__(self) -> None:
        kernel_uring_free(self.uring)

    def close(self) -> None:
        kernel_uring_close(self.uring)

    def queue(self, fd: int, port: object, offset: int, length: int, position: int, operation: int, token: int) -> int:
        return kernel_uring_queue(self.uring, fd, port.handle, offset, length, position, operation, token)

    def enter(self) -> int:
        return kernel_uring_enter(self.uring)

    def reap(self) -> int:
        if not kernel_uring_reap(self.uring):
            return 0
        self.token = self.uring.token
        self.result = self.uring.result
        return 1


def writer_granted(granted: int, waited: int) -> int:
    return writer_ring_granted(granted, waited)


class WriterRing:
    def __cinit__(self, fd: int, wakeup: int) -> None:
        self.ring = writer_ring_new(fd, wakeup)
        if self.ring == cython.NULL:
            raise MemoryError("no memory for a ring of writes")

    def __dealloc__(self) -> None:
        free(self.ring)

    def queue(self, port: object, offset: int, length: int, position: int, token: int) -> int:
        return writer_ring_queue(self.ring, port.handle, offset, length, position, token)

    def ask(self) -> int:
        writer_ring_ask(self.ring)
        return 0

    def reap(self) -> int:
        if not writer_ring_reap(self.ring):
            return 0
        self.token = self.ring.token
        self.result = self.ring.result
        return 1

    def expect(self) -> int:
        return writer_ring_expect(self.ring)

    def run(self) -> None:
        with cython.nogil:
            writer_ring_run(self.ring)

    def stop(self) -> None:
        writer_ring_stop(self.ring)


class ResidentPages:
    def __cinit__(self, fd: int, size: int) -> None:
        self.pages = resident_new(fd, size)
        if self.pages == cython.NULL:
            raise OSError(f"{size} bytes of a file cannot be mapped")

    def __dealloc__(self) -> None:
        resident_free(self.pages)

    @property
    def reads(self) -> int:
        return self.pages.reads

    @property
    def forgotten(self) -> int:
        return self.pages.forgotten

    def resize(self, size: int) -> None:
        resident_resize(self.pages, size)

    def note(self, position: int, length: int) -> int:
        resident_note(self.pages, position, length)
        return 0

    def read(self, port: object, offset: int, length: int, position: int) -> int:
        return resident_read(self.pages, port.handle, offset, length, position)
