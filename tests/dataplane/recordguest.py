# SPDX-License-Identifier: Apache-2.0
"""The driver's half of one pushed queue, written for clearness: a request is a list of (address, length, flags)."""

import struct

from rig import NEXT, WINDOW, WRITE, Guest, Platform, Rig

from virtio_crq.dataplane.ringterms import RingResume, RingTerms
from virtio_crq.dataplane.service import Service
from virtio_crq.platform.channel import USED

TAIL, SEGMENT, LIST = 0x20, 0x40, 0x80
INLINED = 16  # bytes that have room in a record
MARK = 7  # low byte of the session
LISTS, ROOM = 0x2000, 0x400  # of guest memory, a list for each head
Part = tuple[int, int, int]


class RecordGuest(Guest):
    """Records in the guest's memory; the device pulls what was announced, and announces its completions."""

    layout = "records"
    fetch = "push"

    def __init__(
        self, platform: Platform, size: int = 16, base: int = 0, event_idx: bool = False, in_order: bool = False
    ) -> None:
        super().__init__(platform, size, base)
        self.base = base
        self.requests = base
        self.used = base + 32 * size  # completions
        self.waiting: dict[int, tuple[list[Part], int]] = {}  # parts, and where the driver's own table is
        self.flying: dict[int, bytes] = {}  # by head, the record; and where its last byte goes
        self.tails: dict[int, int] = {}
        self.rig: Rig | None = None
        self.device = 0
        self.told = 0  # announcements of the device that were looked at

    def terms(self, **other: object) -> RingTerms:
        areas = (WINDOW + self.requests, 0, WINDOW + self.used)
        return RingTerms(self.size, *areas, **self._named, **other)  # type: ignore[arg-type]

    @property
    def _named(self) -> dict[str, object]:
        return {"ring": self.layout, "fetch": self.fetch, "mark": MARK, "device": self.device}

    def serve(
        self, rig: Rig, device: int, service: Service, stopped: RingResume | None = None, **terms: object
    ) -> None:
        self.rig, self.device = rig, device
        self.next = self.seen = 0
        self.told = len(rig.channel.said)
        for head in stopped.heads if stopped else ():
            self._push(head)  # once more, from the first place on
        super().serve(rig, device, service, stopped, **terms)

    def announce(self, rig: Rig, credit: int = 0, device: int = 0) -> None:
        """The device's credit went back when its completions were collected."""
        rig.announce(self.next, 0, device)

    def chain(self, parts: list[Part]) -> int:
        head = self.free.pop(0)
        self.waiting[head] = parts, 0
        return head

    def indirect(self, parts: list[Part], table: int) -> int:
        head = self.free.pop(0)
        self.waiting[head] = parts, table
        return head

    def make_available(self, head: int) -> None:
        """What there is to read first and to write last goes in the records themselves, where it has room there."""
        parts, table = self.waiting.pop(head)
        inlined, flags, address, length = b"", 0, 0, 0
        if not table and not parts[0][2] & WRITE and 0 < parts[0][1] <= INLINED:
            (at, size, _), *parts = parts
            inlined = bytes(self.memory[at : at + size])
        if not table and parts and parts[-1][1:] == (1, WRITE):
            *parts, (self.tails[head], _, _) = parts
            flags |= TAIL
        if not table and len(parts) == 1 and parts[0][1]:
            ((at, length, write),) = parts
            address, flags = WINDOW + at, flags | (SEGMENT if write & WRITE else 0)
        elif parts:
            address, length, flags = WINDOW + self._listed(head, parts, table), 16 * len(parts), flags | LIST
        record = struct.pack("<BBHHBB", 0x80, flags | len(inlined), head, self.device, 0, MARK)
        record += (address | length << 40).to_bytes(8, "little") + inlined.ljust(INLINED, b"\0")
        self.flying[head] = record
        self._push(head)

    def _push(self, head: int) -> None:
        self._put(self.flying[head])
        self.next = (self.next + 1) & 0xFFFF

    def _listed(self, head: int, parts: list[Part], table: int) -> int:
        at = table or self.base + LISTS + ROOM * head
        for index, (address, length, write) in enumerate(parts):
            more = NEXT if index + 1 < len(parts) else 0
            bus = (WINDOW + address) & (1 << 64) - 1
            struct.pack_into("<QIHH", self.memory, at + 16 * index, bus, length, write | more, index + 1)
        return at

    def _put(self, record: bytes) -> None:
        at = self.requests + 32 * (self.next % self.size)
        self.memory[at : at + 32] = record

    def wish(self, event: int) -> None:
        """There is none: whoever pushes is told of everything."""

    def used_index(self) -> int:
        """How far the device has announced; its credit goes back at once, and so it may announce again."""
        assert self.rig is not None
        position = self.seen
        for kind, device, _, said, _ in self.rig.channel.said[self.told :]:
            if kind == USED and device == self.device:
                position = said
                self.rig.give_credit(device)
        self.told = len(self.rig.channel.said)
        return position

    def collect(self) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        while self.seen != (end := self.used_index()):
            while self.seen != end:
                found.append(self._completed(bytes(self.memory[(at := self._at()) : at + 16])))
            assert self.rig is not None
            self.rig.run()  # what waited for the credit
        return found

    def _at(self) -> int:
        return self.used + 16 * (self.seen % self.size)

    def _completed(self, record: bytes) -> tuple[int, int]:
        self.seen = (self.seen + 1) & 0xFFFF
        marker, flags, head, device, queue, session, written, tail = struct.unpack_from("<BBHHBBIB", record)
        assert (marker, device, queue, session) == (0x80, self.device, 0, MARK)
        del self.flying[head]
        assert bool(flags & TAIL) == (head in self.tails)
        if flags & TAIL:
            self.memory[self.tails.pop(head)] = tail
        self.free = [head, *self.free]
        return head, written


class PairedGuest(RecordGuest):
    """Records by a pair of side queues, which announce themselves: there are no positions and no credits."""

    layout = "paired"
    announces = False
    records: list[bytes]

    def serve(
        self, rig: Rig, device: int, service: Service, stopped: RingResume | None = None, **terms: object
    ) -> None:
        self.records, self.completions = [], []
        self.partner = 0x70 + device
        rig.platform.sides[self.partner] = self.completions.append
        assert rig.link.pair(device, 0, self.size, self.partner)
        super().serve(rig, device, service, stopped, **terms)

    def terms(self, **other: object) -> RingTerms:
        return RingTerms(self.size, 0, 0, 0, **self._named, **other)  # type: ignore[arg-type]

    def announce(self, rig: Rig, credit: int = 0, device: int = 0) -> None:
        """As the platform does: what makes a record valid comes last."""
        side = rig.link.sides[device, 0]
        for ahead, record in enumerate(self.records):
            at = side.offset + 32 * ((side.cursor + ahead) % side.slots)
            assert not rig.port.read(at, 1)[0], "the side queue is full"
            rig.port.write(at + 1, record[1:])
            rig.port.write(at, record[:1])
        self.records.clear()

    def hide_used(self) -> str:
        del self.platform.sides[self.partner]
        return "record-refused"

    def _put(self, record: bytes) -> None:
        self.records.append(record)

    def used_index(self) -> int:
        return (self.seen + len(self.completions)) & 0xFFFF

    def collect(self) -> list[tuple[int, int]]:
        found = [self._completed(record) for record in self.completions]
        self.completions.clear()
        return found
