# SPDX-License-Identifier: Apache-2.0
"""Being a partition in a process of one's own: ask the machine's hypervisor for its memory, adapters and doorbells."""

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from virtio_crq.errors import UsageError
from virtio_crq.hypervisor.conversation import PROTOCOL, Conversation
from virtio_crq.hypervisor.partition import EmulatedPartition
from virtio_crq.platform.partition import AdapterNode, UnitAddress
from virtio_crq.platform.port import Port

DETACH_SECONDS = 5.0  # after which our end tells the hypervisor the same


def attach(state_directory: Path, name: str) -> "AttachedPartition":
    """Become the partition `name`; refused while another process is it."""
    conversation = Conversation(state_directory)
    try:
        description = conversation.ask("attach", partition=name, protocol=PROTOCOL)
        partition = EmulatedPartition.from_descriptors(description, conversation.descriptors)
    except BaseException:
        conversation.close()
        raise
    finally:
        for descriptor in conversation.descriptors:
            os.close(descriptor)
        conversation.descriptors.clear()
    return AttachedPartition(partition, conversation)


class AttachedPartition:
    """`platform.partition.Partition` over the hypervisor of another process. `close` powers the partition off."""

    def __init__(self, partition: EmulatedPartition, conversation: Conversation) -> None:
        self._partition = partition
        self._conversation = conversation
        self._attached = True

    @property
    def name(self) -> str:
        return self._partition.name

    @property
    def number(self) -> int:
        return self._partition.number

    @property
    def memory_size(self) -> int:
        return self._partition.memory_size

    @property
    def bus_properties(self) -> Mapping[str, bytes]:
        return self._partition.bus_properties

    def adapters(self) -> Sequence[AdapterNode]:
        return self._partition.adapters()

    def open(self, unit_address: UnitAddress) -> Port:
        return self._partition.open(unit_address)

    def fileno(self) -> int:
        """Readable when the hypervisor has ended: nothing will clean up after this partition any more."""
        return self._conversation.fileno()

    def close(self) -> None:
        if not self._attached:
            return
        self._attached = False
        self._partition.close()
        with contextlib.suppress(UsageError):  # a hypervisor that ended first has nothing to power off
            self._conversation.ask("detach", patience=DETACH_SECONDS)
        self._conversation.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
