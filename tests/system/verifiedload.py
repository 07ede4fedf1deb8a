# SPDX-License-Identifier: Apache-2.0
"""Random verified reads and writes on a disk, many at a time, driven step by step by the test.

Run as a program (`verifiedload.py STATE CLIENT DISK [OPTIONS]`) it keeps going until its input ends, says how far it
came for each line it reads, and fails with the first block that is not what it has to be.
"""

import json
import random
import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from ledger import BLOCK, Ledger  # type: ignore[import-not-found]

from virtio_crq.cli.clientpartition import client_partition
from virtio_crq.client.client import Client
from virtio_crq.client.device import Options
from virtio_crq.client.disk import Disk
from virtio_crq.client.transfer import Transfer


@dataclass
class Asked:
    number: int
    transfer: Transfer[bytes]
    write: bool
    since: float


class VerifiedLoad:
    """`slowest` is the longest that any request took since `forgive` was last called."""

    def __init__(self, client: Client, disk: Disk, blocks: int, depth: int = 16, seed: int = 1) -> None:
        self.client, self.disk = client, disk
        self.ledger = Ledger()
        self.blocks, self.depth = blocks, depth
        self.completed = 0
        self.slowest = 0.0
        self._random = random.Random(seed)
        self._asked: dict[int, Asked] = {}

    def step(self, timeout: float = 0.1) -> None:
        """Keep `depth` requests in flight, wait for something, check what came."""
        while len(self._asked) < self.depth:
            self._ask()
        self.client.turn(timeout)
        self._collect()

    def run(self, count: int, patience: float = 60) -> None:
        """Until `count` more requests have completed."""
        goal, deadline = self.completed + count, time.monotonic() + patience
        while self.completed < goal:
            assert time.monotonic() < deadline, f"{goal - self.completed} of {count} requests did not end"
            self.step()

    def drain(self, patience: float = 60) -> None:
        """Until nothing is in flight."""
        deadline = time.monotonic() + patience
        while self._asked:
            assert time.monotonic() < deadline, f"{len(self._asked)} requests did not end"
            self.client.turn(0.1)
            self._collect()

    def forgive(self) -> None:
        """The server was away: what is in flight begins to count now."""
        now = time.monotonic()
        for asked in self._asked.values():
            asked.since = now
        self.slowest = 0.0

    def check_all(self) -> None:
        """Read every block and hold it against the ledger."""
        self.drain()
        for number in range(self.blocks):
            self.ledger.check(number, self.disk.read(number * BLOCK, BLOCK))

    def _ask(self) -> None:
        number = self._random.randrange(self.blocks)
        if number in self._asked:
            return
        write = self._random.random() < 0.6
        if write:
            transfer = self.disk.start_write(number * BLOCK, self.ledger.ask(number))
        else:
            transfer = self.disk.start_read(number * BLOCK, BLOCK)
        self._asked[number] = Asked(number, transfer, write, time.monotonic())

    def _collect(self) -> None:
        now = time.monotonic()
        for asked in [asked for asked in self._asked.values() if asked.transfer.done]:
            del self._asked[asked.number]
            data = asked.transfer.result()
            if asked.write:
                self.ledger.acknowledge(asked.number)
            else:
                self.ledger.check(asked.number, data)
            self.slowest = max(self.slowest, now - asked.since)
            self.completed += 1


@contextmanager
def load_on(
    state: Path, client: str, disk: str, blocks: int, depth: int = 16, options: Options | None = None
) -> Iterator[VerifiedLoad]:
    """A client partition in this process, and a load on one of its disks."""
    with client_partition(state, client, replace(options or Options(), depth=depth)) as partition:
        yield VerifiedLoad(partition, partition.disk(disk), blocks, depth)


def main(state: str, client: str, disk: str, choices: str = "{}") -> None:
    with load_on(Path(state), client, disk, 256, 8, Options(**json.loads(choices))) as load:
        print("ready", flush=True)
        while True:
            load.step(0.02)
            if select.select([sys.stdin], [], [], 0)[0]:
                if not sys.stdin.readline():
                    break
                print(load.completed, flush=True)
        load.check_all()
        print("clean", load.completed, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
