# SPDX-License-Identifier: Apache-2.0
"""Lives of a server partition that end at a named stop point of the engine; run by `test_server_killed_inside.py`.

`mortalserver.py STATE NAME FILE`: for each line `POINT SKIP SECONDS` a forked process becomes the server partition with
the point armed, and serves until it dies there or the time is up. The answer is the signal that ended it, or 0.
"""

import asyncio
import os
import select
import signal
import sys
import time
from pathlib import Path

from virtio_crq.cli import serving
from virtio_crq.errors import UsageError
from virtio_crq.hypervisor import binding_stops
from virtio_crq.hypervisor.attachment import AttachedPartition
from virtio_crq.hypervisor.conversation import PROTOCOL, Conversation
from virtio_crq.hypervisor.machinefile import FETCHES, RINGS, read_machine_file
from virtio_crq.hypervisor.partition import EmulatedPartition
from virtio_crq.vios.control import socket_path


def attach_armed(state: Path, name: str, point: str, skip: int) -> AttachedPartition:
    """As `attachment.attach`, over the engine with stop points; waits until the last life is cleaned up."""
    deadline = time.monotonic() + 5
    while True:
        conversation = Conversation(state)
        try:
            description = conversation.ask("attach", partition=name, protocol=PROTOCOL)
            break
        except UsageError:
            conversation.close()
            if time.monotonic() > deadline:
                raise
            select.select([], [], [], 0.01)
    partition = EmulatedPartition.from_descriptors(description, conversation.descriptors, binding_stops)
    binding_stops.arm(point, signal.SIGKILL, skip)
    return AttachedPartition(partition, conversation)


def live(state: Path, name: str, file: Path, point: str, skip: int) -> None:
    serving.attach = lambda state, name: attach_armed(state, name, point, skip)  # type: ignore[assignment]
    machine = read_machine_file(file)
    row = machine.partition(name)
    options = {"data": machine.data_of(name), "ring": row.ring or RINGS[0]}
    with serving.open_server(state, machine, name, 1, 50, row.fetch or FETCHES[0], **options) as (server, _):

        async def serve() -> None:
            stop = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
            await server.serve(socket_path(state, name), stop, lambda: None)

        asyncio.run(serve())


def main(state: str, name: str, file: str) -> None:
    for order in sys.stdin:
        point, skip, seconds = order.split()
        child = os.fork()
        if not child:
            code = 1
            try:
                live(Path(state), name, Path(file), point, int(skip))
                code = 0
            finally:
                os._exit(code)
        descriptor = os.pidfd_open(child)
        if not select.select([descriptor], [], [], float(seconds))[0]:
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        _, status = os.waitpid(child, 0)
        os.close(descriptor)
        print(os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
