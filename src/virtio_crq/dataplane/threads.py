# SPDX-License-Identifier: Apache-2.0
"""Deferred operations by a few threads, where io_uring is forbidden."""

import os
from collections import deque
from collections.abc import Callable
from errno import EIO
from queue import SimpleQueue
from threading import Thread

import cython

from virtio_crq.dataplane.deferred import Deferred
from virtio_crq.dataplane.kernel import SYNC, transfer
from virtio_crq.dataplane.store import FAILED
from virtio_crq.platform.port import Port

COUNT = 4  # threads of one store


class Threads(Deferred):
    """`run(job)` says how a job is run: by default the store's own threads, started with the first job."""

    def __init__(self, descriptor: int, run: Callable[[Callable[[], None]], None] | None = None) -> None:
        super().__init__()
        self.descriptor = descriptor
        self.event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.ended: deque[tuple[int, int]] = deque()
        self.jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self.pool: list[Thread] = []
        self.run = run if run is not None else self._post

    def queue(self, offset: int, length: int, position: int, operation: int, token: int) -> int:
        job = (self.descriptor, self.port, offset, length, position, operation, token)
        try:
            self.run(lambda: self._finish(job))
        except RuntimeError:  # not one thread can be started
            return FAILED
        return 0

    def _post(self, job: Callable[[], None]) -> None:
        if len(self.pool) < COUNT:
            thread = Thread(target=self._work, name="store", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                if not self.pool:
                    raise
            else:
                self.pool.append(thread)
        self.jobs.put(job)

    def _work(self) -> None:
        while (job := self.jobs.get()) is not None:
            job()

    def _finish(self, job: tuple[int, Port, int, int, int, int, int]) -> None:
        self.ended.append((job[6], self.perform(job)))
        os.eventfd_write(self.event, 1)

    def perform(self, job: tuple[int, Port, int, int, int, int, int]) -> int:
        """The whole operation, waiting as long as it takes; 0 or errno."""
        fd, port, offset, length, position, operation, _ = job
        while True:
            with cython.nogil:
                done = transfer(fd, port, offset, length, position, operation, 0)
            if operation == SYNC or done < 0:
                return -done
            if done == 0:
                return EIO  # the file is shorter than the disk it holds
            if done == length:
                return 0
            offset += done
            length -= done
            position += done

    def reap(self) -> int:
        if not self.ended:
            return 0
        self.token, self.failed = self.ended.popleft()
        return 1

    def wakeup(self) -> int:
        return self.event

    def close(self) -> None:
        for _ in self.pool:
            self.jobs.put(None)
        for thread in self.pool:
            thread.join()
        self.pool = []
        if self.event >= 0:
            os.close(self.event)
            self.event = -1
