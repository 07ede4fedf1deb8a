# SPDX-License-Identifier: Apache-2.0
"""What a machine is made of: partitions, and adapters that connect two of them. Plain data; checked, never running."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import NAMESPACE_DNS, UUID, uuid5

from virtio_crq.errors import UsageError
from virtio_crq.papr.profiles import profile_named
from virtio_crq.platform.partition import UnitAddress

PAGE = 4096
MEBIBYTE = 1 << 20
UNIT_BASE = 0x3000_0000  # unit addresses are this plus the slot
SLOT_LIMIT = 1 << 16
WINDOW_LIMIT = 1 << 32  # I/O addresses travel in 32 bits (H_VIOCTL), so no window is larger
NODE_TYPES = ("virtio-crq", "vscsi")
CLONABLE_ADAPTERS = 1 << 12
PARTITION_LIMIT = 1 << 20  # ibm,partition-no is 1..2^20-1; 0 is the hypervisor's


def unit_address(slot: int) -> UnitAddress:
    """The unit address of the adapter in `slot`."""
    return UnitAddress(UNIT_BASE + slot)


@dataclass(frozen=True)
class PartitionDefinition:
    """A partition: `memory` bytes of RAM, and the number and name firmware tells it."""

    name: str
    number: int
    memory: int = 64 * MEBIBYTE
    guest: bool = False  # a real kernel runs here: its interrupts are bytes to a terminal

    def uuid(self, machine: str) -> UUID:
        """`ibm,partition-uuid`: stable for the life of the definition."""
        return uuid5(NAMESPACE_DNS, f"{self.number}.{self.name}.{machine}.virtio-crq")


@dataclass(frozen=True)
class AdapterDefinition:
    """A connection: a client adapter in one partition wired to a server adapter in another (or the same) one.

    The server's second pane is as large as the client's window (LoPAR R1-13).
    """

    client: str
    server: str
    client_slot: int
    server_slot: int
    client_window: int = 256 * MEBIBYTE
    server_window: int = 256 * MEBIBYTE
    node: str = "virtio-crq"  # which nodes firmware shows: our own, or "vscsi", which a console can create
    boot: bool = True  # the client finds it when it boots; otherwise it is added to the running partition (DLPAR)

    @property
    def client_unit(self) -> UnitAddress:
        return unit_address(self.client_slot)

    @property
    def server_unit(self) -> UnitAddress:
        return unit_address(self.server_slot)


@dataclass(frozen=True)
class StorageDefinition:
    """A storage adapter of a server partition: its table holds clones of clients' entries (redirected RDMA)."""

    owner: str
    slot: int
    window: int = 256 * MEBIBYTE

    @property
    def unit(self) -> UnitAddress:
        return unit_address(self.slot)


@dataclass(frozen=True)
class MachineDefinition:
    """A machine as the console defines it. `validate` says what is wrong with it in terms of these fields."""

    name: str
    profile: str = "power9"
    partitions: Sequence[PartitionDefinition] = field(default_factory=tuple)
    adapters: Sequence[AdapterDefinition] = field(default_factory=tuple)
    storage: Sequence[StorageDefinition] = field(default_factory=tuple)

    def partition(self, name: str) -> PartitionDefinition:
        for partition in self.partitions:
            if partition.name == name:
                return partition
        raise UsageError(f"machine {self.name} has no partition {name!r}")

    def validate(self) -> None:
        profile_named(self.profile)
        names: set[str] = set()
        numbers: set[int] = set()
        for partition in self.partitions:
            _check(0 < partition.number < PARTITION_LIMIT, f"partition {partition.name}: number {partition.number}")
            _check(partition.name not in names, f"partition {partition.name} is defined twice")
            _check(0 < len(partition.name.encode()) < 64, f"partition name {partition.name!r}: 1 to 63 bytes")
            _check(partition.number not in numbers, f"partition number {partition.number} is used twice")
            _page_multiple(partition.memory, f"partition {partition.name}: memory")
            names.add(partition.name)
            numbers.add(partition.number)
        slots: set[tuple[str, int]] = set()
        for adapter in self.adapters:
            for owner, slot in ((adapter.client, adapter.client_slot), (adapter.server, adapter.server_slot)):
                _check(owner in names, f"adapter names partition {owner!r}, which is not defined")
                _check(0 < slot < SLOT_LIMIT, f"partition {owner}: slot {slot}")
                _check((owner, slot) not in slots, f"partition {owner}: slot {slot} is used twice")
                slots.add((owner, slot))
            _check(adapter.node in NODE_TYPES, f"adapter {adapter.client} to {adapter.server}: node {adapter.node!r}")
            for window in (adapter.client_window, adapter.server_window):
                _page_multiple(window, f"adapter {adapter.client} to {adapter.server}: window")
                _check(window <= WINDOW_LIMIT, f"adapter {adapter.client} to {adapter.server}: window {window:#x}")
        for storage in self.storage:
            _check(storage.owner in names, f"storage adapter names partition {storage.owner!r}, which is not defined")
            _check(0 < storage.slot < SLOT_LIMIT, f"partition {storage.owner}: slot {storage.slot}")
            _check((storage.owner, storage.slot) not in slots, f"partition {storage.owner}: slot {storage.slot} twice")
            slots.add((storage.owner, storage.slot))
            _page_multiple(storage.window, f"storage adapter of {storage.owner}: window")
            _check(storage.window <= WINDOW_LIMIT, f"storage adapter of {storage.owner}: window {storage.window:#x}")
        if self.storage:
            # A clone names its client adapter by 12 bits, and a page of its memory by 28 (the engine's redirect.h).
            _check(
                len(slots) < CLONABLE_ADAPTERS, f"{len(slots)} adapters, at most {CLONABLE_ADAPTERS - 1} with storage"
            )


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise UsageError(message)


def _page_multiple(size: int, what: str) -> None:
    _check(size > 0 and size % PAGE == 0, f"{what} of {size:#x} bytes is not a multiple of {PAGE}")
