# SPDX-License-Identifier: Apache-2.0
"""A hosted port calls its target, and nothing else, for what the platform does."""

import gc
import os
import weakref

import pytest

from virtio_crq.errors import OutOfBounds
from virtio_crq.platform.hosted import host
from virtio_crq.platform.port import Port


class Recorder:
    """A target that answers from a table and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.event = os.eventfd(0, os.EFD_NONBLOCK)

    def call(self, operation: int, registers: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        self.asked.append((operation, registers))
        return 2, (7, 8)

    def copy(self, vector: list[tuple[int, int, int, int]]) -> tuple[int, int]:
        self.asked.append(vector)
        return -13, 1

    def send(self, entries: list[bytes]) -> tuple[int, int]:
        self.asked.append(entries)
        return 0, len(entries)

    def map(self, bus: int, offset: int, length: int, access: int) -> int:
        self.asked.append((bus, offset, length, access))
        return 0

    def unmap(self, bus: int, length: int) -> int:
        raise ValueError("scripted")

    def signal(self, enabled: int) -> int:
        self.asked.append(enabled)
        return 0

    def fileno(self) -> int:
        return self.event


def test_each_call_reaches_the_target_with_its_arguments() -> None:
    target, memory = Recorder(), bytearray(8192)
    port = Port(host(target, memory))
    assert port.call(0xFC, 1, 2) == (2, (7, 8, 0, 0, 0, 0, 0, 0, 0))
    port.stage(0x1000, 0x2000, 16, 1)
    port.stage(0x3000, 0x4000, 8, 0)
    assert (port.flush(), port.done) == (-13, 1)
    assert port.send(0x80 << 56, 5) == 0
    assert port.map(0, 4096, 4096, 3) == 0
    assert port.signal(1) == 0
    assert port.fileno() == target.event
    assert target.asked == [
        (0xFC, (1, 2, 0, 0, 0, 0, 0, 0, 0)),
        [(0x1000, 0x2000, 16, 1), (0x3000, 0x4000, 8, 0)],
        [b"\x80" + bytes(14) + b"\x05"],
        (0, 4096, 4096, 3),
        1,
    ]


class Queued(Recorder):
    """A target with side queues."""

    def queue_open(self, bus: int, length: int) -> tuple[int, int, int]:
        self.asked.append(("open", bus, length))
        return 0, 1 << 32 | 5, 77

    def queue_close(self, handle: int) -> int:
        self.asked.append(("close", handle))
        return 1

    def queue_send(self, handle: int, record: bytes) -> int:
        self.asked.append((handle, record))
        return -12

    def queue_batch(self, handle: int, bus: int, count: int) -> int:
        self.asked.append((handle, bus, count))
        return -4

    def queue_signal(self, interrupt: int, enabled: int) -> int:
        self.asked.append((interrupt, enabled))
        return 0


def test_side_queues_reach_the_target_that_has_them() -> None:
    target, memory = Queued(), bytearray(8192)
    port = Port(host(target, memory))
    record = bytes([0x80, *range(1, 32)])
    port.write(4096, record)
    assert port.queue_open(0x3000, 4096) == (0, 1 << 32 | 5, 77)
    assert port.queue_send(1 << 32 | 5, 4096) == -12
    assert port.queue_batch(9, 0x1000, 16) == -4
    assert port.queue_signal(77, 1) == 0
    assert port.queue_close(9) == 1
    assert target.asked == [("open", 0x3000, 4096), (1 << 32 | 5, record), (9, 0x1000, 16), (77, 1), ("close", 9)]
    with pytest.raises(OutOfBounds):
        port.queue_send(9, 8192 - 31)
    port.close()
    assert port.queue_open(0, 4096) == (-1, 0, 0)


def test_a_target_without_side_queues_says_so() -> None:
    assert Port(host(Recorder(), bytearray(4096))).queue_open(0, 4096) == (-2, 0, 0)


def test_the_port_works_on_the_given_memory_and_on_nothing_past_it() -> None:
    memory = bytearray(8192)
    port = Port(host(Recorder(), memory))
    port.store16(4096, 0x1234)
    assert memory[4096:4098] == b"\x34\x12"
    with pytest.raises(OutOfBounds):
        port.load8(8192)


def test_memory_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(BufferError, match="is written"):
        host(Recorder(), bytes(4096))  # type: ignore[arg-type]


def test_a_memfd_is_mapped_and_shared() -> None:
    descriptor = os.memfd_create("ram")
    os.ftruncate(descriptor, 4096)
    Port(host(Recorder(), descriptor)).write(0, b"seen")
    assert os.pread(descriptor, 4, 0) == b"seen"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_exception_in_the_target_is_a_hardware_error() -> None:
    assert Port(host(Recorder(), bytearray(4096))).unmap(0, 4096) == -1


def test_the_target_dies_with_the_last_port() -> None:
    target = Recorder()
    gone = weakref.ref(target)
    port = Port(host(target, bytearray(4096)))
    del target
    assert gone() is not None
    del port
    assert gone() is None


def test_a_port_that_was_opened_on_the_capsule_alone_keeps_its_target() -> None:
    target = Recorder()
    lives = weakref.ref(target)
    port = Port(host(target, bytearray(4096)).capsule)
    del target
    gc.collect()
    assert lives() is not None
    port.store64(8, 1)
    assert port.load64(8) == 1
    del port
    gc.collect()
    assert lives() is None


def test_a_target_that_knows_its_port_is_collected_with_it() -> None:
    target = Recorder()
    gone = weakref.ref(target)
    target.asked.append(Port(host(target, bytearray(4096))))
    del target
    gc.collect()
    assert gone() is None
