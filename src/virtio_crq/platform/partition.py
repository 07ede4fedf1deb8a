# SPDX-License-Identifier: Apache-2.0
"""What a partition may ask of whatever runs it: its own memory, its adapters, and a port on each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NewType, Protocol

from virtio_crq.platform.port import Port

UnitAddress = NewType("UnitAddress", int)
BusAddress = NewType("BusAddress", int)


@dataclass(frozen=True)
class AdapterNode:
    """An adapter as firmware presents it: its unit address and its raw device-tree properties (big-endian cells)."""

    unit_address: UnitAddress
    properties: Mapping[str, bytes]


@dataclass(frozen=True)
class Arena:
    """A stretch of the partition's own RAM that is mapped for the platform: bus = offset - self.offset + self.bus."""

    offset: int
    size: int
    bus: BusAddress


class Partition(Protocol):
    """A running partition. `open` gives a fresh port each time: one per thread and adapter."""

    @property
    def name(self) -> str: ...
    @property
    def number(self) -> int: ...
    @property
    def memory_size(self) -> int: ...
    @property
    def bus_properties(self) -> Mapping[str, bytes]:
        """Properties of the bus node above the adapters (`ibm,max-virtual-dma-size` and the like)."""
        ...

    def adapters(self) -> Sequence[AdapterNode]: ...
    def open(self, unit_address: UnitAddress) -> Port: ...
    def close(self) -> None: ...
