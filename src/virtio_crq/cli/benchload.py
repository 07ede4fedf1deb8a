# SPDX-License-Identifier: Apache-2.0
"""The client partition's process of a benchmark: a line of JSON in, a load run, a line of JSON out."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from virtio_crq.axes import PUSH
from virtio_crq.bench.row import Load
from virtio_crq.cli.clientpartition import client_partition
from virtio_crq.client.client import Client
from virtio_crq.client.connection import Connection
from virtio_crq.client.device import POOL_LIMIT, Options
from virtio_crq.client.disk import Disk
from virtio_crq.dataplane.blockdriver import BlockDriver
from virtio_crq.dataplane.front import Front
from virtio_crq.dataplane.load import LoadGenerator
from virtio_crq.dataplane.loadround import FINISHED, NOTHING_CAME
from virtio_crq.errors import PartnerLost, VirtioCrqError
from virtio_crq.platform.channel import LOST, Channel

POLLING_SPINS = 1 << 16  # looks before the interpreter gets a turn, for Ctrl-C
WAIT = 1  # seconds of sleep before the interpreter gets a turn
PATIENCE = 10  # and of silence after which a server is gone

Order = dict[str, Any]
Lane = tuple[BlockDriver, Front, Channel]  # a queue


def main(
    state: str, partition: str, depth: str, transfer: str, mapping: str, ring: str, pool_limit: str = str(POOL_LIMIT)
) -> None:
    """Serve orders until stdin ends."""
    options = Options(depth=int(depth), transfer=int(transfer), map=mapping, ring=ring, pool_limit=int(pool_limit))
    try:
        with client_partition(Path(state), partition, options) as client:
            buffers = ready(client.disks()[0], ring)
            print(json.dumps({"ready": True}), flush=True)
            for line in sys.stdin:
                print(json.dumps(asdict(run(client, buffers, json.loads(line)))), flush=True)
    except VirtioCrqError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        sys.exit(1)


def run(client: Client, buffers: int, order: Order) -> Load:
    """One load; the server's processor time is added by who ordered it."""
    connection = client.connections[0]
    disk = client.disks()[0]
    generator = made(connection, disk, buffers, order)
    polling = order["notify"] == "polling"
    connection.disarm(wholly=True)  # from here on the interrupt is the load's
    generator.begin(order["seconds"], 0)
    burnt = time.process_time()
    drive(
        lambda: generator.turn(POLLING_SPINS) if polling else generator.turn(1, WAIT * 10**9),
        lambda kind: connection.endpoint.control(kind, generator.channel.entry()),
        polling,
    )
    return measured(generator, disk, time.process_time() - burnt)


def drive(turn: Callable[[], int], control: Callable[[int], None], polling: bool) -> None:
    """Turn a load until it is over; unless polling, a turn in vain took a sleep of WAIT seconds.

    `control` gets the kind of each entry that is not the load's.
    """
    silent = 0
    while (kind := turn()) != FINISHED:
        if kind == NOTHING_CAME:
            silent += WAIT
            if not polling and silent > PATIENCE:
                raise PartnerLost(f"no answer within {PATIENCE} seconds")
            continue
        silent = 0
        if kind == LOST:
            raise PartnerLost("the server went away during a load")
        control(kind)


def measured(generator: LoadGenerator, disk: Disk, cpu_seconds: float) -> Load:
    """What became of a load that is over."""
    generator.gather()
    seconds = generator.seconds()
    if generator.failed or not generator.completed:
        raise VirtioCrqError(f"{generator.failed} of {generator.completed} requests failed")
    return Load(
        requests=generator.completed,
        seconds=seconds,
        p50_us=generator.percentile(0.5),
        p99_us=generator.percentile(0.99),
        cpu_seconds=cpu_seconds,
        batch=generator.completed / max(1, generator.batches),
        bounces=generator.bounced,
        bounce_bytes=generator.bounced * generator.block,
        ran={"map": generator.driver.mapping.name, "ring": disk.ring_layout, "carrier": disk.carrier}
        | ({"fetch": PUSH} if disk.pushed else {}),
        queues=len(disk.lanes),
    )


def ready(disk: Disk, ring: str) -> int:
    """Where in own RAM stands for the pages of a block layer: a block for each slot, where slots bounce."""
    if disk.ring_layout != ring:
        raise VirtioCrqError(f"a {ring} ring is to be measured, but the server offers only {disk.ring_layout}")
    drivers = [driver for driver, _ in _lanes(disk)]
    kept = drivers[0].mapping.kept
    if not kept:
        return 0
    slots = sum(driver.slots for driver in drivers)
    return disk.site.memory.take(slots * kept, 0, "the load's own buffers").offset


def _lanes(disk: Disk) -> list[tuple[BlockDriver, Front]]:
    if not disk.lanes:
        raise VirtioCrqError(f"disk {disk.name} is not up")
    return disk.lanes


def made(connection: Connection, disk: Disk, buffers: int, order: Order) -> LoadGenerator:
    """The load of an order, not begun."""
    lanes = [(driver, front, connection.endpoint.channel) for driver, front in _lanes(disk)]
    return spread(lanes, order, disk.capacity, buffers)


def spread(lanes: Sequence[Lane], order: Order, span: int, buffers: int = 0) -> LoadGenerator:
    """A load whose depth is spread over the queues of a disk of `span` bytes, over as many as it is deep."""
    lanes = lanes[: order["depth"]]
    generators = []
    slots = 0
    for index, (driver, front, channel) in enumerate(lanes):
        generators.append(
            LoadGenerator(
                *(driver, front, channel),
                kind=1 if order["write"] else 0,
                block=order["size"],
                depth=(order["depth"] + index) // len(lanes),
                span=span,
                sequential=order["sequential"],
                seed=1 + index,
                buffers=buffers + slots * driver.mapping.kept,
                first=span // len(lanes) * index,
            )
        )
        slots += driver.slots
    generators[0].join(generators[1:])
    return generators[0]


if __name__ == "__main__":
    main(*sys.argv[1:])
