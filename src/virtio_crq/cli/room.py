# SPDX-License-Identifier: Apache-2.0
"""Whether the windows and the memory of a machine file hold what its mappings need, before anything is started."""

from virtio_crq.axes import FETCH, PUSH
from virtio_crq.cli.clientpartition import MOST_DEVICES
from virtio_crq.cli.mapentry import map_entry
from virtio_crq.client.device import PUSH_ROOM
from virtio_crq.client.disk import queue_room, smallest_disk
from virtio_crq.client.lane import Lane
from virtio_crq.client.memory import PAGE, whole_pages
from virtio_crq.crq.client import CrqClient
from virtio_crq.crq.ring import ring_size
from virtio_crq.dataplane import packeddevice, pushring, splitdevice
from virtio_crq.dataplane.perrequest import PerRequest
from virtio_crq.dataplane.sidequeue import SideQueue
from virtio_crq.errors import UsageError
from virtio_crq.hypervisor.machinerows import AdapterRow, MachineFile
from virtio_crq.vios import blockdevice, consoledevice, entropydevice
from virtio_crq.vios.mapping import BLOCK, CONSOLE, DEVICE_TYPES, ENTROPY
from virtio_crq.virtio import records
from virtio_crq.virtio.block import ID_BYTES

MIB = 1 << 20
REQUEST = 16 + 1  # bytes of header and status that a server keeps of each request
SERVER_DATA = 1 << 18  # bytes for the data of all requests that are served at a time, at least


def check_room(machine: MachineFile) -> None:
    """Refuse an adapter whose ends cannot hold the rings and one request of each device."""
    for row in machine.adapters:
        entries = [map_entry(entry) for entry in machine.maps_of(row.server) if entry.client == row.client]
        kinds = [entry.device for entry in entries]
        counts = kinds.count(BLOCK), kinds.count(ENTROPY)
        queues = {kind: sum(entry.queues for entry in entries if entry.device == kind) for kind in DEVICE_TYPES}
        push = pushes(machine, row)
        needs = (
            (row.client, client_needs(*counts, queues[CONSOLE], push)),
            (row.server, server_needs(queues[BLOCK], queues[ENTROPY], queues[CONSOLE])),
        )
        for name, needed in needs:
            _check(machine, row, name, needed, f"the {len(kinds)} devices of {row.client}")


def pushes(machine: MachineFile, row: AdapterRow) -> bool:
    """Whether this adapter's queues will be pushed: both sides must want it, and the client have room."""
    asked = [machine.partition(name).fetch or FETCH.server[0] for name in (row.client, row.server)]
    sharers = sum(row.client == other.client for other in machine.adapters)
    share = min(row.window, machine.partition(row.client).memory // sharers)
    return asked == [PUSH] * 2 and share >= PUSH_ROOM


def client_needs(disks: int, entropies: int, console_queues: int = 0, push: bool = False) -> int:
    """Bytes of the client's window and of its memory: its ring, its message area, a queue and a request for each."""
    source = queue_room(entropydevice.QUEUE_SIZE, push) + PerRequest.footprint(entropydevice.QUEUE_SIZE, 0, PAGE)[1]
    room = CrqClient.room(MOST_DEVICES, MOST_DEVICES)
    return (
        room
        + disks * smallest_disk(blockdevice.QUEUE_SIZE, push)
        + entropies * source
        + console_queues * (queue_room(consoledevice.TRANSMIT_SIZE, push) + Lane.footprint())
    )


def server_needs(disk_queues: int, entropies: int, console_queues: int = 0) -> int:
    """The same of the server: its ring, its page, what it stages for each queue, and room for data.

    A client of ours uses as many of a disk's queues as it has room for; a server has to serve all.
    """
    size = blockdevice.QUEUE_SIZE
    disk = ring_room(size) + whole_pages(size * REQUEST + ID_BYTES)
    source = ring_room(entropydevice.QUEUE_SIZE) + PAGE * entropydevice.QUEUE_SIZE
    lane = ring_room(consoledevice.TRANSMIT_SIZE) + PAGE
    count = disk_queues + entropies + console_queues
    ring = ring_size(count, count)
    return ring + PAGE + disk_queues * disk + entropies * source + console_queues * lane + SERVER_DATA


def ring_room(size: int) -> int:
    """Bytes that a server stages for a queue, whatever its layout and carrier turn out to be."""
    pushed = pushring.footprint(size, records.REQUEST)[-1]
    layouts = splitdevice.footprint(size)[-1], packeddevice.footprint(size)[-1], pushed
    return whole_pages(max(layouts)) + SideQueue.footprint(size)


def _check(machine: MachineFile, row: AdapterRow, name: str, needed: int, what: str) -> None:
    if row.window < needed:
        raise UsageError(
            f"{row.where}: window too small: {what} need {needed} bytes of it on the side of {name}, "
            f'it has {row.window}; write window = "{_mebibytes(needed)}M"'
        )
    memory = machine.partition(name).memory
    sharers = sum(name in (other.client, other.server) for other in machine.adapters)
    if memory // sharers // PAGE * PAGE < needed:
        raise UsageError(
            f"{row.where}: memory of {name} too small: {what} need {needed} bytes and {sharers} adapters share it; "
            f'write memory = "{_mebibytes((needed + PAGE) * sharers)}M" for {name}'
        )


def _mebibytes(size: int) -> int:
    return -(-size // MIB)
