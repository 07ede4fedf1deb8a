# SPDX-License-Identifier: Apache-2.0
"""A disk in the server's memory, gone with the process."""

from virtio_crq.dataplane.kernel import Memory
from virtio_crq.dataplane.store import Store
from virtio_crq.platform.port import Port


class RamStore(Store):
    """`RamStore(capacity)`: anonymous memory, allocated when first written."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.memory = Memory(capacity)

    def read(self, port: Port, offset: int, length: int, position: int, token: int) -> int:
        return 2 if self.memory.move(port, offset, length, position, 0) < 0 else 0

    def write(self, port: Port, offset: int, length: int, position: int, stable: int, token: int) -> int:
        return 2 if self.memory.move(port, offset, length, position, 1) < 0 else 0
