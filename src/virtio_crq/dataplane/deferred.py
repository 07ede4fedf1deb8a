# SPDX-License-Identifier: Apache-2.0
"""Operations on one descriptor that may wait, and what became of them, in any order."""

from virtio_crq.platform.port import Port


class Deferred:
    """After `reap()` was 1: `token`, and `failed` as errno (0: the whole length was moved).

    `unsent` counts operations that `submit` could not start yet, because the kernel was short of something: call it
    again, nothing else will.
    """

    def __init__(self) -> None:
        self.unsent = 0
        self.token = 0
        self.failed = 0

    def bind(self, port: Port) -> None:
        """Whose memory offsets are into. All ports of a partition are alike in that."""
        self.port = port

    def queue(self, offset: int, length: int, position: int, operation: int, token: int) -> int:
        """Take one operation (see `kernel`); 0, or what the store is to answer: BUSY when there is no room for it now,
        FAILED when it can never be done."""
        return 3

    def submit(self) -> int:
        return 0

    def reap(self) -> int:
        return 0

    def expect(self) -> int:
        """The caller is about to sleep on `wakeup`; 1 if `reap` has something already."""
        return 0

    def wakeup(self) -> int:
        """A descriptor that is readable when `reap` has something."""
        return -1

    def close(self) -> None:
        """Nothing is pending any more: release everything."""
