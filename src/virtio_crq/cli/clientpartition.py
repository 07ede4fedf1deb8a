# SPDX-License-Identifier: Apache-2.0
"""Wires a client partition to the adapters that firmware shows it, each with an even share of its RAM."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from virtio_crq.cli.axes import client_options
from virtio_crq.client.client import Client
from virtio_crq.client.connection import Connect
from virtio_crq.client.device import Options
from virtio_crq.crq.client import CrqClient
from virtio_crq.errors import UsageError
from virtio_crq.hypervisor.attachment import attach
from virtio_crq.message.bus import Bus
from virtio_crq.message.frontend import FrontEnd
from virtio_crq.papr.devicetree import parse
from virtio_crq.platform.endpoint import Endpoint
from virtio_crq.platform.partition import AdapterNode, Arena, BusAddress, Partition

PAGE = 4096
MOST_DEVICES = 32  # per connection; each has one queue


@contextmanager
def client_partition(state: Path, name: str, options: Options | None = None, timeout: float = 10.0) -> Iterator[Client]:
    """The client partition `name` of a running machine, in this process, with every device up.

    Without `options` it carries as the machine was made to.
    """
    with attach(state, name) as partition:
        client = Client(connects(partition), options or client_options(state, name), lifeline=partition.fileno())
        try:
            client.open(timeout)
            yield client
        finally:
            client.close()


def connects(partition: Partition) -> list[Connect]:
    """One way to connect for each of the partition's client adapters."""
    nodes = [node for node in partition.adapters() if not parse(node.properties).server]
    if not nodes:
        raise UsageError(f"partition {partition.name} has no client adapter")
    share = partition.memory_size // len(nodes) // PAGE * PAGE
    return [_connect(partition, node, number * share, share) for number, node in enumerate(nodes)]


def _connect(partition: Partition, node: AdapterNode, offset: int, share: int) -> Connect:
    # I/O addresses of a window begin at 0; RAM beyond its size cannot be shown to the server at the same time.
    size = min(share, parse(node.properties).windows[0].size // PAGE * PAGE)

    def connect(front_end: Callable[[Bus], FrontEnd]) -> Endpoint:
        port = partition.open(node.unit_address)
        arena = Arena(offset, size, BusAddress(0))
        return CrqClient(port, node, arena, front_end, queues=MOST_DEVICES, devices=MOST_DEVICES)

    return connect
