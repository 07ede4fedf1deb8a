# SPDX-License-Identifier: Apache-2.0
"""Lives of a server partition that end at a named stop point of the engine; run by `test_server_killed_inside.py`.

`mortalserver.py STATE NAME FILE`: for each line `POINT SKIP SECONDS` a forked process becomes the server partition with
the point armed, and serves until it dies there or the time is up. The answer is the signal that ended it, or 0.
"""

import asyncio
import signal
import sys
from functools import partial
from pathlib import Path

from armedpartition import attach_armed, one_life

from virtio_crq import axes
from virtio_crq.cli import serving
from virtio_crq.hypervisor.machinefile import read_machine_file
from virtio_crq.vios.control import socket_path


def live(state: Path, name: str, file: Path, point: str, skip: int) -> None:
    serving.attach = lambda state, name: attach_armed(state, name, point, skip)  # type: ignore[assignment]
    machine = read_machine_file(file)
    row = machine.partition(name)
    said = {key: getattr(row, key) or values[0] for key, values in axes.SERVER.items()} | {
        "data": machine.data_of(name)
    }
    with serving.open_server(state, machine, name, 1, 50, gathering=0, pin=-1, **said) as (server, _):

        async def serve() -> None:
            stop = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            await server.serve(socket_path(state, name), stop, lambda: None)

        asyncio.run(serve())


def main(state: str, name: str, file: str) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # time may be up before a life has come to serve
    for order in sys.stdin:
        point, skip, seconds = order.split()
        print(one_life(partial(live, Path(state), name, Path(file), point, int(skip)), float(seconds)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
