# SPDX-License-Identifier: Apache-2.0
"""Lives of a client partition that end at a named stop point of the engine; run by `test_killed_inside.py`.

`mortal.py STATE CLIENT DISK RING MAP`: for each line `POINT SKIP` a forked process attaches through the hypervisor,
arms the point, comes up, writes and reads until it dies (or 64 times), and leaves. The answer is the signal that ended
it, or 0.
"""

import os
import signal
import sys
from pathlib import Path

from virtio_crq.cli.clientpartition import connects
from virtio_crq.client.client import Client
from virtio_crq.client.device import Options
from virtio_crq.hypervisor import binding_stops
from virtio_crq.hypervisor.conversation import PROTOCOL, Conversation
from virtio_crq.hypervisor.partition import EmulatedPartition

BLOCK = 4096
ROUNDS = 64


def live(state: Path, name: str, target: str, options: Options, point: str, skip: int) -> None:
    with Conversation(state) as conversation:
        description = conversation.ask("attach", partition=name, protocol=PROTOCOL)
        partition = EmulatedPartition.from_descriptors(description, conversation.descriptors, binding_stops)
        if point != "-":
            binding_stops.arm(point, signal.SIGKILL, skip)
        with Client(connects(partition), options) as client:
            disk = client.disk(target)
            for number in range(ROUNDS):
                data = number.to_bytes(2, "little") * (BLOCK // 2)
                disk.write(BLOCK * number, data)
                assert disk.read(BLOCK * number, BLOCK) == data
        conversation.ask("detach")


def main(state: str, name: str, target: str, ring: str, mapping: str) -> None:
    for order in sys.stdin:
        point, skip = order.split()
        child = os.fork()
        if not child:
            code = 1
            try:
                live(Path(state), name, target, Options(ring=ring, map=mapping), point, int(skip))
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        print(os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
