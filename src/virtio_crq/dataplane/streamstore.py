# SPDX-License-Identifier: Apache-2.0
"""Wakes the queues of a console: somebody at the far end did something, so each of them looks again."""

import os

from virtio_crq.dataplane.store import Store


class StreamStore(Store):
    """Stores nothing. `knock` may be called by any thread; all the rest belongs to the worker's."""

    def __init__(self) -> None:
        super().__init__(0)
        self.event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.cursor = 0
        self.knocked = 0

    def knock(self) -> None:
        """Have every queue look at its terminal again."""
        self.knocked = 1
        self.pending = 1
        if self.event >= 0:
            os.eventfd_write(self.event, 1)

    def reap(self) -> int:
        """One owner after the other; one that is knocked again meanwhile is due in the next turn."""
        if self.cursor == 0:
            self.knocked = 0
        while self.cursor < len(self.owners):
            tag = self.cursor
            self.cursor += 1
            if self.owners[tag] is not None:
                self.token = tag << 16
                return 1
        self.cursor = 0
        self.pending = self.knocked
        return 0

    def wakeup(self) -> int:
        return self.event

    def close(self) -> None:
        if self.event >= 0:
            os.close(self.event)
            self.event = -1
