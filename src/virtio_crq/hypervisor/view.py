# SPDX-License-Identifier: Apache-2.0
"""What a machine shows of itself, as plain values that travel as JSON."""

import os
from typing import Any

from virtio_crq.hypervisor.machine import Machine, TraceEntry
from virtio_crq.hypervisor.occupancy import Occupancy
from virtio_crq.papr.hypercalls import SIGNATURES, Hypercall, call_name
from virtio_crq.papr.returncodes import code_name

TRACE_AT_ONCE = 2000
TRANSFER = 1  # in a trace of the engine (state.h), where calls have their opcode: a storage adapter's transfer


def machine_view(machine: Machine, occupancy: Occupancy) -> dict[str, Any]:
    """Partitions with their state, adapters with their partner, storage adapters, and the counters of each."""
    definition = machine.definition
    partitions = []
    for row in definition.partitions:
        state, pid = occupancy.state(row.name)
        server = any(adapter.server == row.name for adapter in definition.adapters)
        facts = {"name": row.name, "number": row.number, "memory": row.memory, "server": server}
        partitions.append({**facts, "state": state, "pid": pid})
    adapters = [
        {
            "client": adapter.client,
            "slot": adapter.client_slot,
            "unit_address": adapter.client_unit,
            "server": adapter.server,
            "server_slot": adapter.server_slot,
            "server_unit_address": adapter.server_unit,
            "window": adapter.client_window,
            "node": adapter.node,
            "client_queue": machine.queue_state(adapter.client, adapter.client_unit),
            "server_queue": machine.queue_state(adapter.server, adapter.server_unit),
            "client_counters": dict(machine.counters(adapter.client, adapter.client_unit)),
            "server_counters": dict(machine.counters(adapter.server, adapter.server_unit)),
        }
        for adapter in definition.adapters
    ]
    storage = [
        {
            "server": row.owner,
            "slot": row.slot,
            "unit_address": row.unit,
            "window": row.window,
            # A server has one storage adapter: whatever it transferred went through that.
            "counters": {key: machine.counters(row.owner)[key] for key in ("transfers", "transferred")},
        }
        for row in definition.storage
    ]
    whole = {"partitions": partitions, "adapters": adapters, "storage": storage}
    return {"name": definition.name, "profile": definition.profile, **whole}


def counters_view(machine: Machine) -> dict[str, dict[str, int]]:
    """Counters of each partition, all its adapters together."""
    return {row.name: dict(machine.counters(row.name)) for row in machine.definition.partitions}


def trace_view(machine: Machine, after: int) -> list[dict[str, Any]]:
    """Calls after a sequence number, decoded by name; at most `TRACE_AT_ONCE`, so ask again from the last."""
    names = {row.number: row.name for row in machine.definition.partitions}
    entries = machine.read_trace(after)[:TRACE_AT_ONCE]
    return [
        {
            "sequence": entry.sequence,
            "time_ns": entry.time_ns,
            "partition": names.get(entry.partition, str(entry.partition)),
            "unit_address": int(entry.unit_address),
            **(_transfer(entry) if entry.opcode == TRANSFER else _call(entry)),
        }
        for entry in entries
    ]


def _call(entry: TraceEntry) -> dict[str, Any]:
    return {
        "call": call_name(entry.opcode),
        "inputs": _named(entry.opcode, "inputs", entry.inputs),
        "code": code_name(entry.code),
        "outputs": _named(entry.opcode, "outputs", entry.outputs),
    }


def _transfer(entry: TraceEntry) -> dict[str, Any]:
    """No call, but what the calls around it are for."""
    ioba, length, position, writes, *_ = entry.inputs
    direction = "from memory to file" if writes else "from file to memory"
    answer = f"{entry.code} bytes" if entry.code >= 0 else os.strerror(-entry.code)
    inputs = {"ioba": ioba, "length": length, "position": position}
    return {"call": f"transfer {direction}", "inputs": inputs, "code": answer, "outputs": {}}


def _named(opcode: int, direction: str, values: tuple[int, ...]) -> dict[str, int]:
    try:
        names: tuple[str, ...] = getattr(SIGNATURES[Hypercall(opcode)], direction)
    except ValueError:
        names = tuple(f"r{index + 4}" for index in range(len(values)))
    return dict(zip(names, values, strict=False))
