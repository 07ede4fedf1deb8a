# SPDX-License-Identifier: Apache-2.0
from collections.abc import Sequence
from mmap import mmap
from typing import Protocol

class Target(Protocol):
    """What stands under a hosted port. Codes are the platform's: 0 is success."""

    def call(self, operation: int, registers: tuple[int, ...]) -> tuple[int, Sequence[int]]: ...
    def copy(self, vector: list[tuple[int, int, int, int]]) -> tuple[int, int]:
        """(remote, local, length, outward) each; the code and how many were made."""
    def send(self, entries: list[bytes]) -> tuple[int, int]:
        """16 bytes each; the code and how many were sent."""
    def map(self, bus: int, offset: int, length: int, access: int) -> int: ...
    def unmap(self, bus: int, length: int) -> int: ...
    def signal(self, enabled: int) -> int: ...
    def fileno(self) -> int: ...
    # A platform that makes redirected transfers also has lend(descriptor), reclaim(file) and
    # transfer(file, remote, length, position, write): what each moved, or a negative number.

class QueueTarget(Target, Protocol):
    """A target that has side queues as well; without these methods opening one answers H_Function."""

    def queue_open(self, bus: int, length: int) -> tuple[int, int, int]:
        """The code, the handle that the partner sends to, and the interrupt's number."""
    def queue_close(self, handle: int) -> int: ...
    def queue_send(self, handle: int, record: bytes) -> int:
        """32 bytes."""
    def queue_batch(self, handle: int, bus: int, count: int) -> int: ...
    def queue_signal(self, interrupt: int, enabled: int) -> int: ...

class Host:
    """What a `Port` is opened on."""

    @property
    def capsule(self) -> object:
        """Of this object's seam; it keeps the object alive."""

def host(target: Target, memory: bytearray | memoryview | mmap | int) -> Host: ...
