# SPDX-License-Identifier: Apache-2.0
"""A partition attached to a machine: its own memory, its adapters, a port on each (`platform.partition.Partition`)."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from virtio_crq.platform.partition import AdapterNode, UnitAddress
from virtio_crq.platform.port import Port


class EmulatedPartition:
    """Made by `Machine.attach` in process, or by `from_descriptors` from what the daemon handed over."""

    name: str
    number: int
    memory_size: int
    bus_properties: Mapping[str, bytes]

    @classmethod
    def from_descriptors(cls, description: Mapping[str, Any], descriptors: Sequence[int]) -> Self:
        """`description` and `descriptors` as `Machine.descriptors_for` gave them. The descriptors are not consumed."""
        raise NotImplementedError

    def adapters(self) -> Sequence[AdapterNode]:
        raise NotImplementedError

    def open(self, unit_address: UnitAddress) -> Port:
        """A fresh port, for one thread; PlatformError when there is no such adapter."""
        raise NotImplementedError

    def close(self) -> None:
        """Detach. Open ports keep working until they are dropped."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
