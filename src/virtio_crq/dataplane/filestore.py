# SPDX-License-Identifier: Apache-2.0
"""A raw file or a block device.

Reads are tried at once with RWF_NOWAIT, which for cached pages is as fast as reading gets. What would wait is
deferred: to io_uring, or to a few threads where that is forbidden. A worker never waits for a disk. So are writes; but
where a file system takes none at once (ext4 at 6.18), plain ones go to a thread of the store's own, in which they take
their turn, as the file system would have them anyway. Stable ones, which wait for the medium, go the way of reads.

What was read at once is read from a mapping the next time, without any call, while it stays in memory: see
`residentpages.h`.

A file that lies in memory and nowhere else has nothing to wait for, and knows no RWF_NOWAIT either (tmpfs at 6.18): it
is read and written at once. Its pages may be swapped out, but so may those of the partition that the bytes go to.
"""

import contextlib
import os
import select
from errno import EAGAIN, EINTR, EOPNOTSUPP

from virtio_crq.dataplane.deferred import Deferred
from virtio_crq.dataplane.kernel import READ, SYNC, WRITE, WRITE_STABLE, ResidentPages, transfer
from virtio_crq.dataplane.store import DONE, FAILED, PENDING, Store
from virtio_crq.dataplane.threads import Threads
from virtio_crq.dataplane.uring import Uring
from virtio_crq.dataplane.writer import Writer
from virtio_crq.errors import UsageError
from virtio_crq.platform.port import Port

RETRY = 0.001  # seconds until a kernel that was short of something is asked again


def defer(descriptor: int, engine: str) -> Deferred:
    """The means of waiting: "auto" is io_uring, or threads where it is forbidden."""
    if engine == "threads":
        return Threads(descriptor)
    if engine not in ("auto", "uring"):
        raise UsageError(f"engine is auto, uring or threads, not {engine}")
    try:
        return Uring(descriptor)
    except OSError as error:
        if engine == "uring":
            raise UsageError(f"io_uring cannot be used here: {error.strerror}") from error
        return Threads(descriptor)


def mapping(descriptor: int, capacity: int) -> ResidentPages | None:
    """None where memory or the file system has no room for one: calls do as well."""
    try:
        return ResidentPages(descriptor, capacity)
    except OSError:
        return None


class FileStore(Store):
    """Does I/O on `descriptor`, which stays the caller's (the image lock is held on the same open file).

    `engine`: "auto", "uring", "threads", or a Deferred of one's own. `write_now`: try writes without waiting first,
    as reads are. `waits`: it may have to be waited for; if not, it is read and written at once (see `in_memory`).
    `mapped`: it is a regular file, of which pages in memory are read from a mapping, where there can be one.
    `own_writer`: it may have a `writer`, which makes plain writes where none can be tried, or was taken, at once.
    `misses` counts what had to be deferred.
    """

    def __init__(
        self,
        descriptor: int,
        capacity: int,
        engine: str | Deferred = "auto",
        write_now: bool = False,
        waits: bool = True,
        own_writer: bool = False,
        mapped: bool = False,
    ) -> None:
        super().__init__(capacity)
        self.descriptor = descriptor
        self.misses = 0
        self.lent = -1
        self.lent_to: Port | None = None
        self.read_now = 1
        self.write_now = 1 if write_now or not waits else 0
        self.nowait = 1 if waits else 0
        self.turn = 0
        self.deferred = defer(descriptor, engine) if isinstance(engine, str) else engine
        self.writer = Writer(descriptor, self.deferred.wakeup()) if own_writer else None
        self.resident = mapping(descriptor, capacity) if mapped else None

    @property
    def engine(self) -> str:
        """Which means of waiting is in use."""
        return type(self.deferred).__name__.lower()

    def bind(self, port: Port) -> None:
        self.deferred.bind(port)
        if self.writer is not None:
            self.writer.bind(port)

    def resize(self, capacity: int) -> None:
        self.capacity = capacity
        if self.resident is not None:
            self.resident.resize(capacity)

    def lend(self, port: Port) -> int:
        if port is not self.lent_to:
            self._reclaim()
            self.lent = port.lend(self.descriptor)
            self.lent_to = port
        return self.lent

    def _reclaim(self) -> None:
        if self.lent_to is not None and self.lent >= 0:
            self.lent_to.reclaim(self.lent)
        self.lent_to, self.lent = None, -1

    def read(self, port: Port, offset: int, length: int, position: int, token: int) -> int:
        if self.resident is not None and self.resident.read(port, offset, length, position):
            return DONE
        if self.read_now:
            done = transfer(self.descriptor, port, offset, length, position, READ, self.nowait)
            if done == length:
                if self.resident is not None:
                    self.resident.note(position, length)
                return DONE
            if done > 0:
                return self._defer(offset + done, length - done, position + done, READ, token)
            if done == 0:
                return FAILED  # the file is shorter than the disk it holds
            if done == -EOPNOTSUPP:  # this file system always waits
                self.read_now = 0
            elif done != -EAGAIN and done != -EINTR:
                return FAILED
        return self._defer(offset, length, position, READ, token)

    def write(self, port: Port, offset: int, length: int, position: int, stable: int, token: int) -> int:
        operation = WRITE_STABLE if stable else WRITE
        if self.write_now and not stable:
            done = transfer(self.descriptor, port, offset, length, position, operation, self.nowait)
            if done == length:
                return DONE
            if done > 0:
                return self._defer(offset + done, length - done, position + done, operation, token)
            if done == -EOPNOTSUPP:
                self.write_now = 0
            elif done != -EAGAIN and done != -EINTR:
                return FAILED
        if self.writer is None or self.write_now or stable or not self.writer.runs():
            return self._defer(offset, length, position, operation, token)
        return self._count(self.writer.queue(offset, length, position, operation, token))

    def sync(self, port: Port, token: int) -> int:
        return self._defer(0, 0, 0, SYNC, token)

    def _defer(self, offset: int, length: int, position: int, operation: int, token: int) -> int:
        return self._count(self.deferred.queue(offset, length, position, operation, token))

    def _count(self, answer: int) -> int:
        if answer != DONE:
            return answer
        self.misses += 1
        self.pending += 1
        return PENDING

    def submit(self) -> int:
        if self.pending:
            self.deferred.submit()
            self.unsent = self.deferred.unsent
            if self.writer is not None:
                self.writer.submit()
        return 0

    def reap(self) -> int:
        if not self.pending:
            return 0
        if self.writer is None:
            return self._reap(self.deferred)
        self.turn ^= 1  # by turns: who reaps only some at a time reaps of both
        if self.turn:
            return self._reap(self.writer) or self._reap(self.deferred)
        return self._reap(self.deferred) or self._reap(self.writer)

    def _reap(self, deferred: Deferred) -> int:
        if not deferred.reap():
            return 0
        self.token = deferred.token
        self.result = FAILED if deferred.failed else DONE
        self.pending -= 1
        return 1

    def expect(self) -> int:
        found = self.deferred.expect()
        return found if found or self.writer is None else self.writer.expect()

    def wakeup(self) -> int:
        return self.deferred.wakeup()

    def close(self) -> None:
        """Waits for what is pending: a write must not land after somebody else took the image over."""
        while self.pending:
            self.submit()
            poll = select.poll()  # select() would refuse descriptors beyond 1023
            poll.register(self.wakeup(), select.POLLIN)
            if not self.reap() and not self.expect() and poll.poll(1000 * (RETRY if self.unsent else 1)):
                with contextlib.suppress(BlockingIOError):  # woken for nothing: a slow disk takes its time
                    os.eventfd_read(self.wakeup())
        self._reclaim()
        if self.writer is not None:
            self.writer.close()
        self.deferred.close()
        self.resident = None
