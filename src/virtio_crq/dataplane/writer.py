# SPDX-License-Identifier: Apache-2.0
"""Deferred writes to one file by a thread of our own.

Where a file system takes no buffered write without waiting (ext4 at 6.18), io_uring hands each to a thread of the
kernel's, which makes all of one file's in turn and interrupts the submitter after each. This thread makes as many, but
what is asked of it and what became of that lies in memory that both sides look at (`writerring.h`): while neither
sleeps, a write costs a write.
"""

import contextlib
import os
from errno import EAGAIN
from threading import Thread

from virtio_crq.dataplane.deferred import Deferred
from virtio_crq.dataplane.kernel import WriterRing
from virtio_crq.dataplane.store import BUSY, FAILED


class Writer(Deferred):
    """Tells by the eventfd `event`, which stays the caller's. Asked of nothing before it `runs`."""

    def __init__(self, descriptor: int, event: int) -> None:
        super().__init__()
        self.event = event
        self.ring = WriterRing(descriptor, event)
        self.processors = os.sched_getaffinity(0)  # a worker that begins the thread may be bound to one of them
        self.thread: Thread | None = None
        self.begun = 0  # 1: it has its thread; -1: none could be started

    def runs(self) -> int:
        """Whether it has its thread, which begins with the first write: if that cannot be started, none ever is."""
        if self.begun == 0:
            self._begin()
        return self.begun > 0

    def _begin(self) -> int:
        thread = Thread(target=self._run, name="writer", daemon=True)
        self.begun = -1
        with contextlib.suppress(RuntimeError):  # there are as many as there may be: others make the writes
            thread.start()
            self.begun, self.thread = 1, thread
        return 0

    def queue(self, offset: int, length: int, position: int, operation: int, token: int) -> int:
        refused = self.ring.queue(self.port, offset, length, position, token)
        if refused == 0:
            self.unsent += 1
            return 0
        return BUSY if refused == -EAGAIN else FAILED

    def submit(self) -> int:
        if self.unsent:
            self.ring.ask()
            self.unsent = 0
        return 0

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # those are not this process's any more: any will do
            os.sched_setaffinity(0, self.processors)
        self.ring.run()

    def reap(self) -> int:
        if not self.ring.reap():
            return 0
        self.token = self.ring.token
        self.failed = -self.ring.result
        return 1

    def expect(self) -> int:
        return self.ring.expect()

    def wakeup(self) -> int:
        return self.event

    def close(self) -> None:
        self.ring.stop()
        if self.thread is not None:
            self.thread.join()
            self.thread = None
