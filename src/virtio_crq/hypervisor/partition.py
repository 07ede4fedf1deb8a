# SPDX-License-Identifier: Apache-2.0
"""A partition attached to a machine: its own memory, its adapters, a port on each (`platform.partition.Partition`)."""

from collections.abc import Mapping, Sequence
from types import ModuleType, TracebackType
from typing import Any, Self
from weakref import WeakSet

from virtio_crq.errors import PlatformError
from virtio_crq.hypervisor import binding
from virtio_crq.platform.partition import AdapterNode, UnitAddress
from virtio_crq.platform.port import Port


class EmulatedPartition:
    """Made by `Machine.attach` in process, or by `from_descriptors` from what the daemon handed over."""

    def __init__(
        self, description: Mapping[str, Any], attachment: binding.Attachment, engine: ModuleType = binding
    ) -> None:
        self._attachment = attachment
        self._engine: Any = engine
        self._ports: WeakSet[Port] = WeakSet()
        self.name: str = description["name"]
        self.number: int = description["number"]
        self.memory_size: int = description["memory"]
        self.bus_properties: Mapping[str, bytes] = _properties(description["bus"])
        self._adapters = tuple(
            AdapterNode(UnitAddress(row["unit_address"]), _properties(row["properties"]))
            for row in description["adapters"]
        )

    @classmethod
    def from_descriptors(
        cls, description: Mapping[str, Any], descriptors: Sequence[int], engine: ModuleType = binding
    ) -> Self:
        """`description` and `descriptors` as `Machine.descriptors_for` gave them. The descriptors are not consumed."""
        if len(descriptors) != len(description["descriptors"]):
            raise PlatformError(
                "attach", -1, f"{len(descriptors)} descriptors came, {len(description['descriptors'])} were announced"
            )
        attachment = engine.Attachment(descriptors[0], description["index"])
        for row, descriptor in zip(description["descriptors"], descriptors, strict=True):
            if row["what"] == "ram":
                attachment.add_ram(row["partition"], descriptor)
            elif row["what"] == "doorbell":
                attachment.add_doorbell(row["adapter"], descriptor, row["kind"])
            elif row["what"] == "receiver":
                attachment.add_receiver(row["adapter"], descriptor)
        return cls(description, attachment, engine)

    def adapters(self) -> Sequence[AdapterNode]:
        return self._adapters

    def open(self, unit_address: UnitAddress) -> Port:
        """A fresh port, for one thread; PlatformError when there is no such adapter."""
        port = Port(self._attachment.open(unit_address))
        self._ports.add(port)
        return port

    def call_as_guest(self, opcode: int, *arguments: int, alarm: float = 1.0, limit: float = 10.0) -> int:
        """As a guest's virtual processor calls: a TCE call waits where it would answer H_Busy. Times in seconds."""
        return self._attachment.call_as_guest(opcode, arguments, alarm, limit)

    def measure(self, unit_address: UnitAddress, what: str, rounds: int, length: int) -> float:
        """Nanoseconds per call on a port of its own: `c` copies, `p` maps and unmaps, `s` sends."""
        return binding.measure(self._attachment.open(unit_address), what, rounds, length)

    def transfer(self, unit: UnitAddress, storage: UnitAddress, ioba: int, length: int, file: int, writes: bool) -> int:
        """One transfer of the file's first bytes by the clones at `ioba` of a storage adapter; bytes, or -errno."""
        answer: int = self._engine.transfer(self._attachment.open(unit), storage, ioba, length, file, int(writes))
        return answer

    def close(self) -> None:
        """Detach and close all ports: whatever still refers to one holds neither memory nor doorbells by it."""
        for port in list(self._ports):
            port.close()
        self._attachment.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _properties(encoded: Mapping[str, str]) -> Mapping[str, bytes]:
    return {name: bytes.fromhex(value) for name, value in encoded.items()}
