# SPDX-License-Identifier: Apache-2.0
"""A client that does as it pleases with sub-CRQs: its queue is paired, and what it pushes goes there at once."""

from typing import Any

from intruder import PAGE, QUEUE_SIZE, TABLE, Intruder

from virtio_crq.dataplane.sidequeue import SideQueue
from virtio_crq.message import codec
from virtio_crq.message.session import PAIR, PUSH
from virtio_crq.papr.hypercalls import Hypercall
from virtio_crq.platform.partition import Partition
from virtio_crq.virtio import records, status
from virtio_crq.virtio.features import MANDATORY, RING_RESET, feature_set

SIDE = 12 * PAGE  # of what is mapped
SLOTS = PAGE // records.REQUEST
UP = status.ACKNOWLEDGE | status.DRIVER | status.FEATURES_OK | status.DRIVER_OK


class PairedIntruder(Intruder):
    """`side` is its sub-CRQ, and sends to the server's; `code` is what the platform said to the last record."""

    def __init__(self, partition: Partition, server: int) -> None:
        super().__init__(partition, server)
        self.side = SideQueue(self.port, self.memory + SIDE, self.base + SIDE, SLOTS)
        self.code = 0
        self.completed: list[bytes] = []

    def hello_pushing(self) -> None:
        self.hello_with(features=PUSH | PAIR)
        self.mark = self.end.session & 0xFF

    def pair(self, device: int = 0, queue: int = 0, **changes: Any) -> Any:
        """PAIR_VQUEUE as it should be, apart from `changes`; its answer."""
        fields = {"index": queue, "slots": QUEUE_SIZE, "handle": self.side.handle} | changes
        answer = self.ask(codec.PairVqueue(**fields), device, may_refuse=True)
        if not isinstance(answer, codec.Refused):
            self.side.partner = answer.handle
        return answer

    def open_side(self) -> None:
        assert self.side.close() == 0
        assert self.side.open() == 0

    def bring_up(
        self, device: int = 0, features: int = MANDATORY | feature_set(RING_RESET), queue: int = 0, **pairing: int
    ) -> None:
        self.port.write(self.memory + TABLE, bytes(3 * PAGE))
        self.position = self.owed = self.told = 0
        self.may_announce = True
        self.completed = []
        self.negotiate(device, features)
        self.open_side()
        assert self.pair(device, queue, **pairing).handle, "the server has no sub-CRQ for this queue"
        self.ask(self.queue(index=queue), device)
        assert self.set_status(UP, device) == UP

    def push(
        self, head: int, inlined: bytes = b"", flags: int = 0, address: int = 0, length: int = 0, **name: int
    ) -> None:
        at = self.memory + TABLE + records.REQUEST * (self.position % QUEUE_SIZE)
        super().push(head, inlined, flags, address, length, **name)
        self.code = self.port.queue_send(self.side.partner, at)

    def announce(self, position: int | None = None, device: int = 0, queue: int = 0) -> None:
        """A record announces itself."""

    def announce_all_the_same(self) -> None:
        super().announce(self.position)

    def collect(self) -> int:
        """Take what was completed; how many completions came so far."""
        while self.side.waits():
            self.completed.append(self.port.read(self.side.slot(), records.REQUEST))
            self.side.free()
        return len(self.completed)

    def _serve_pushed_read(self) -> None:
        before = self.collect()
        self.push_read()
        assert self.code == 0
        self.until(lambda: self.collect() > before, "completion")

    def transmit(self, device: int, queue: int) -> None:
        raise NotImplementedError("consoles are the unpaired intruder's")

    def free_crq(self) -> None:
        """Leave without a word to the server: the platform tells it, and takes the sub-CRQ along."""
        unit = self.end.properties.unit_address
        self.insist(lambda: self.port.call(Hypercall.H_FREE_CRQ, unit)[0] != 1, "freeing the CRQ")
