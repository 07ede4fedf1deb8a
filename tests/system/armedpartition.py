# SPDX-License-Identifier: Apache-2.0
"""Processes that are a partition with a stop point of the engine armed, one life after the other."""

import os
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path

from virtio_crq.errors import UsageError
from virtio_crq.hypervisor import binding_stops
from virtio_crq.hypervisor.attachment import AttachedPartition
from virtio_crq.hypervisor.conversation import PROTOCOL, Conversation
from virtio_crq.hypervisor.partition import EmulatedPartition


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
    if point != "-":
        binding_stops.arm(point, signal.SIGKILL, skip)
    return AttachedPartition(partition, conversation)


def one_life(live: Callable[[], None], seconds: float | None = None) -> int:
    """Live in a process of its own, told to end after `seconds`: the signal that ended it, or minus its status."""
    child = os.fork()
    if not child:
        code = 1
        try:
            live()
            code = 0
        finally:
            os._exit(code)
    descriptor = os.pidfd_open(child)
    if not select.select([descriptor], [], [], seconds)[0]:
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
    _, status = os.waitpid(child, 0)
    os.close(descriptor)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.waitstatus_to_exitcode(status)
