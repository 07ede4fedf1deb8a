# SPDX-License-Identifier: Apache-2.0
"""What a closed queue leaves in its store: operations that nobody waits for, and the buffers they still use."""

from virtio_crq.dataplane.staging import Staging
from virtio_crq.dataplane.store import Store


class Orphans:
    """Takes the queue's place as the owner of its tokens, until the last of them came back.

    A write that is still under way may change the store; nothing new starts there before it ended.
    """

    def __init__(self, store: Store, tag: int, staging: Staging, buffers: dict[int, tuple[int, int]]) -> None:
        self.store = store
        self.tag = tag
        self.staging = staging
        self.buffers = buffers
        store.orphans += len(buffers)
        store.owners[tag] = self

    def land(self, head: int) -> None:
        """One ended; a buffer of length 0 is none."""
        at, length = self.buffers.pop(head)
        if length:
            self.staging.give(at, length)
        self.store.orphans -= 1
        if not self.buffers:
            self.store.forget(self.tag)
