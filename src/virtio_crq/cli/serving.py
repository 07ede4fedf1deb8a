# SPDX-License-Identifier: Apache-2.0
"""Wires an I/O server to the adapters of its partition: bus endpoints, ports, stretches of its RAM."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from virtio_crq.axes import COPY
from virtio_crq.cli.mapentry import map_entry
from virtio_crq.crq.server import CrqServer
from virtio_crq.dataplane.link import Link
from virtio_crq.errors import UsageError
from virtio_crq.hypervisor.attachment import attach
from virtio_crq.hypervisor.definition import unit_address
from virtio_crq.hypervisor.machinerows import AdapterRow, MachineFile
from virtio_crq.message.backend import BackEnd
from virtio_crq.message.bus import Bus
from virtio_crq.papr.devicetree import STORAGE_TYPE, max_copy, parse
from virtio_crq.platform.partition import AdapterNode, Arena, BusAddress, Partition, UnitAddress
from virtio_crq.vios.adapter import AdapterPlace, Connect, Connection, MakeLink, OnControl
from virtio_crq.vios.ringdevice import OnFault
from virtio_crq.vios.server import Server, Settings

PAGE = 4096
LONGEST_COPY = 128 * 1024  # when the platform names no limit
MOST_REDIRECTED = 512 * PAGE  # at once, by one connection: what one list of addresses names


@contextmanager
def open_server(
    state: Path,
    machine: MachineFile,
    name: str,
    workers: int,
    polling: int | None,
    fetch: str,
    gathering: int,
    data: str,
    ring: str,
    pin: int,
    carrier: str,
) -> Iterator[tuple[Server, int]]:
    """The server partition `name`, attached and ready to serve what the machine file maps.

    The descriptor beside it is readable when the hypervisor has ended.
    """
    if not machine.partition(name).server:
        raise UsageError(f"{machine.path}: partition {name!r} is no server end of any adapter")
    partition = attach(state, name)
    try:
        server = Server(
            places(machine, name, partition, gathering, data),
            [map_entry(row) for row in machine.maps_of(name)],
            Settings(
                base=machine.path.resolve().parent,
                workers=workers,
                polling=polling,
                pin=None if pin < 0 else pin,
                fetch=fetch,
                data=data,
                ring=ring,
                carrier=carrier,
                record=state / f"vios-{name}.write-through",
                ports=state / f"vios-{name}.open-ports",
                maps=state / f"vios-{name}.mappings",
                links=state,
            ),
        )
        try:
            yield server, partition.fileno()
        finally:
            server.close()
    finally:
        partition.close()


def places(
    machine: MachineFile, name: str, partition: Partition, gathering: int = 0, data: str = COPY
) -> list[tuple[AdapterPlace, Connect]]:
    """The partition's server adapters in slot order, its RAM divided evenly among them."""
    rows = sorted((row for row in machine.adapters if row.server == name), key=lambda row: row.server_slot)
    nodes = {node.unit_address: node for node in partition.adapters()}
    share = partition.memory_size // max(1, len(rows)) // PAGE * PAGE
    stretches = _stretches(nodes, len(rows), data) if data != COPY else [None] * len(rows)
    made = []
    for number, row in enumerate(rows):
        node = nodes.get(unit_address(row.server_slot))
        if node is None:
            raise UsageError(
                f"{machine.path}: slot {row.server_slot} of {name}, to {row.client}, is not in the running machine; "
                "the file was changed since it came up"
            )
        # A window's I/O addresses begin at 0 and the arena is mapped from there; it cannot be larger than the window.
        size = min(share, parse(node.properties).windows[0].size // PAGE * PAGE)
        arena = Arena(number * share, size, BusAddress(0))
        connect = _connect(partition, node, arena, gathering, stretches[number])
        made.append((_place(machine, row, node, partition, number), connect))
    return made


@dataclass(frozen=True)
class Stretch:
    """What of a storage adapter's window one connection redirects through."""

    adapter: UnitAddress
    bus: int
    size: int


def _stretches(nodes: Mapping[UnitAddress, AdapterNode], count: int, data: str) -> list[Stretch | None]:
    """The window of the partition's storage adapter, divided evenly."""
    for unit, node in nodes.items():
        found = parse(node.properties)
        if (found.device_type, found.compatible) == STORAGE_TYPE:
            share = min(found.windows[0].size // max(1, count) // PAGE * PAGE, MOST_REDIRECTED)
            return [Stretch(unit, number * share, share) for number in range(count)]
    raise UsageError(
        f'this partition has no storage adapter, which data = "{data}" needs; add [[storage]] with its server and slot'
    )


def _place(machine: MachineFile, row: AdapterRow, node: AdapterNode, partition: Partition, number: int) -> AdapterPlace:
    location = parse(node.properties).location_code or f"V{partition.number}-C{row.server_slot}"
    return AdapterPlace(
        adapter=f"vhost{number}",
        location=location,
        unit_address=node.unit_address,
        client=row.client,
        client_number=machine.partition(row.client).number,
    )


def _connect(partition: Partition, node: AdapterNode, arena: Arena, gathering: int, stretch: Stretch | None) -> Connect:
    def connect(back_end: Callable[[Bus], BackEnd], queues: int, devices: int) -> tuple[Connection, MakeLink]:
        limit = max_copy(partition.bus_properties) or LONGEST_COPY
        port = partition.open(node.unit_address)
        if stretch is not None and port.storage(stretch.adapter, stretch.bus, stretch.size) != 0:
            raise UsageError(f"nothing can be redirected through storage adapter {stretch.adapter:#x}")
        endpoint = CrqServer(port, node, arena, back_end, queues=queues, devices=devices, max_copy=limit)

        def make_link(on_control: OnControl, on_fault: OnFault) -> Link:
            return Link(endpoint.port, endpoint.channel, endpoint.arena, on_control, on_fault, limit, gathering)

        return endpoint, make_link

    return connect
