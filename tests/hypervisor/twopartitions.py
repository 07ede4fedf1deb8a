# SPDX-License-Identifier: Apache-2.0
"""A machine of a client, a server and a third party, and the consumer's half of a ring."""

from collections.abc import Sequence
from types import ModuleType

from virtio_crq.hypervisor import binding
from virtio_crq.hypervisor.definition import (
    AdapterDefinition,
    MachineDefinition,
    PartitionDefinition,
    StorageDefinition,
)
from virtio_crq.hypervisor.machine import Machine
from virtio_crq.hypervisor.partition import EmulatedPartition
from virtio_crq.papr.devicetree import parse
from virtio_crq.papr.hypercalls import Hypercall
from virtio_crq.platform.partition import UnitAddress
from virtio_crq.platform.port import Port

PAGE = 4096
RING = 0x10_0000  # where each end keeps its queue: I/O address and RAM offset alike
DATA = 0x20_0000
READ, WRITE, BOTH = 1, 2, 3
COMMAND = 0x80 << 56
MEBIBYTE = 1 << 20


def definition(profile: str = "power9", storage: Sequence[StorageDefinition] = ()) -> MachineDefinition:
    partitions = [PartitionDefinition(name, number, 8 * MEBIBYTE) for number, name in enumerate("csx", 1)]
    adapters = [
        AdapterDefinition("c", "s", 2, 3, 16 * MEBIBYTE, 16 * MEBIBYTE),
        AdapterDefinition("x", "s", 2, 4, 16 * MEBIBYTE, 16 * MEBIBYTE),
    ]
    return MachineDefinition("test", profile, partitions, adapters, storage)


class End:
    """One adapter of an attached partition, with a port, its handles, and where its ring is read next."""

    def __init__(self, partition: EmulatedPartition, unit_address: int, ring_length: int = PAGE) -> None:
        self.unit = UnitAddress(unit_address)
        node = next(node for node in partition.adapters() if node.unit_address == unit_address)
        self.node = parse(node.properties)
        self.liobns = [window.liobn for window in self.node.windows]
        self.port: Port = partition.open(self.unit)
        self.ring_length = ring_length
        self.cursor = 0

    def call(self, operation: Hypercall, *arguments: int) -> int:
        return self.port.call(operation, *arguments)[0]

    def register(self) -> int:
        self.port.write(RING, bytes(self.ring_length))
        self.cursor = 0
        assert self.port.map(RING, RING, self.ring_length, BOTH) == 0
        return self.call(Hypercall.H_REG_CRQ, self.unit, RING, self.ring_length)

    def free(self) -> int:
        code = 1
        for _ in range(1000):
            code = self.call(Hypercall.H_FREE_CRQ, self.unit)
            if code != 1:
                break
        return code

    def peek(self) -> bytes | None:
        if not self.port.acquire8(RING + self.cursor):
            return None
        return self.port.read(RING + self.cursor, 16)

    def take(self, clear_all: bool = False) -> bytes | None:
        entry = self.peek()
        if entry is not None:
            if clear_all:
                self.port.write(RING + self.cursor, bytes(16))
            self.port.release8(RING + self.cursor, 0)
            self.cursor = (self.cursor + 16) % self.ring_length
        return entry

    def take_all(self) -> list[bytes]:
        return list(iter(self.take, None))

    def send(self, number: int) -> int:
        return self.port.send(COMMAND | (number & 0xFFFF_FFFF), ~number & (1 << 64) - 1)


def entry(number: int) -> bytes:
    return (COMMAND | number).to_bytes(8, "big") + (~number & (1 << 64) - 1).to_bytes(8, "big")


def event(code: int) -> bytes:
    """The two bytes by which a transport event is known."""
    return bytes([0xFF, code])


class TwoPartitions:
    """Client `c` and server `s`, attached in this process; `x` is a client of the same server."""

    def __init__(
        self, profile: str = "power9", engine: ModuleType = binding, storage: Sequence[StorageDefinition] = ()
    ) -> None:
        self.machine = Machine(definition(profile, storage), engine)
        self.client = self.machine.attach("c")
        self.server = self.machine.attach("s")
        self.other = self.machine.attach("x")
        self.c = End(self.client, 0x3000_0002)
        self.s = End(self.server, 0x3000_0003)

    def connect(self) -> None:
        assert self.c.register() == 2
        assert self.s.register() == 0
        for end in (self.c, self.s):
            assert end.port.map(DATA, DATA, MEBIBYTE, BOTH) == 0

    def close(self) -> None:
        for partition in (self.client, self.server, self.other):
            partition.close()
        self.machine.close()
