# SPDX-License-Identifier: Apache-2.0
"""A machine in being: state, RAM and doorbells as descriptors. They belong to the definition and outlive partitions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from virtio_crq.hypervisor.definition import MachineDefinition
from virtio_crq.hypervisor.partition import EmulatedPartition
from virtio_crq.platform.partition import UnitAddress


@dataclass(frozen=True)
class Handover:
    """What a partition's process is given: descriptors in the order that `description` (JSON-able) explains."""

    description: dict[str, Any]
    descriptors: tuple[int, ...]  # owned by the machine; send them, do not close them


@dataclass(frozen=True)
class TraceEntry:
    """One hypercall as the engine saw it."""

    sequence: int
    time_ns: int
    partition: int
    unit_address: UnitAddress
    opcode: int
    inputs: tuple[int, ...]  # R4 to R9
    code: int
    outputs: tuple[int, ...]  # R4, R5


class Machine:
    """Built from a definition; `close` gives everything back."""

    definition: MachineDefinition

    def __init__(self, definition: MachineDefinition) -> None:
        raise NotImplementedError

    def attach(self, name: str) -> EmulatedPartition:
        """The partition `name`, in this process."""
        raise NotImplementedError

    def descriptors_for(self, name: str) -> Handover:
        """What another process needs to be the partition `name`."""
        raise NotImplementedError

    def reap(self, name: str) -> bool:
        """Clean up after the partition's death: recover, tell partners (0xFF01), zero RAM.

        False while a live partner's call is still inside one of its windows: call again.
        """
        raise NotImplementedError

    def power_off(self, name: str) -> bool:
        """As `reap`, for a partition that stopped on purpose."""
        raise NotImplementedError

    def counters(self, name: str, unit_address: UnitAddress | None = None) -> Mapping[str, int]:
        """Calls by name, `copies`, `bytes`, `interrupts` of one adapter, or of all the partition's adapters."""
        raise NotImplementedError

    def reset_counters(self) -> None:
        raise NotImplementedError

    def trace_on(self, enabled: bool = True) -> None:
        raise NotImplementedError

    def read_trace(self, after: int = 0) -> list[TraceEntry]:
        """Entries with a sequence above `after`, oldest first; a slow reader loses the oldest."""
        raise NotImplementedError

    def weak_copies(self, seed: int | None) -> None:
        """Every copy in small pieces of random order; None turns it off."""
        raise NotImplementedError

    def prices(self, ns_per_call: int, ns_per_kib: int) -> None:
        """Time that each call and each copied KiB takes, by busy waiting; 0, 0 turns it off."""
        raise NotImplementedError

    def post_event(self, name: str, unit_address: UnitAddress, code: int) -> int:
        """Queue a transport event (0xFF `code`) on an adapter, as the platform would; 0x06 also disables its CRQ."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError
