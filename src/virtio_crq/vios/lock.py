# SPDX-License-Identifier: Apache-2.0
"""The image lock is the fence between a dead server's last writes and the next server's first.

A killed server's writes may still land after its process is gone. Every such write holds a reference to the open file
it goes to, and flock(2) is released with the last reference: who holds the lock knows that no older write is under way.
Hence the lock is taken on the very open file that the I/O uses, never on another one or on a lock file beside it.
"""

import fcntl
import os
import time
from pathlib import Path
from typing import Protocol

from virtio_crq.errors import UsageError

PATIENCE = 10.0  # seconds a starting server waits for a predecessor's writes to end
_STEP = 0.05


class Clock(Protocol):
    """Time as the server sees it; tests jump it."""

    def now(self) -> float: ...
    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The real clock."""

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def acquire(descriptor: int, path: str, *, shared: bool, clock: Clock, patience: float = PATIENCE) -> None:
    """Hold the image behind `descriptor`, exclusively or shared with other readers, or say who does.

    The lock goes with the open file: there is nothing to release but the descriptor itself.
    """
    if os.get_inheritable(descriptor):
        # A child that kept the descriptor would hold the fence up after our death.
        os.set_inheritable(descriptor, False)
    operation = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
    deadline = clock.now() + patience
    while True:
        try:
            fcntl.flock(descriptor, operation)
            return
        except BlockingIOError:
            if clock.now() >= deadline:
                known = ", ".join(f"process {pid}" for pid in holders(descriptor))
                who = f"another VIOS, {known}" if known else "another VIOS"
                raise UsageError(f"{path}: in use by {who} (waited {patience:g} s for its lock)") from None
        clock.sleep(_STEP)


def holders(descriptor: int) -> list[int]:
    """Processes that locked the file behind `descriptor`, as far as the kernel tells of them here."""
    status = os.fstat(descriptor)
    file = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        rows = [row.split() for row in Path("/proc/locks").read_text().splitlines()]
    except OSError:
        return []
    # NUMBER: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE …; who waits has an arrow before FLOCK.
    found = {int(row[4]) for row in rows if row[1] == "FLOCK" and row[5] == file}
    return sorted(pid for pid in found if pid > 0)  # others are of another namespace
