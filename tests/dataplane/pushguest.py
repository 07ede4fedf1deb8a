# SPDX-License-Identifier: Apache-2.0
"""A front-end by hand: records written byte by byte into the guest's memory, completions read from there.

Over side queues as well: the platform puts there what was announced, and what comes from there behind the others.
"""

import struct
from typing import NamedTuple

from rig import WINDOW, Rig

from virtio_crq.dataplane.blockservice import BlockService
from virtio_crq.dataplane.disktraits import DiskTraits
from virtio_crq.dataplane.ramstore import RamStore
from virtio_crq.dataplane.ringterms import RingResume, RingTerms
from virtio_crq.dataplane.service import Service

IN, OUT, FLUSH, GET_ID = 0, 1, 4, 8
TAIL, WRITE, LIST = 0x20, 0x40, 0x80
MARK = 7  # low byte of the session
PARTNER = 77  # the handle of the front-end's side queue
SIZE = 8
REQUESTS, COMPLETIONS, LISTS, DATA = 0, 0x400, 0x800, 0x4000


class Completion(NamedTuple):
    head: int
    written: int
    flags: int
    tail: int


def header(kind: int, sector: int = 0) -> bytes:
    return struct.pack("<IIQ", kind, 0, sector)


class PushGuest:
    """One pushed queue of a block device; `position` is how many records were written."""

    def __init__(
        self,
        rig: Rig,
        sectors: int = 64,
        resume: RingResume | None = None,
        service: Service | None = None,
        size: int = SIZE,
        layout: str = "records",
    ) -> None:
        self.size = size
        self.rig = rig
        self.memory = rig.platform.guest
        self.store = RamStore(sectors * 512)
        self.service = service or BlockService(self.store, DiskTraits(sectors, b"serial-7"))
        self.position = 0
        self.pending: list[bytes] = []  # not announced
        self.seen = self.came = 0
        self.paired = layout == "paired"
        self.unmarked = 1 if self.paired else 0  # the first byte of a record that is none, and yet is looked at
        if self.paired:
            rig.platform.sides[PARTNER] = self._sent
            assert rig.link.pair(2, 1, size, PARTNER)
        terms = RingTerms(
            size, WINDOW + REQUESTS, 0, WINDOW + COMPLETIONS, ring=layout, fetch="push", device=2, queue=1, mark=MARK
        )
        rig.link.open_queue(2, 1, self.service, terms, resume)

    def record(
        self,
        head: int,
        inlined: bytes = b"",
        flags: int = 0,
        address: int = 0,
        length: int = 0,
        marker: int = 0x80,
        name: tuple[int, int, int] = (2, 1, MARK),
    ) -> None:
        """The next record. `flags` counts the inlined bytes itself unless it says otherwise."""
        device, queue, session = name
        flags = flags if flags & 0x1F else flags | len(inlined)
        body = struct.pack("<BBHHBB", marker, flags, head, device, queue, session)
        body += (address + WINDOW if length and address < WINDOW else address).to_bytes(5, "little")
        body += length.to_bytes(3, "little") + inlined.ljust(16, b"\0")
        at = REQUESTS + 32 * (self.position % self.size)
        self.memory[at : at + 32] = body
        self.pending.append(body)
        self.position += 1

    def read(self, head: int, sector: int = 0, length: int = 512) -> None:
        """A read of a block device, whole in its record."""
        self.record(head, header(IN, sector), TAIL | WRITE, DATA + 0x1000 * head, length)

    def listed(self, head: int, *parts: tuple[int, int, int], inlined: bytes = b"", flags: int = 0) -> None:
        """A record that names a list; a part is (address, length, 2 where it is to write)."""
        at = LISTS + 0x100 * head
        for index, (address, length, write) in enumerate(parts):
            more = 1 if index + 1 < len(parts) else 0
            struct.pack_into("<QIHH", self.memory, at + 16 * index, WINDOW + address, length, write | more, index + 1)
        self.record(head, inlined, flags | LIST, at, 16 * len(parts))

    def announce(self, credit: int = 0) -> None:
        pending, self.pending = self.pending, []
        if not self.paired:
            self.rig.announce(self.position, credit, 2, 1)
            return
        side = self.rig.link.sides[2, 1]
        for ahead, text in enumerate(pending):
            at = side.offset + 32 * ((side.cursor + ahead) % side.slots)
            self.rig.port.write(at + 1, text[1:])
            self.rig.port.write(at, text[:1])  # what makes it valid comes last

    def _sent(self, record: bytes) -> None:
        at = COMPLETIONS + 16 * (self.came % self.size)
        self.memory[at : at + 16] = record[:16]
        self.came += 1

    def serve(self, credit: int = 0) -> None:
        self.announce(credit)
        self.rig.run()

    def completions(self) -> list[Completion]:
        """What was announced since the last call."""
        said = [self.came] if self.paired else [position for position, _ in self.rig.said()]
        found = []
        while said and self.seen != said[-1]:
            at = COMPLETIONS + 16 * (self.seen % self.size)
            marker, flags, head, device, queue, session, written, tail = struct.unpack_from(
                "<BBHHBBIB", self.memory, at
            )
            assert (marker, device, queue, session) == (0x80, 2, 1, MARK)
            assert self.memory[at + 13 : at + 16] == bytes(3)
            found.append(Completion(head, written, flags, tail))
            self.seen = (self.seen + 1) & 0xFFFF
        return found
