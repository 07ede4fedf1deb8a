# SPDX-License-Identifier: Apache-2.0
"""A machine in being: state, RAM and doorbells as descriptors. They belong to the definition and outlive partitions."""

import contextlib
import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from virtio_crq.errors import PlatformError, UsageError
from virtio_crq.hypervisor import binding, firmware
from virtio_crq.hypervisor.definition import PAGE, MachineDefinition
from virtio_crq.hypervisor.partition import EmulatedPartition
from virtio_crq.papr.profiles import profile_named
from virtio_crq.papr.returncodes import ReturnCode
from virtio_crq.platform.partition import AdapterNode, UnitAddress

TRACE_ENTRIES = 4096
PORTS_PER_ADAPTER = 16  # of the engine (state.h); each may have a page for TCE lists behind the visible RAM
EVENTFD, BYTE = 0, 1  # kinds of doorbells, enum hv_doorbell_kind of the engine
QUEUE_STATES = ("closed", "open", "disabled", "closing")  # enum hv_crq of the engine (state.h)


@dataclass(frozen=True)
class Handover:
    """What a partition's process is given: descriptors in the order that `description` (JSON-able) explains."""

    description: dict[str, Any]
    descriptors: tuple[int, ...]  # owned by the machine; send them, do not close them


@dataclass(frozen=True)
class Doorbell:
    """An adapter's interrupt outside its partition: where partners ring it, and where its partition hears it."""

    kind: int
    rung: int
    heard: int

    def silence(self) -> None:
        """Forget what was rung and not heard."""
        with contextlib.suppress(BlockingIOError):
            if self.kind == EVENTFD:
                os.eventfd_read(self.heard)
                return
            while os.read(self.heard, 4096):
                pass


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
    """Built from a definition; `close` gives everything back. `engine` is `binding`, or the build with stop points."""

    def __init__(self, definition: MachineDefinition, engine: ModuleType = binding) -> None:
        definition.validate()
        self.definition = definition
        self._engine = engine
        self._index = {partition.name: place for place, partition in enumerate(definition.partitions)}
        if not self._index:
            raise UsageError(f"machine {definition.name} has no partitions")
        self._adapters = firmware.adapters(definition)
        self._owned: list[int] = []
        self._consoles: dict[str, binding.Attachment] = {}
        self._state = self._own(self._create())
        self._memory = [
            self._own(engine.memory(f"virtio-crq-{partition.name}".encode(), self._ram_size(place)))
            for place, partition in enumerate(definition.partitions)
        ]
        self._doorbells = [self._doorbell(end) for end in self._adapters]

    def _own(self, descriptor: int) -> int:
        self._owned.append(descriptor)
        return descriptor

    def _doorbell(self, end: firmware.Adapter) -> Doorbell:
        """A real kernel hears bytes that its terminal's interrupt tells of; everybody else an eventfd."""
        if self.definition.partitions[end.partition].guest:
            rung, heard = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            return Doorbell(BYTE, self._own(rung.detach()), self._own(heard.detach()))
        event = self._own(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
        return Doorbell(EVENTFD, event, event)

    def _ends(self, place: int) -> list[firmware.Adapter]:
        return [adapter for adapter in self._adapters if adapter.partition == place]

    def _ram_size(self, place: int) -> int:
        return self.definition.partitions[place].memory + PAGE * PORTS_PER_ADAPTER * len(self._ends(place))

    def _create(self) -> int:
        facts = profile_named(self.definition.profile)
        partitions = []
        for place, partition in enumerate(self.definition.partitions):
            identity = partition.uuid(self.definition.name).int
            partitions.append(
                (
                    partition.name.encode(),
                    partition.number,
                    len(self._ends(place)),
                    partition.memory,
                    identity >> 64,
                    identity & (1 << 64) - 1,
                )
            )
        adapters = [
            (end.partition, end.partner, end.unit_address, int(end.server), end.window, end.location.encode())
            for end in self._adapters
        ]
        numbers = (
            facts.max_copy,
            facts.copy_granularity,
            facts.cross_pane_copy,
            facts.closed_pane_permission,
            facts.event_slot_reserved,
            facts.overwritten_mark,
            facts.signal_refuses_unknown_bits,
            facts.stuff_limit,
            facts.redirected_mappings,
            facts.bit_bucket,
            facts.sub_crq_queues,
            facts.sub_crq_indirect_limit,
        )
        faults = [(fault.call, fault.code, fault.period) for fault in facts.faults]
        storage = [end.index for end in self._adapters if end.node == firmware.STORAGE]
        descriptor: int = self._engine.create(
            partitions, adapters, numbers, list(facts.absent_calls), faults, TRACE_ENTRIES, storage
        )
        return descriptor

    def attach(self, name: str) -> EmulatedPartition:
        """The partition `name`, in this process."""
        handover = self.descriptors_for(name)
        return EmulatedPartition.from_descriptors(handover.description, handover.descriptors, self._engine)

    def descriptors_for(self, name: str) -> Handover:
        """What another process needs to be the partition `name`: nothing of partitions it has no connection to."""
        definition = self.definition.partition(name)
        place = self._index[name]
        ends = self._ends(place)
        partners = [end.partner for end in ends if end.partner != firmware.NO_PARTNER]
        reach = sorted({place} | {self._adapters[partner].partition for partner in partners})
        bells = sorted({end.index for end in ends} | set(partners))
        rows: list[dict[str, Any]] = [{"what": "state"}]
        rows += [{"what": "ram", "partition": partition} for partition in reach]
        rows += [{"what": "doorbell", "adapter": bell, "kind": self._doorbells[bell].kind} for bell in bells]
        heard = [end.index for end in ends if self._doorbells[end.index].kind == BYTE]
        rows += [{"what": "receiver", "adapter": bell} for bell in heard]
        queues = profile_named(self.definition.profile).sub_crq_queues
        description = {
            "machine": self.definition.name,
            "name": name,
            "number": definition.number,
            "index": place,
            "memory": definition.memory,
            "uuid": str(definition.uuid(self.definition.name)),
            "bus": _hex(firmware.bus(self.definition)),
            "functions": sorted(profile_named(self.definition.profile).function_sets()),
            "guest": definition.guest,
            "adapters": [
                {**_node(firmware.node(end, 0 if definition.guest else queues)), "index": end.index, "boot": end.boot}
                for end in ends
            ],
            "descriptors": rows,
        }
        descriptors = [self._state, *(self._memory[partition] for partition in reach)]
        descriptors += [self._doorbells[bell].rung for bell in bells]
        descriptors += [self._doorbells[bell].heard for bell in heard]
        return Handover(description, tuple(descriptors))

    def _console(self, name: str) -> binding.Attachment:
        """This process in the partition's place, for what the platform does on its behalf."""
        if name not in self._consoles:
            handover = self.descriptors_for(name)
            attachment = self._engine.Attachment(self._state, self._index[name])
            for row, descriptor in zip(handover.description["descriptors"], handover.descriptors, strict=True):
                if row["what"] == "ram":
                    attachment.add_ram(row["partition"], descriptor)
                elif row["what"] == "doorbell":
                    attachment.add_doorbell(row["adapter"], descriptor, row["kind"])
            self._consoles[name] = attachment
        return self._consoles[name]

    def reap(self, name: str) -> bool:
        """Clean up after the partition's death: recover, tell partners (0xFF01), zero RAM.

        False while a live partner's call is still inside one of its windows: call again. No thread of the partition
        may run any more; ports that it left open in this process are refused from here on.
        """
        self.definition.partition(name)
        code = self._console(name).reap()
        if code == ReturnCode.H_BUSY:
            return False
        if code:
            raise PlatformError("reap", code, f"partition {name}")
        place = self._index[name]
        self._engine.zero(self._memory[place], self._ram_size(place))
        for end in self._ends(place):
            self._doorbells[end.index].silence()
        return True

    def obstructors(self) -> list[str]:
        """Partitions in whose calls a guest's virtual processor has been waiting for a second: stopped or starved."""
        return [name for name, place in self._index.items() if self._any().obstructs(place)]

    def power_off(self, name: str) -> bool:
        """As `reap`, for a partition that stopped on purpose; its partners cannot tell the difference (LoPAR R1-13)."""
        return self.reap(name)

    def _end(self, name: str, unit_address: UnitAddress) -> firmware.Adapter:
        self.definition.partition(name)
        for end in self._ends(self._index[name]):
            if end.unit_address == unit_address:
                return end
        raise UsageError(f"partition {name} has no adapter {unit_address:#x}")

    def _any(self) -> binding.Attachment:
        return self._console(self.definition.partitions[0].name)

    def counters(self, name: str, unit_address: UnitAddress | None = None) -> Mapping[str, int]:
        """Calls by name, `copies`, `bytes`, `interrupts` of one adapter, or of all the partition's adapters."""
        if unit_address is not None:
            return self._any().counters(self._end(name, unit_address).index)
        self.definition.partition(name)
        place = self._index[name]
        rows = [self._any().counters(end.index) for end in self._ends(place)]
        return _added([*rows, self._any().other_counters(place)])

    def queue_state(self, name: str, unit_address: UnitAddress) -> str:
        """Of the adapter's CRQ: `closed`, `open`, `disabled` (suspended) or `closing`."""
        return QUEUE_STATES[self._any().crq_state(self._end(name, unit_address).index)]

    def reset_counters(self) -> None:
        """All to zero; calls that run meanwhile may keep their old counts."""
        self._any().reset_counters()

    def trace_on(self, enabled: bool = True) -> None:
        self._any().set_trace(enabled)

    def read_trace(self, after: int = 0) -> list[TraceEntry]:
        """Entries with a sequence above `after`, oldest first; a slow reader loses the oldest."""
        console = self._any()
        last = console.trace_last()
        found = []
        for sequence in range(max(after + 1, last - TRACE_ENTRIES + 1), last + 1):
            row = console.trace_entry(sequence)
            if row == 0:  # still being written: the next call will have it
                break
            if not isinstance(row, int):
                at, time_ns, partition, unit, opcode, inputs, code, outputs = row
                found.append(TraceEntry(at, time_ns, partition, UnitAddress(unit), opcode, inputs, code, outputs))
        return found

    def weak_copies(self, seed: int | None) -> None:
        """Every copy in small pieces of random order; None turns it off."""
        self._any().set_weak(seed is not None, (seed or 0) & 0xFFFFFFFF)

    def prices(self, ns_per_call: int, ns_per_kib: int) -> None:
        """Time that each call and each copied KiB takes, by busy waiting; 0, 0 turns it off."""
        self._any().set_prices(ns_per_call, ns_per_kib)

    def post_event(self, name: str, unit_address: UnitAddress, code: int) -> int:
        """Queue a transport event (0xFF `code`) on an adapter, as the platform would; 0x06 also disables its CRQ.

        The answer is that of an entry sent: H_CLOSED, H_DROPPED; H_BUSY when the partner is just about to send.
        """
        end = self._end(name, unit_address)
        if end.partner == firmware.NO_PARTNER:
            raise UsageError(f"adapter {unit_address:#x} of {name} has no queue")
        partner = self._adapters[end.partner]
        console = self._console(self.definition.partitions[partner.partition].name)
        return console.post_event(partner.unit_address, code)

    def close(self) -> None:
        for console in self._consoles.values():
            console.close()
        self._consoles.clear()
        while self._owned:
            os.close(self._owned.pop())

    def __enter__(self) -> "Machine":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _hex(properties: Mapping[str, bytes]) -> dict[str, str]:
    return {name: value.hex() for name, value in properties.items()}


def _node(found: AdapterNode) -> dict[str, Any]:
    return {"unit_address": found.unit_address, "properties": _hex(found.properties)}


def _added(rows: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for row in rows:
        for name, value in row.items():
            total[name] = total.get(name, 0) + value
    return total
