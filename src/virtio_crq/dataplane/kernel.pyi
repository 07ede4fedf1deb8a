# SPDX-License-Identifier: Apache-2.0
from typing import final

from virtio_crq.platform.port import Port

READ: int
WRITE: int
WRITE_STABLE: int
SYNC: int

def transfer(fd: int, port: Port, offset: int, length: int, position: int, operation: int, now: int) -> int:
    """One READ, WRITE, WRITE_STABLE or SYNC of own RAM; `now`: only if it need not wait. Drops the GIL."""

def in_memory(fd: int) -> int:
    """Whether the file lies in memory and nowhere else (tmpfs, ramfs), so that it has no disk to wait for."""

def wait(fd: int, nanoseconds: int) -> int:
    """Until it is readable, at most that long; 1, 0, or a negated errno. Drops the GIL."""

def doze(fd: int, nanoseconds: int) -> int:
    """As `wait`, for whoever does not hold the GIL; what made it readable is read."""

def now() -> int:
    """Nanoseconds of the clock that never goes back, for whoever does not hold the GIL."""

def zero(port: Port, offset: int, length: int) -> int: ...
def random(port: Port, offset: int, length: int) -> int: ...

@final
class Memory:
    """Anonymous memory of a size."""

    def __init__(self, size: int) -> None: ...
    def move(self, port: Port, offset: int, length: int, position: int, operation: int) -> int: ...

@final
class Submission:
    """An io_uring; `wakeup` is an eventfd it counts completions on. After `reap()` was 1: `token` and `result`."""

    token: int
    result: int
    def __init__(self, entries: int, wakeup: int) -> None: ...
    def close(self) -> None: ...
    def queue(
        self, fd: int, port: Port, offset: int, length: int, position: int, operation: int, token: int
    ) -> int: ...
    def enter(self) -> int:
        """Hand over what was queued; how much of it the kernel did not take yet, or a negated errno."""
    def reap(self) -> int: ...

def writer_granted(granted: int, waited: int) -> int:
    """How many nanoseconds a writer looks for more next, which was to look for `granted` and waited for `waited`."""

@final
class WriterRing:
    """Writes to `fd` that one thread asks for and reaps, and another makes in order; `wakeup` is an eventfd for the
    first when it sleeps. After `reap()` was 1: `token`, and `result`, 0 (all is written) or a negated errno."""

    token: int
    result: int
    def __init__(self, fd: int, wakeup: int) -> None: ...
    def queue(self, port: Port, offset: int, length: int, position: int, token: int) -> int:
        """0, or a negated errno: EAGAIN when as many as there is room for are neither written nor reaped."""
    def ask(self) -> int:
        """Hand over what was queued."""
    def reap(self) -> int: ...
    def expect(self) -> int:
        """Have the next end told by the eventfd; 1 if one is to be reaped already."""
    def run(self) -> None:
        """The thread that makes them: returns after `stop`, when all that was asked for is written. Drops the GIL."""
    def stop(self) -> None: ...

@final
class ResidentPages:
    """The first `size` bytes of a file, mapped, and which of its pages were in memory lately. One thread's.

    OSError where the file cannot be mapped."""

    def __init__(self, fd: int, size: int) -> None: ...
    @property
    def reads(self) -> int:
        """Made from the mapping."""
    @property
    def forgotten(self) -> int:
        """How often all that was noted was forgotten: a page had left, or the file was shortened."""
    def resize(self, size: int) -> None:
        """The file is this long now; what was noted of it stays."""
    def note(self, position: int, length: int) -> int:
        """These bytes were read without waiting."""
    def read(self, port: Port, offset: int, length: int, position: int) -> int:
        """1: they are in own RAM, from pages that were noted before. 0: read them by a call, and note them then."""
