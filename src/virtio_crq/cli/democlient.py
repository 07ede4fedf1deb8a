# SPDX-License-Identifier: Apache-2.0
"""The demo's client partition, a process of its own: one read to be traced, or writes that check themselves.

Orders are lines of JSON on stdin; answers are lines of JSON on stdout. Each 4 KiB block that is written carries its
number, a generation and a checksum; what the disk acknowledged is remembered and read back in the end.
"""

import json
import random
import select
import struct
import sys
import time
import zlib
from functools import partial
from pathlib import Path
from typing import Any

from virtio_crq.cli.anatomy import rings_of
from virtio_crq.cli.clientpartition import client_partition
from virtio_crq.client.client import Client
from virtio_crq.client.disk import Disk
from virtio_crq.client.transfer import Transfer
from virtio_crq.errors import VirtioCrqError

BLOCK = 4096
DEPTH = 32
BLOCKS = 4096  # of the scratch disk that are written again and again
REPORT_SECONDS = 0.1
_HEAD = struct.Struct("<QQI")


def block(number: int, generation: int) -> bytes:
    """The bytes of block `number` in its `generation`."""
    body = struct.pack("<QQ", number, generation) * ((BLOCK - _HEAD.size) // 16 + 1)
    body = body[: BLOCK - _HEAD.size]
    return _HEAD.pack(number, generation, zlib.crc32(body)) + body


def generation_of(data: bytes, number: int) -> int:
    """The generation that a block read back holds; -1 for one that is torn or belongs elsewhere."""
    found, generation, checksum = _HEAD.unpack_from(data)
    whole = found == number and zlib.crc32(data[_HEAD.size :]) == checksum and data == block(number, generation)
    return int(generation) if whole else -1


class Writer:
    """Keeps `DEPTH` writes in flight, at most one of each block."""

    def __init__(self, client: Client, disk: Disk) -> None:
        self.client = client
        self.disk = disk
        self.draw = random.Random(4096)
        self.blocks = min(BLOCKS, disk.capacity // BLOCK)
        self.acknowledged: dict[int, int] = {}
        self.in_flight: set[int] = set()
        self.writes = 0
        self.last = time.monotonic()
        self.pause = 0.0

    def run(self) -> None:
        """Write until stdin says something."""
        reported = 0.0
        self.last = time.monotonic()
        while not select.select([sys.stdin], [], [], 0)[0]:
            while len(self.in_flight) < DEPTH:
                self._start(self.draw.randrange(self.blocks))
            self.client.turn(REPORT_SECONDS)
            if time.monotonic() - reported > REPORT_SECONDS:
                reported = time.monotonic()
                say(writes=self.writes, pause=max(self.pause, reported - self.last), losses=losses(self.client))
        while self.in_flight:
            self.client.turn(REPORT_SECONDS)

    def _start(self, number: int) -> None:
        if number in self.in_flight:
            return
        self.in_flight.add(number)
        generation = self.acknowledged.get(number, 0) + 1
        transfer = self.disk.start_write(number * BLOCK, block(number, generation))
        transfer.when_done(partial(self._ended, number, generation))

    def _ended(self, number: int, generation: int, transfer: Transfer[bytes]) -> None:
        transfer.result()
        now = time.monotonic()
        self.pause = max(self.pause, now - self.last)
        self.last = now
        self.in_flight.discard(number)
        self.acknowledged[number] = generation
        self.writes += 1

    def lost(self) -> int:
        """How many blocks do not hold what was acknowledged."""
        found = 0
        for number, generation in self.acknowledged.items():
            found += generation_of(self.disk.read(number * BLOCK, BLOCK), number) != generation
        return found


def losses(client: Client) -> int:
    """How often its server went away."""
    return sum(connection.losses for connection in client.connections)


def say(**words: Any) -> None:
    print(json.dumps(words), flush=True)


def serve(client: Client) -> None:
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "read":
            disk = client.disk(order["disk"])
            data = disk.read(order["offset"], BLOCK)
            say(bytes=len(data), rings=vars(rings_of(disk)))
        elif order["do"] == "write":
            writer = Writer(client, client.disk(order["disk"]))
            writer.run()
            lost = writer.lost()
            blocks = len(writer.acknowledged)
            say(done=True, writes=writer.writes, blocks=blocks, lost=lost, losses=losses(client))


def main(state: str, partition: str) -> None:
    try:
        with client_partition(Path(state), partition) as client:
            say(ready=True)
            serve(client)
    except (VirtioCrqError, OSError) as error:
        say(error=str(error))
        sys.exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
