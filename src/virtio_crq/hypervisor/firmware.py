# SPDX-License-Identifier: Apache-2.0
"""From a definition to what firmware shows: adapters in their order, their handles, and their device-tree nodes."""

from collections.abc import Mapping
from dataclasses import dataclass

from virtio_crq.hypervisor.definition import AdapterDefinition, MachineDefinition, StorageDefinition
from virtio_crq.papr.devicetree import (
    CLIENT_TYPE,
    SERVER_TYPE,
    STORAGE_TYPE,
    AdapterProperties,
    Window,
    build,
    vdevice,
)
from virtio_crq.papr.profiles import profile_named
from virtio_crq.platform.partition import AdapterNode, UnitAddress

LIOBN_BASE = 0x1000_0000  # of the engine (state.h): + 4 * adapter + pane - 1
INTERRUPT_BASE = 0x1110  # of the engine, too
SUB_INTERRUPT_BASE, SUB_LIMIT = 0x2000, 16  # of the engine: + 16 * the adapter's place + the sub-CRQ's
OWN_TYPE = "virtio-crq"
STORAGE = "storage"
NO_PARTNER = 0xFFFFFFFF  # of the engine: HV_NONE


@dataclass(frozen=True)
class Adapter:
    """One end of a connection, numbered as the engine numbers it."""

    index: int
    partition: int
    partner: int  # NO_PARTNER: a storage adapter, which is no end of a connection
    unit_address: UnitAddress
    server: bool
    window: int
    partner_window: int
    local: int  # its place among the partition's adapters
    location: str
    node: str
    boot: bool  # in the tree that a real kernel boots with


def adapters(definition: MachineDefinition) -> list[Adapter]:
    """All ends, grouped by partition and ascending by unit address, as the engine wants them."""
    places = {partition.name: place for place, partition in enumerate(definition.partitions)}
    location = profile_named(definition.profile).location_code
    ends: list[tuple[int, UnitAddress, bool, AdapterDefinition | StorageDefinition]] = []
    for adapter in definition.adapters:
        ends.append((places[adapter.client], adapter.client_unit, False, adapter))
        ends.append((places[adapter.server], adapter.server_unit, True, adapter))
    for storage in definition.storage:
        ends.append((places[storage.owner], storage.unit, False, storage))
    ends.sort(key=lambda end: end[:2])
    indices = {(place, unit): index for index, (place, unit, _, _) in enumerate(ends)}
    found = []
    for index, (place, unit, server, row) in enumerate(ends):
        number = definition.partitions[place].number
        local = sum(1 for end in ends[:index] if end[0] == place)
        if isinstance(row, StorageDefinition):
            where = location.format(partition=number, slot=row.slot)
            sizes = (row.window, 0)
            found.append(Adapter(index, place, NO_PARTNER, unit, False, *sizes, local, where, STORAGE, boot=True))
            continue
        pair = row
        other = (places[pair.client], pair.client_unit) if server else (places[pair.server], pair.server_unit)
        slot = pair.server_slot if server else pair.client_slot
        found.append(
            Adapter(
                index=index,
                partition=place,
                partner=indices[other],
                unit_address=unit,
                server=server,
                window=pair.server_window if server else pair.client_window,
                partner_window=pair.client_window if server else pair.server_window,
                local=local,
                location=location.format(partition=number, slot=slot),
                node=pair.node,
                boot=server or pair.boot,
            )
        )
    return found


def node(adapter: Adapter, sub_queues: int = 0) -> AdapterNode:
    """The child of /vdevice. A server has a second pane, onto the client's window (LoPAR R1-13).

    `sub_queues`: how many sub-CRQs its partition can have on it. A real kernel in QEMU has none: its interrupts are
    borrowed one by one, and its calls for sub-CRQs reach QEMU, which answers H_Function.
    """
    handle = LIOBN_BASE + 4 * adapter.index
    windows = [Window(handle, adapter.window)]
    if adapter.server:
        windows.append(Window(handle + 1, adapter.partner_window))
    device_type, compatible = SERVER_TYPE if adapter.server else CLIENT_TYPE
    if adapter.node == STORAGE:
        device_type, compatible = STORAGE_TYPE
    elif adapter.node == OWN_TYPE:
        device_type, compatible = OWN_TYPE, f"{OWN_TYPE},{'server' if adapter.server else 'client'}"
    properties = build(
        AdapterProperties(
            unit_address=adapter.unit_address,
            device_type=device_type,
            compatible=compatible,
            interrupts=(INTERRUPT_BASE + adapter.local,),
            windows=tuple(windows),
            server=adapter.server,
            location_code=adapter.location,
            interrupt_ranges=((SUB_INTERRUPT_BASE + adapter.local * SUB_LIMIT, sub_queues),) if sub_queues else (),
        )
    )
    if adapter.node in (OWN_TYPE, STORAGE):
        properties["used-by-rtas"] = b""  # a node that LoPAR does not define must carry it (R1-19)
    return AdapterNode(adapter.unit_address, properties)


def bus(definition: MachineDefinition) -> Mapping[str, bytes]:
    """Properties of /vdevice."""
    return vdevice(profile_named(definition.profile).max_copy)
