# SPDX-License-Identifier: Apache-2.0
"""The front-end's process of a comparison: the orders and answers of `benchload`, on a vhost-user back-end."""

import json
import select
import sys
import time
from dataclasses import asdict
from pathlib import Path

from virtio_crq.bench.row import Load
from virtio_crq.cli.benchload import POLLING_SPINS, Order, spread
from virtio_crq.cli.peerdisk import PeerDisk, peer_disk
from virtio_crq.dataplane.load import LoadGenerator
from virtio_crq.dataplane.loadround import FINISHED
from virtio_crq.errors import PartnerLost, UsageError, VirtioCrqError

WAIT_SECONDS = 10.0  # a back-end that completes nothing for so long hangs


def main(path: str, depth: str, transfer: str, notify: str, queues: str = "1") -> None:
    """Serve orders until stdin ends."""
    try:
        asks = notify == "sleeping"
        with peer_disk(Path(path), int(depth), int(transfer), asks, queues=int(queues)) as disk:
            print(json.dumps({"ready": True, "pid": disk.backend.partner}), flush=True)
            for line in sys.stdin:
                print(json.dumps(asdict(run(disk, json.loads(line)))), flush=True)
    except VirtioCrqError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        sys.exit(1)


def run(disk: PeerDisk, order: Order) -> Load:
    """One load; the back-end's processor time is added by who ordered it."""
    if order["write"] and disk.backend.readonly:
        raise UsageError("the back-end's disk is read-only")
    generator = _generator(disk, order)
    generator.begin(order["seconds"], 0)
    burnt = time.process_time()
    quiet = Silence(disk, generator)
    while generator.turn(1 if disk.front.asks else POLLING_SPINS) != FINISHED:
        if disk.front.asks:
            quiet.sleep()
        else:
            quiet.look()
    generator.gather()
    seconds = generator.seconds()
    if generator.failed or not generator.completed:
        raise VirtioCrqError(f"{generator.failed} of {generator.completed} requests failed")
    return Load(
        requests=generator.completed,
        seconds=seconds,
        p50_us=generator.percentile(0.5),
        p99_us=generator.percentile(0.99),
        cpu_seconds=time.process_time() - burnt,
        batch=generator.completed / max(1, generator.batches),
        queues=len(disk.queues),
    )


def _generator(disk: PeerDisk, order: Order) -> LoadGenerator:
    if order["size"] > disk.driver.transfer or order["size"] > disk.backend.capacity:
        raise UsageError(
            f"a request of {order['size']} bytes; the back-end takes {disk.driver.transfer} at once, and its disk has "
            f"{disk.backend.capacity}"
        )
    lanes = [(queue.driver, queue.front, queue.channel) for queue in disk.queues]
    return spread(lanes, order, disk.backend.capacity)


class Silence:
    """What to do while nothing comes: sleep or look on, and end it when nothing will come any more."""

    def __init__(self, disk: PeerDisk, generator: LoadGenerator) -> None:
        self._disk = disk
        self._generator = generator
        self._completed = 0
        self._since = time.monotonic()

    def sleep(self) -> None:
        """Until the back-end tells of a completion. The ring was armed and looked at again before."""
        self._wait(WAIT_SECONDS)
        self._disk.channel.woken()

    def look(self) -> None:
        """Between turns of polling: whether the back-end is still there, and getting on."""
        self._wait(0)

    def _wait(self, seconds: float) -> None:
        backend = self._disk.backend
        ready, _, _ = select.select([self._disk.channel.call, backend.fileno()], [], [], seconds)
        if backend.fileno() in ready:
            raise PartnerLost("the back-end went away during a load")
        answered = self._generator.answered()
        if answered != self._completed:
            self._completed, self._since = answered, time.monotonic()
        elif time.monotonic() - self._since >= WAIT_SECONDS:
            raise PartnerLost(f"the back-end completed nothing within {WAIT_SECONDS:g} seconds")


if __name__ == "__main__":
    main(*sys.argv[1:])
