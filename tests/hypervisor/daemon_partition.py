# SPDX-License-Identifier: Apache-2.0
"""A partition as a process of its own, for tests: attaches, registers its first CRQ, then obeys lines on its input."""

import sys
from pathlib import Path

from virtio_crq.errors import VirtioCrqError
from virtio_crq.hypervisor.attachment import attach
from virtio_crq.papr.hypercalls import Hypercall


def main(state_directory: str, name: str) -> None:
    try:
        partition = attach(Path(state_directory), name)
    except VirtioCrqError as error:
        print(f"refused: {error}", flush=True)
        return
    node = partition.adapters()[0]
    port = partition.open(node.unit_address)
    port.map(0, 0, 0x10000, 3)
    code, _ = port.call(Hypercall.H_REG_CRQ, node.unit_address, 0, 4096)
    print(f"registered {code}", flush=True)
    for line in sys.stdin:
        word, *rest = line.split()
        if word == "send":
            print(port.send(int(rest[0], 0), 0), flush=True)
        elif word == "ring":
            print(port.read(16 * int(rest[0]), 16).hex(), flush=True)
        elif word == "write":
            port.write(int(rest[0], 0), bytes.fromhex(rest[1]))
            print("written", flush=True)
        elif word == "read":
            print(port.read(int(rest[0], 0), 8).hex(), flush=True)
        elif word == "detach":
            partition.close()
            print("detached", flush=True)


main(*sys.argv[1:])
