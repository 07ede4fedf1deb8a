# SPDX-License-Identifier: Apache-2.0
"""A disk of a hostile server that agreed to PAIR: records come and go by sub-CRQs, as long as nobody interferes."""

from dataclasses import dataclass
from typing import Any

from virtio_crq.conformance.hostile.pushedmodel import PushedDisk
from virtio_crq.message.device import QueueResume, QueueSetup
from virtio_crq.platform.partition import Arena, BusAddress
from virtio_crq.virtio import records
from virtio_crq.virtio.splitring import QueueIndex

PAGE = 4096
SLOTS = PAGE // records.REQUEST
NOWHERE = Arena(0, 0, BusAddress(0))


@dataclass(eq=False)
class PairedDisk(PushedDisk):
    """`own` is the handle of the disk's sub-CRQ, 0 while its queue goes by the window; `partner` the front-end's."""

    pages: int = 2  # a ring, and where what is sent is laid
    port: Any = None
    memory: Arena = NOWHERE
    own: int = 0
    partner: int = 0
    cursor: int = 0
    keeps: bool = False  # slots are not freed
    kept: int = 0
    strays: int = 0  # completions of a session that never was, which are sent one after the other

    def furnish(self, port: Any, memory: Arena) -> None:
        self.port, self.memory = port, memory

    def pair_queue(self, index: QueueIndex, slots: int, handle: int) -> int:
        self.part()
        code, own, _interrupt = self.port.queue_open(self.memory.bus, PAGE)
        self.own, self.partner = own if code == 0 else 0, handle
        self.cursor = self.kept = 0
        return self.own

    def part(self) -> None:
        if self.own:
            self.port.queue_close(self.own)
        self.own = 0

    def enable_queue(self, index: QueueIndex, setup: QueueSetup, resume: QueueResume | None) -> None:
        super().enable_queue(index, setup, resume)
        if self.own:
            self.seen = 0  # what is in flight comes once more

    def disable_queue(self, index: QueueIndex) -> bool:
        self.part()
        return super().disable_queue(index)

    def reset(self) -> bool:
        self.part()
        return super().reset()

    def serve(self) -> None:
        while self.strays and self.running and self.complete_as(0, 0, session=0) == 0:
            self.strays -= 1
        super().serve()

    def fetch(self) -> None:
        if not self.own:
            super().fetch()
            return
        while self.kept < SLOTS and self.port.acquire8(at := self.memory.offset + records.REQUEST * self.cursor):
            self.pending.append(self.parsed(self.port.read(at, records.REQUEST)))
            if self.keeps:
                self.kept += 1
            else:
                self.port.release8(at, 0)
            self.cursor = (self.cursor + 1) % SLOTS

    def tell(self) -> None:
        if not self.own:
            super().tell()

    # -- for acts

    def put_completion(self, position: int, head: int, length: int, **other: int) -> None:
        if self.own:
            self.complete_as(head, length, **other)
        else:
            super().put_completion(position, head, length, **other)

    def complete_as(self, head: int, length: int, **other: int) -> int:
        """A completion, right but for what `other` says; the platform's code."""
        return self.send(self.completion(head, length, **other))

    def send(self, record: bytes) -> int:
        at = self.memory.offset + PAGE
        self.port.write(at, record.ljust(records.REQUEST, b"\0"))
        return int(self.port.queue_send(self.partner, at))
