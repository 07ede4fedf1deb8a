# SPDX-License-Identifier: Apache-2.0
"""The driver's half of one packed ring, written for clearness: a request is a list of (address, length, flags)."""

import struct

from rig import INDIRECT, NEXT, WINDOW, Guest, Platform

from virtio_crq.dataplane.ringterms import RingTerms

AVAIL, USED = 1 << 7, 1 << 15


class PackedGuest(Guest):
    """`next` and `seen` are positions: they count descriptors. A chain is written when it is made available."""

    def __init__(
        self, platform: Platform, size: int = 16, base: int = 0, event_idx: bool = False, in_order: bool = False
    ) -> None:
        super().__init__(platform, size, base, event_idx)
        self.in_order = in_order
        self.available = base + 16 * size  # the driver's event suppression structure
        self.used = self.available + 4  # the device's
        self.waiting: dict[int, list[tuple[int, int, int]]] = {}
        self.flying: dict[int, list[tuple[int, int, int]]] = {}  # by id, oldest first

    def terms(self, **other: object) -> RingTerms:
        return super().terms(ring="packed", **other)

    def hide_used(self) -> str:
        self.platform.revoked = [range(self.descriptors + 8, self.descriptors + 12)]
        return "copy-refused"

    def wrap(self, position: int) -> int:
        return 0 if position // self.size % 2 else 1

    def write(self, position: int, address: int, length: int, name: int, flags: int) -> None:
        """A descriptor, marked as available at its position."""
        mark = AVAIL if self.wrap(position) else USED
        place = self.descriptors + 16 * (position % self.size)
        struct.pack_into("<QIHH", self.memory, place, address & (1 << 64) - 1, length, name, flags | mark)

    def chain(self, parts: list[tuple[int, int, int]]) -> int:
        name = self.free.pop(0)
        self.waiting[name] = [(WINDOW + address, length, flags) for address, length, flags in parts]
        return name

    def indirect(self, parts: list[tuple[int, int, int]], table: int) -> int:
        for index, (address, length, flags) in enumerate(parts):
            place = table + 16 * index
            struct.pack_into("<QIHH", self.memory, place, (WINDOW + address) & (1 << 64) - 1, length, 0, flags)
        name = self.free.pop(0)
        self.waiting[name] = [(WINDOW + table, 16 * len(parts), INDIRECT)]
        return name

    def make_available(self, head: int) -> None:
        parts = self.waiting.pop(head)
        self.flying[head] = parts
        for index, (address, length, flags) in enumerate(parts):
            more = NEXT if index + 1 < len(parts) else 0
            self.write(self.next + index, address, length, 0 if more else head, flags | more)
        self.next = (self.next + len(parts)) & 0xFFFF

    def raw(self, *descriptors: tuple[int, int, int, int]) -> None:
        """Descriptors as given: address, length, id, flags; their marks are made right."""
        for address, length, name, flags in descriptors:
            self.write(self.next, address, length, name, flags)
            self.next = (self.next + 1) & 0xFFFF

    def wish(self, event: int) -> None:
        """Tell me at this position, or the flags without EVENT_IDX."""
        word = (event % self.size | self.wrap(event & 0xFFFF) << 15) | 2 << 16 if self.event_idx else event << 16
        struct.pack_into("<I", self.memory, self.available, word)

    def used_at(self, position: int) -> tuple[int, int, int] | None:
        """(length, id, flags) of the used descriptor at a position; None when none is there yet."""
        place = self.descriptors + 16 * (position % self.size)
        length, name, flags = struct.unpack_from("<IHH", self.memory, place + 8)
        wrap = self.wrap(position)
        return (length, name, flags) if bool(flags & AVAIL) == bool(flags & USED) == bool(wrap) else None

    def collect(self) -> list[tuple[int, int]]:
        found = []
        while (used := self.used_at(self.seen)) is not None and self.flying:
            length, name, _flags = used
            assert name in self.flying
            if self.in_order:  # one used descriptor for all up to this one
                while (first := next(iter(self.flying))) != name:
                    found.append((first, self.retire(first)))
            found.append((name, length))
            self.retire(name)
        return found

    def peek(self) -> list[tuple[int, int]]:
        """What `collect` would find."""
        kept = self.seen, self.free, dict(self.flying)
        found = self.collect()
        self.seen, self.free, self.flying = kept
        return found

    def retire(self, name: int) -> int:
        parts = self.flying.pop(name)
        self.seen = (self.seen + len(parts)) & 0xFFFF
        self.free = [name, *self.free]
        return sum(length for _, length, flags in parts if flags & 2)

    def lay_again(self) -> None:
        """What is in flight stands in the ring as if never served: what a front-end does for a return."""
        position = self.seen
        for name, parts in self.flying.items():
            for index, (address, length, flags) in enumerate(parts):
                more = NEXT if index + 1 < len(parts) else 0
                self.write(position, address, length, 0 if more else name, flags | more)
                position = (position + 1) & 0xFFFF
        assert position == self.next
