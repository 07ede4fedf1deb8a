# SPDX-License-Identifier: Apache-2.0
"""Deferred operations by io_uring."""

import os
from array import array
from errno import EIO

import cython

from virtio_crq.dataplane.deferred import Deferred
from virtio_crq.dataplane.kernel import SYNC, Submission
from virtio_crq.dataplane.store import BUSY, FAILED

DEPTH = 256  # as many slots as submission entries


class Uring(Deferred):
    """Raises OSError where io_uring is missing or forbidden. A short transfer goes on where it stopped."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.descriptor = descriptor
        self.event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        try:
            self.submission = Submission(DEPTH, self.event)
        except OSError:
            os.close(self.event)
            raise
        self.room = DEPTH
        self.free = array("H", range(DEPTH))
        self.offsets = array("Q", bytes(8 * DEPTH))
        self.lengths = array("Q", bytes(8 * DEPTH))
        self.positions = array("Q", bytes(8 * DEPTH))
        self.tokens = array("Q", bytes(8 * DEPTH))
        self.operations = array("Q", bytes(8 * DEPTH))

    def queue(self, offset: int, length: int, position: int, operation: int, token: int) -> int:
        if self.room == 0:
            return BUSY
        self.room -= 1
        slot = self.free[self.room]
        self.offsets[slot] = offset
        self.lengths[slot] = length
        self.positions[slot] = position
        self.tokens[slot] = token
        self.operations[slot] = operation
        return self._push(slot)

    def _push(self, slot: int) -> int:
        # As many entries as slots: there is always one. What is refused all the same never began.
        refused = self.submission.queue(
            self.descriptor,
            self.port,
            self.offsets[slot],
            self.lengths[slot],
            self.positions[slot],
            self.operations[slot],
            slot,
        )
        if refused:
            self.free[self.room] = slot
            self.room += 1
            return FAILED
        self.unsent += 1
        return 0

    def submit(self) -> int:
        if self.unsent:
            with cython.nogil:
                left = self.submission.enter()
            if left < 0:
                raise OSError(-left, os.strerror(-left))
            self.unsent = left
        return 0

    def reap(self) -> int:
        while self.submission.reap():
            slot = self.submission.token
            result = self.submission.result
            self.token = self.tokens[slot]
            self.failed = 0
            if result < 0:
                self.failed = -result
            elif self.operations[slot] != SYNC and result < self.lengths[slot]:
                if result == 0:
                    self.failed = EIO  # the file is shorter than the disk it holds
                else:
                    self.offsets[slot] += result
                    self.lengths[slot] -= result
                    self.positions[slot] += result
                    if self._push(slot) == 0:
                        self.submit()
                        continue
                    self.failed = EIO
                    return 1
            self.free[self.room] = slot
            self.room += 1
            return 1
        return 0

    def wakeup(self) -> int:
        return self.event

    def close(self) -> None:
        self.submission.close()
        if self.event >= 0:
            os.close(self.event)
            self.event = -1
