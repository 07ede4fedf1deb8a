# SPDX-License-Identifier: Apache-2.0
"""A thread that serves connections, with one sleep for all of them.

    turn over all links ── work ──► turn …
         │ nothing for `polling` microseconds
         ▼
    signal(1) on each ──► look once more ──► epoll ──► signal(0) on those that woke ──► turn …

An entry that comes between the last look and the sleep finds the interrupt on; one that came before it was turned on
makes the platform raise it then (edge interrupts signal at unmask). So nothing is slept over.
"""

import contextlib
import logging
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

import cython

from virtio_crq.dataplane.kernel import wait
from virtio_crq.dataplane.link import Link
from virtio_crq.errors import VirtioCrqError
from virtio_crq.platform.port import give_way, pause

log = logging.getLogger("virtio_crq.dataplane")
T = TypeVar("T")
SPINS = 32  # pauses between two looks, with the interpreter's lock released


class Worker:
    """`polling` is how long it looks for work before it sleeps, in microseconds; None: it never does, unless it has no
    connections, when it would only take time from those that have.

    An error in a turn of one connection ends the service of that one: it is dropped and its `on_failure` is called.
    `failures` counts these, `sleeps` counts sleeps. `failure` is what ended the thread, if anything but `stop` did;
    `on_end` is called when that happens.
    """

    def __init__(self, name: str, polling: int | None = 50, on_end: Callable[[], None] = lambda: None) -> None:
        self.name = name
        self.polling = polling
        self.links: list[Link] = []
        self.sleeps = 0
        self.failures = 0
        self.on_end = on_end
        self.failure: BaseException | None = None
        self._stopping = False
        self._requests: deque[Callable[[], None]] = deque()
        self._ending = threading.Lock()
        self._epoll: select.epoll | None = None
        self._awaited: dict[int, Link | None] = {}
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    # --- any thread ---

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def add(self, link: Link) -> None:
        """Serve this connection from now on (any thread)."""
        self.call(lambda: self._take(link))

    def remove(self, link: Link) -> None:
        """Serve it no more; returns when the worker no longer touches it (any thread)."""
        self.call(lambda: self._drop(link))

    def call(self, work: Callable[[], T]) -> T:
        """Run `work` in the worker's thread, between two turns, and return what it returns (any thread)."""
        if threading.current_thread() is self._thread or not self._thread.is_alive():
            return work()
        outcome: list[Any] = []
        failed: list[BaseException] = []
        ended = threading.Event()

        def run() -> None:
            try:
                outcome.append(work())
            except BaseException as error:
                failed.append(error)
            ended.set()

        self._requests.append(run)
        self.wake()
        while not ended.wait(0.1):
            if not self._thread.is_alive():
                raise VirtioCrqError(f"worker {self.name} has ended") from self.failure
        if failed:
            raise failed[0]
        answer: T = outcome[0]
        return answer

    def wake(self) -> None:
        """Have the worker look at everything (any thread)."""
        with self._ending:
            if self._event >= 0:
                os.eventfd_write(self._event, 1)

    def stop(self) -> None:
        """End the thread after its current turn."""
        self._stopping = True
        self.wake()
        if threading.current_thread() is self._thread:
            return
        if self._thread.is_alive():
            self._thread.join()
        with self._ending:
            if self._event >= 0:
                os.close(self._event)
                self._event = -1

    # --- the worker's own thread ---

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._answer()
                if self.serve():
                    continue
                if self.polling is None and self.links:
                    continue
                if not self.links or not self._spin(self.polling or 0):
                    self._sleep()
        except BaseException as error:
            self.failure = error
            log.exception("worker %s has ended", self.name)
            self.on_end()
        finally:
            self._answer()
            self._unwire()

    def _answer(self) -> None:
        while self._requests:
            self._requests.popleft()()

    def _take(self, link: Link) -> None:
        self.links.append(link)
        self._unwire()

    def _drop(self, link: Link) -> None:
        if link in self.links:
            self.links.remove(link)
            self._unwire()

    def serve(self) -> int:
        """One turn of every link; 0 when there was nothing to do."""
        moved = 0
        for link in self.links:
            try:
                moved += link.turn()
            except Exception as error:
                self._give_up(link, error)
                return 1
        with cython.nogil:
            for _ in range(SPINS if moved == 0 else 1):
                pause()
            if moved == 0:
                give_way()
        return moved

    def _give_up(self, link: Link, error: Exception) -> None:
        """An error that no rule foresees: nobody knows what state this connection is in, so it is turned no more."""
        self.failures += 1
        self._drop(link)
        link.port.signal(0)
        link.on_failure(error)

    def _spin(self, microseconds: int) -> bool:
        """Whether work came within that time."""
        end = time.monotonic_ns() + 1000 * microseconds
        while time.monotonic_ns() < end:
            if self.serve() or self._requests:
                return True
        return False

    def _sleep(self) -> None:
        for link in self.links:
            if not link.armed:
                link.port.signal(1)
                link.armed = 1
        if self._look() or self._requests or self._stopping:
            return
        self.sleeps += 1
        epoll = self._rewired()
        limit = 0.001 if any(link.unsaid for link in self.links) else -1
        due = min((link.due for link in self.links if link.due), default=0)
        if due:
            wait(epoll.fileno(), due - time.monotonic_ns())
            limit = 0
        for descriptor, _ in epoll.poll(limit):
            with contextlib.suppress(BlockingIOError):
                os.read(descriptor, 8)
            woken = self._awaited[descriptor]
            if woken is not None and woken.armed:
                woken.port.signal(0)
                woken.armed = 0

    def _look(self) -> int:
        """The last look: what came while the interrupts were being turned on."""
        moved = 0
        for link in self.links:
            try:
                found = link.turn()
            except Exception as error:
                self._give_up(link, error)
                return 1
            if found and link.armed:
                link.port.signal(0)
                link.armed = 0
            moved += found
        return moved

    def _rewired(self) -> select.epoll:
        """What is slept on: made anew when connections or queues changed: a number may mean another file now."""
        if self._epoll is not None and not any(link.rewired for link in self.links):
            return self._epoll
        self._unwire()
        self._awaited = {self._event: None}
        for link in self.links:
            link.rewired = 0
            self._awaited.update(dict.fromkeys(link.wakeups()))
            self._awaited[link.port.fileno()] = link
        self._epoll = select.epoll()
        for descriptor in self._awaited:
            self._epoll.register(descriptor, select.EPOLLIN)
        return self._epoll

    def _unwire(self) -> None:
        if self._epoll is not None:
            self._epoll.close()
            self._epoll = None
