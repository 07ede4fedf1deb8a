# SPDX-License-Identifier: Apache-2.0
"""Memory that a front-end shares with its back-end: a memfd, and the port through which drivers reach it."""

import fcntl
import mmap
import os

from virtio_crq.platform.hosted import host
from virtio_crq.platform.partition import Arena, BusAddress
from virtio_crq.platform.port import Port

PAGE = 4096
BUS = 1 << 32  # where the device sees the memory; unlike any offset in it, so that no two kinds are mistaken
ADDRESS = 1 << 40  # where the front-end says that it has it: back-ends only subtract it


class Ground:
    """What stands under the port. All of the memory is always shared, so mapping changes nothing and costs nothing."""

    def map(self, bus: int, offset: int, length: int, access: int) -> int:
        return 0

    def unmap(self, bus: int, length: int) -> int:
        return 0

    def signal(self, enabled: int) -> int:
        return 0

    def call(self, operation: int, registers: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        return -2, ()  # there is no hypervisor to be called

    def copy(self, vector: list[tuple[int, int, int, int]]) -> tuple[int, int]:
        return -2, 0  # a driver copies nothing

    def send(self, entries: list[bytes]) -> tuple[int, int]:
        return -2, 0  # and there is no queue of entries

    def fileno(self) -> int:
        return -1


class SharedMemory:
    """`size` bytes, whole pages, all of them the back-end's to read and write."""

    bus = BUS
    address = ADDRESS

    def __init__(self, size: int) -> None:
        self.size = (size + PAGE - 1) // PAGE * PAGE
        self.descriptor = os.memfd_create("vhost-user", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.descriptor, self.size)
        # Whoever got it cannot cut it off below us: an access beyond its end would be a signal, not an error.
        fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        self._view = mmap.mmap(self.descriptor, self.size, mmap.MAP_SHARED | mmap.MAP_POPULATE)
        self.port = Port(host(Ground(), self._view))
        self.arena = Arena(0, self.size, BusAddress(BUS))

    def close(self) -> None:
        self.port.close()
        os.close(self.descriptor)
