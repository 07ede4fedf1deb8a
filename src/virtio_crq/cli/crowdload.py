# SPDX-License-Identifier: Apache-2.0
"""Many client partitions in one process, whose one thread looks at each in turn; they serve orders, or ask for nothing.

An order is a line of JSON on stdin and runs a load on each; the answer is a line with what each did.
"""

import json
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from virtio_crq.bench.row import Load
from virtio_crq.cli.benchload import WAIT, Order, drive, made, measured, ready
from virtio_crq.cli.clientpartition import client_partition
from virtio_crq.client.client import Client
from virtio_crq.client.connection import Connection
from virtio_crq.client.device import Options
from virtio_crq.dataplane.loadround import LoadRound
from virtio_crq.errors import VirtioCrqError

POLLING_SPINS = 1 << 14  # sweeps before the interpreter gets a turn, for Ctrl-C

Crowd = Sequence[tuple[Client, int]]  # and where each has the load's own buffers


def main(state: str, depth: str, transfer: str, mapping: str, ring: str, *partitions: str) -> None:
    """Be up, and serve orders until stdin ends."""
    options = Options(depth=int(depth), transfer=int(transfer), map=mapping, ring=ring)
    try:
        with ExitStack() as stack:
            crowd = []
            for partition in partitions:
                client = stack.enter_context(client_partition(Path(state), partition, options))
                crowd.append((client, ready(client.disks()[0], ring)))
            print(json.dumps({"ready": True}), flush=True)
            for line in sys.stdin:
                done = run(crowd, json.loads(line))
                print(json.dumps({"loads": [asdict(each) for each in done]}), flush=True)
    except VirtioCrqError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        sys.exit(1)


def run(crowd: Crowd, order: Order) -> list[Load]:
    """One load on each client, all of them at once; the server's processor time is added by who ordered it."""
    connections = [client.connections[0] for client, _ in crowd]
    disks = [client.disks()[0] for client, _ in crowd]
    generators = [
        made(connection, disk, buffers, order)
        for connection, disk, (_, buffers) in zip(connections, disks, crowd, strict=True)
    ]
    for connection in connections:
        connection.disarm(wholly=True)  # from here on the interrupt is the load's
    together = LoadRound(generators)
    burnt = time.process_time()
    try:
        for generator in generators:
            generator.begin(order["seconds"], 0)
        polling = order["notify"] == "polling"
        drive(
            lambda: together.turn(POLLING_SPINS) if polling else together.turn(1, WAIT),
            lambda kind: _control(together, connections, kind),
            polling,
        )
    finally:
        together.close()
    share = (time.process_time() - burnt) / len(crowd)
    return [measured(generator, disk, share) for generator, disk in zip(generators, disks, strict=True)]


def _control(together: LoadRound, connections: Sequence[Connection], kind: int) -> None:
    """Hand an entry over to the connection of whoever it came to."""
    assert together.speaker is not None
    connection = connections[together.generators.index(together.speaker)]
    connection.endpoint.control(kind, together.speaker.channel.entry())


if __name__ == "__main__":
    main(*sys.argv[1:])
