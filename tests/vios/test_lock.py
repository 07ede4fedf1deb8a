# SPDX-License-Identifier: Apache-2.0
"""The image lock fences a dead server's writes."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from virtio_crq.errors import UsageError
from virtio_crq.vios.lock import PATIENCE, acquire


class JumpingClock:
    """Sleeping moves the clock; `at` runs something when a moment has come."""

    def __init__(self) -> None:
        self.time = 100.0
        self.events: list[tuple[float, Callable[[], None]]] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        for event in [e for e in self.events if e[0] <= self.time]:
            self.events.remove(event)
            event[1]()


@pytest.fixture
def image(tmp_path: Path) -> Iterator[Callable[[], int]]:
    path = tmp_path / "image"
    path.write_bytes(bytes(4096))
    opened: list[int] = []

    def open_again() -> int:
        opened.append(os.open(path, os.O_RDWR))
        return opened[-1]

    yield open_again
    for descriptor in opened:
        try:
            os.close(descriptor)
        except OSError:
            continue


@pytest.mark.clause("CRQ-D-89")
def test_a_second_server_gives_up_after_ten_seconds_and_says_why(image: Callable[[], int]) -> None:
    clock = JumpingClock()
    acquire(image(), "disk", shared=False, clock=clock)
    with pytest.raises(UsageError, match=f"disk: in use by another VIOS, process {os.getpid()} "):
        acquire(image(), "disk", shared=False, clock=clock)
    assert PATIENCE <= clock.time - 100 < PATIENCE + 1


@pytest.mark.clause("CRQ-D-89")
def test_the_lock_passes_on_when_the_last_reference_to_the_open_file_goes(image: Callable[[], int]) -> None:
    clock = JumpingClock()
    first = image()
    acquire(first, "disk", shared=False, clock=clock)
    late_write = os.dup(first)  # what a write still under way holds
    os.close(first)
    clock.events.append((102.0, lambda: os.close(late_write)))
    acquire(image(), "disk", shared=False, clock=clock)
    assert 102.0 <= clock.time < 103.0


def test_readers_share_and_keep_a_writer_out(image: Callable[[], int]) -> None:
    clock = JumpingClock()
    acquire(image(), "disk", shared=True, clock=clock)
    acquire(image(), "disk", shared=True, clock=clock)
    assert clock.time == 100.0
    with pytest.raises(UsageError, match="in use"):
        acquire(image(), "disk", shared=False, clock=clock)


def test_a_child_does_not_keep_the_fence_up(image: Callable[[], int]) -> None:
    descriptor = image()
    os.set_inheritable(descriptor, True)
    acquire(descriptor, "disk", shared=False, clock=JumpingClock())
    assert not os.get_inheritable(descriptor)
