# SPDX-License-Identifier: Apache-2.0
"""A block queue on the rig: requests by name, answers as bytes."""

import struct

from layouts import guest_of
from rig import WRITE, Rig

from virtio_crq.dataplane.blockservice import BlockService
from virtio_crq.dataplane.disktraits import DiskTraits
from virtio_crq.dataplane.ramstore import RamStore
from virtio_crq.dataplane.ringterms import RingResume
from virtio_crq.dataplane.store import Store

IN, OUT, FLUSH, GET_ID = 0, 1, 4, 8
SLOT = 0x4000  # of guest memory for each request
FIRST = 0x20000


class Disk:
    """One queue of one block device; `results` collects (tag, status, data) as requests complete.

    `fetch` is a strategy's name, `LAYOUT-FETCH`.
    """

    def __init__(
        self, rig: Rig, *, fetch: str = "split-batched", size: int = 16, store: Store | None = None,
        sectors: int = 2048, event_idx: bool = False, indirect: bool = True, device: int = 0, base: int = 0,
        in_order: bool = False, service: type[BlockService] = BlockService, **options: object,
    ) -> None:  # fmt: skip
        self.rig = rig
        self.device = device
        self.store = store if store is not None else RamStore(sectors * 512)
        self.service = service(self.store, DiskTraits(sectors, b"serial-7", **options))  # type: ignore[arg-type]
        self.ring = guest_of(fetch, rig.platform, size, base, event_idx, in_order)
        self.base = base
        self.indirect = indirect
        self.in_order = in_order
        self.open()
        self.slots = list(range(64))
        self.flying: dict[int, tuple[object, int, int]] = {}
        self.results: list[tuple[object, int, bytes]] = []

    def open(self, resume: tuple[int, int, list[int]] | None = None) -> None:
        stopped = None if resume is None else RingResume(resume[0], resume[1], tuple(resume[2]))
        self.ring.serve(self.rig, self.device, self.service, stopped, indirect=self.indirect, in_order=self.in_order)

    def submit(
        self, kind: int, sector: int = 0, data: bytes = b"", length: int = 0, tag: object = None, pieces: int = 1,
        table: bool = False,
    ) -> int:  # fmt: skip
        """Make one request available (not announced). `pieces` splits the data over that many descriptors."""
        slot = self.slots.pop(0)
        at = self.base + FIRST + slot * SLOT
        memory = self.rig.platform.guest
        struct.pack_into("<IIQ", memory, at, kind, 0, sector)
        memory[at + 16] = 0xEE
        body = at + 512
        memory[body : body + len(data)] = data
        size = max(len(data), length)
        flags = WRITE if length else 0
        step = max(1, -(-size // pieces)) if size else 1
        parts = [(at, 16, 0)]
        parts += [(body + start, min(step, size - start), flags) for start in range(0, size, step)]
        parts.append((at + 16, 1, WRITE))
        head = self.ring.indirect(parts, at + 1024 * 15) if table else self.ring.chain(parts)
        self.flying[head] = (tag, slot, length)
        self.ring.make_available(head)
        return head

    def announce(self, credit: int = 0) -> None:
        self.ring.announce(self.rig, credit, self.device)

    def collect(self) -> list[tuple[object, int, bytes]]:
        new = []
        for head, _ in self.ring.collect():
            tag, slot, length = self.flying.pop(head)
            at = self.base + FIRST + slot * SLOT
            memory = self.rig.platform.guest
            new.append((tag, memory[at + 16], bytes(memory[at + 512 : at + 512 + length])))
            self.slots.append(slot)
        self.results += new
        return new
