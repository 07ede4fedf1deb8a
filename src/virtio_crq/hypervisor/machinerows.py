# SPDX-License-Identifier: Apache-2.0
"""What a machine file says, once it is checked: a row for each of its tables."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from virtio_crq.axes import COPY, DATA
from virtio_crq.errors import UsageError
from virtio_crq.hypervisor.definition import (
    AdapterDefinition,
    MachineDefinition,
    PartitionDefinition,
    StorageDefinition,
)
from virtio_crq.papr.profiles import Profile


@dataclass(frozen=True)
class PartitionRow:
    name: str
    number: int
    memory: int
    server: bool  # the server end of some adapter: an I/O server
    pin: int | None = None
    workers: int | None = None  # how a server works; None is the server's own default
    polling: int | None = None
    fetch: str | None = None
    ring: str | None = None
    carrier: str | None = None
    gathering: int | None = None
    data: str | None = None
    map: str | None = None  # clients of ours
    guest: bool = False  # a real kernel runs here
    vcpus: int = 1
    kernel: str = ""  # a path, counted from the machine file, or the name of one of the lab's kernels; "": not said
    initrd: Path | None = None
    command_line: str = ""


@dataclass(frozen=True)
class AdapterRow:
    """A client adapter and the server adapter it is wired to."""

    client: str
    slot: int
    server: str
    server_slot: int
    window: int
    node: str
    where: str = ""  # FILE:LINE, for messages
    boot: bool = True  # in the client's device tree when it boots


@dataclass(frozen=True)
class StorageRow:
    """A storage adapter of a server."""

    server: str
    slot: int
    window: int


@dataclass(frozen=True)
class MapRow:
    """What the I/O server reads further: `backing` is its own syntax; `where` is FILE:LINE for its messages."""

    client: str
    target: str
    backing: str
    readonly: bool
    device: str
    server: str
    where: str
    ports: tuple[str, ...] = ()  # of a console, beyond its first
    queues: int | None = None  # of a disk; None is the server's own default
    places: Mapping[str, str] = field(default_factory=dict)  # where each key stands


@dataclass(frozen=True)
class MachineFile:
    path: Path
    name: str
    profile: Profile
    call_ns: int
    kib_ns: int
    weak_copies: int | None  # seed
    partitions: tuple[PartitionRow, ...]
    adapters: tuple[AdapterRow, ...]
    maps: tuple[MapRow, ...]
    storage: tuple[StorageRow, ...] = ()

    def definition(self) -> MachineDefinition:
        """The console's part, for the hypervisor."""
        return MachineDefinition(
            name=self.name,
            profile=self.profile.name,
            partitions=tuple(
                PartitionDefinition(row.name, row.number, row.memory, row.guest) for row in self.partitions
            ),
            adapters=tuple(
                AdapterDefinition(
                    row.client,
                    row.server,
                    row.slot,
                    row.server_slot,
                    client_window=row.window,
                    server_window=row.window,
                    node=row.node,
                    boot=row.boot,
                )
                for row in self.adapters
            ),
            storage=tuple(StorageDefinition(row.server, row.slot, row.window) for row in self.storage),
        )

    def partition(self, name: str) -> PartitionRow:
        for row in self.partitions:
            if row.name == name:
                return row
        raise UsageError(f"{self.path}: no partition {name!r}; there are {', '.join(r.name for r in self.partitions)}")

    def servers(self) -> tuple[PartitionRow, ...]:
        """Partitions in which our I/O server runs: not those that serve by drivers of a real kernel."""
        return tuple(row for row in self.partitions if row.server and not row.guest)

    def guests(self) -> tuple[PartitionRow, ...]:
        return tuple(row for row in self.partitions if row.guest)

    def clients(self) -> tuple[PartitionRow, ...]:
        named = {row.client for row in self.adapters}
        return tuple(row for row in self.partitions if row.name in named)

    def data_of(self, server: str) -> str:
        """How the data of files moves: as the file says, or as well as the server's adapters can."""
        best = DATA.server[0] if any(row.server == server for row in self.storage) else COPY
        return self.partition(server).data or best

    def maps_of(self, server: str) -> tuple[MapRow, ...]:
        return tuple(row for row in self.maps if row.server == server)
