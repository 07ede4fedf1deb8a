# SPDX-License-Identifier: Apache-2.0
"""A thread that serves connections, with one sleep for all of them."""

from collections.abc import Callable
from typing import TypeVar

from virtio_crq.dataplane.link import Link

T = TypeVar("T")


class Worker:
    """`polling` is how long it looks for work before it sleeps, in microseconds; None: it never sleeps."""

    def __init__(self, name: str, polling: int | None = 50) -> None:
        raise NotImplementedError

    def start(self) -> None:
        """Start the thread."""
        raise NotImplementedError

    def add(self, link: Link) -> None:
        """Serve this connection from now on (any thread)."""
        raise NotImplementedError

    def remove(self, link: Link) -> None:
        """Serve it no more; returns when the worker no longer touches it (any thread)."""
        raise NotImplementedError

    def call(self, work: Callable[[], T]) -> T:
        """Run `work` in the worker's thread, between two turns, and return what it returns (any thread)."""
        raise NotImplementedError

    def stop(self) -> None:
        """End the thread after its current turn."""
        raise NotImplementedError
