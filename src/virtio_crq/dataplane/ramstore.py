# SPDX-License-Identifier: Apache-2.0
"""A disk in the server's memory, gone with the process."""

from virtio_crq.dataplane.kernel import READ, WRITE, Memory
from virtio_crq.dataplane.store import DONE, FAILED, Store
from virtio_crq.platform.port import Port


class RamStore(Store):
    """`RamStore(capacity)`: anonymous memory, allocated when first written."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.memory = Memory(capacity)

    def read(self, port: Port, offset: int, length: int, position: int, token: int) -> int:
        return FAILED if self.memory.move(port, offset, length, position, READ) < 0 else DONE

    def write(self, port: Port, offset: int, length: int, position: int, stable: int, token: int) -> int:
        return FAILED if self.memory.move(port, offset, length, position, WRITE) < 0 else DONE
