# SPDX-License-Identifier: Apache-2.0
"""The process that becomes a guest: it attaches as the partition, tells its parent what it was given, and runs QEMU.

By `exec`, so that the hypervisor's watch over this process is a watch over QEMU.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from virtio_crq.errors import UsageError, VirtioCrqError
from virtio_crq.guests.kernelfile import check_kernel
from virtio_crq.guests.qemu import arguments
from virtio_crq.hypervisor.conversation import PROTOCOL, Conversation, line


def run(order: dict[str, Any]) -> None:
    """Never returns when all is well."""
    sockets: dict[str, int] = order["sockets"]
    control = sockets["control"]
    try:
        conversation = Conversation(Path(order["state"]))
        description = conversation.ask("attach", partition=order["partition"], protocol=PROTOCOL)
        if not description["guest"]:
            name = order["partition"]
            raise UsageError(f"partition {name} is no guest; say guest = true in its [partition.{name}]")
        plan = {**order["plan"], "entry": check_kernel(Path(order["plan"]["kernel"]))}
        sockets = {**sockets, "hypervisor": conversation.fileno()}
        words = [*order["qemu"], *arguments(plan, description, sockets, conversation.descriptors)]
        for descriptor in (conversation.fileno(), *conversation.descriptors):
            os.set_inheritable(descriptor, True)
    except VirtioCrqError as error:
        os.write(control, line({"error": str(error)}))
        sys.exit(2)
    whole = memoryview(line({"ok": description}))
    while whole:
        whole = whole[os.write(control, whole) :]
    os.execvp(words[0], words)


if __name__ == "__main__":
    run(json.loads(sys.argv[1]))
