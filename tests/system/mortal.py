# SPDX-License-Identifier: Apache-2.0
"""Lives of a client partition that end at a named stop point of the engine; run by `test_killed_inside.py`.

`mortal.py STATE CLIENT DISK OPTIONS`: for each line `POINT SKIP` a forked process attaches through the hypervisor,
arms the point, comes up, writes and reads until it dies (or 64 times), and leaves. The answer is the signal that ended
it, or 0.
"""

import json
import sys
from functools import partial
from pathlib import Path

from armedpartition import attach_armed, one_life

from virtio_crq.cli.clientpartition import connects
from virtio_crq.client.client import Client
from virtio_crq.client.device import Options

BLOCK = 4096
ROUNDS = 64


def live(state: Path, name: str, target: str, options: Options, point: str, skip: int) -> None:
    with attach_armed(state, name, point, skip) as partition, Client(connects(partition), options) as client:
        disk = client.disk(target)
        for number in range(ROUNDS):
            data = number.to_bytes(2, "little") * (BLOCK // 2)
            disk.write(BLOCK * number, data)
            assert disk.read(BLOCK * number, BLOCK) == data


def main(state: str, name: str, target: str, choices: str) -> None:
    options = Options(**json.loads(choices))
    for order in sys.stdin:
        point, skip = order.split()
        print(one_life(partial(live, Path(state), name, target, options, point, int(skip))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
