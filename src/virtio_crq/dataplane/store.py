# SPDX-License-Identifier: Apache-2.0
"""Where a block device's bytes live: the interface between a request loop and a backing.

An operation answers at once (DONE, FAILED), later (PENDING: its token comes back from `reap`), or not now (BUSY: ask
again after something else ended). Offsets are into own RAM, positions into the store, both in bytes.
"""

from typing import Any

from virtio_crq.platform.port import Port

DONE = 0
PENDING = 1
FAILED = 2
BUSY = 3


class Store:
    """Used by one worker's thread. `capacity` is in bytes; of the `pending` operations, `unsent` await a `submit`."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.orphans = 0  # operations still running for queues that were closed: nothing new starts before they end
        self.pending = 0
        self.unsent = 0
        self.owners: list[Any] = []
        self.token = 0
        self.result = 0

    def bind(self, port: Port) -> None:
        """Whose memory offsets are into."""

    def resize(self, capacity: int) -> None:
        """What it stores has become larger or smaller."""
        self.capacity = capacity

    def adopt(self, owner: object) -> int:
        """A tag for the tokens of this owner."""
        if None in self.owners:
            tag = self.owners.index(None)
            self.owners[tag] = owner
            return tag
        self.owners.append(owner)
        return len(self.owners) - 1

    def forget(self, tag: int) -> None:
        """The owner has nothing pending any more."""
        self.owners[tag] = None

    def lend(self, port: Port) -> int:
        """The number under which the platform below `port` has this store's file for redirected transfers, or -1."""
        return -1

    def read(self, port: Port, offset: int, length: int, position: int, token: int) -> int:
        return 2

    def write(self, port: Port, offset: int, length: int, position: int, stable: int, token: int) -> int:
        """`stable`: on the medium before it is done."""
        return 2

    def sync(self, port: Port, token: int) -> int:
        """What was written before is on the medium when this is done."""
        return 0

    def submit(self) -> int:
        """Start what was made pending since the last call."""
        return 0

    def reap(self) -> int:
        """1 if an operation ended: `token` says which, `result` how (DONE, FAILED)."""
        return 0

    def expect(self) -> int:
        """Who serves this store is about to sleep on `wakeup`; 1 if `reap` has something already."""
        return 0

    def wakeup(self) -> int:
        """A descriptor that is readable when `reap` has something, for who expects it; -1: nothing is ever pending."""
        return -1

    def close(self) -> None:
        """Release what the store holds, after its last operation ended."""
