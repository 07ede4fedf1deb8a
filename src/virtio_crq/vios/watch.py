# SPDX-License-Identifier: Apache-2.0
"""A thread that waits for descriptors on behalf of workers, which never do.

It takes nothing and gives nothing: whoever armed a descriptor is woken once, looks for himself, and arms it again.
"""

import os
import select
import threading
from collections.abc import Callable

TICK = 0.25  # seconds between looks at what tells nobody: who has a pty open, and how large its window is
Wake = Callable[[], None]  # called in the watch's thread


class Watch:
    """Any thread may call. The thread begins with the first thing to wait for, and ends with `close`."""

    def __init__(self, tick: float = TICK) -> None:
        self._tick = tick
        self._lock = threading.Lock()
        self._epoll = select.epoll()
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._event, select.EPOLLIN)
        self._armed: dict[int, tuple[int, Wake]] = {}
        self._ticked: list[Wake] = []
        self._thread: threading.Thread | None = None
        self._closing = False

    def arm(self, descriptor: int, mask: int, wake: Wake) -> None:
        """Wake once when the descriptor is ready for `mask`, besides what it was armed for already."""
        with self._lock:
            before, _ = self._armed.get(descriptor, (-1, wake))
            wanted = mask | max(0, before)
            self._armed[descriptor] = wanted, wake
            act = self._epoll.register if before < 0 else self._epoll.modify
            act(descriptor, wanted | select.EPOLLONESHOT)
            self._begin()

    def forget(self, descriptor: int) -> None:
        """Before the descriptor is closed: its number may mean another file afterwards."""
        with self._lock:
            if self._armed.pop(descriptor, None) is not None:
                self._epoll.unregister(descriptor)

    def every_tick(self, look: Wake) -> None:
        with self._lock:
            self._ticked.append(look)
            self._begin()
        os.eventfd_write(self._event, 1)

    def no_tick(self, look: Wake) -> None:
        with self._lock:
            if look in self._ticked:
                self._ticked.remove(look)

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        os.eventfd_write(self._event, 1)
        if self._thread is not None:
            self._thread.join()
        self._epoll.close()
        os.close(self._event)

    def _begin(self) -> None:
        if self._thread is None and not self._closing:
            self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._closing:
            for descriptor, _ in self._epoll.poll(self._tick if self._ticked else None):
                if descriptor == self._event:
                    os.eventfd_read(self._event)
                    continue
                with self._lock:
                    _, wake = self._armed.get(descriptor, (0, None))
                    if wake is not None:
                        self._armed[descriptor] = 0, wake
                if wake is not None:
                    wake()
            for look in list(self._ticked):
                look()
