# SPDX-License-Identifier: Apache-2.0
"""A link on a scripted platform: a guest's memory, a recorder of every copy, and a channel that tests play by hand."""

import os
import struct
from collections import deque
from collections.abc import Callable

from virtio_crq.dataplane.link import Link
from virtio_crq.dataplane.ringterms import RingResume, RingTerms
from virtio_crq.dataplane.service import Service
from virtio_crq.platform.channel import AVAIL, CREDIT, NOTHING, USED, Channel
from virtio_crq.platform.hosted import host
from virtio_crq.platform.partition import Arena, BusAddress
from virtio_crq.platform.port import Port

NEXT, WRITE, INDIRECT = 1, 2, 4
GUEST_SIZE = 1 << 21
WINDOW = 0x10000000  # bus address of the guest's first byte: what the device is given
ARENA = Arena(offset=8192, size=2 << 20, bus=BusAddress(0x40000))


class Platform:
    """Copies between the guest's and the server's memory. `log` has every copy, `vectors` how they came together."""

    def __init__(self) -> None:
        self.guest = bytearray(GUEST_SIZE)
        self.own = bytearray(ARENA.offset + ARENA.size)
        self.log: list[tuple[int, int, int]] = []  # (offset in the guest, length, outward)
        self.vectors: list[int] = []
        self.revoked: list[range] = []
        self.event = os.eventfd(0, os.EFD_NONBLOCK)
        self.signals: list[int] = []
        self.sides: dict[int, Callable[[bytes], None]] = {}  # by handle, who takes what is sent into it

    def __del__(self) -> None:
        os.close(self.event)  # there are thousands of rigs in one run of a fuzzer

    def copy(self, vector: list[tuple[int, int, int, int]]) -> tuple[int, int]:
        self.vectors.append(len(vector))
        for done, (remote, local, length, outward) in enumerate(vector):
            there, here = remote - WINDOW, local - ARENA.bus + ARENA.offset
            assert ARENA.offset <= here <= here + length <= len(self.own), "own address is not in the arena"
            if not 0 <= there <= there + length <= GUEST_SIZE or any(
                there < gone.stop and gone.start < there + length for gone in self.revoked
            ):
                return -11, done
            self.log.append((there, length, outward))
            if outward:
                self.guest[there : there + length] = self.own[here : here + length]
            else:
                self.own[here : here + length] = self.guest[there : there + length]
        return 0, len(vector)

    def call(self, operation: int, registers: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        return -1, ()

    def send(self, entries: list[bytes]) -> tuple[int, int]:
        return -1, 0

    def map(self, bus: int, offset: int, length: int, access: int) -> int:
        return -1

    def unmap(self, bus: int, length: int) -> int:
        return -1

    def signal(self, enabled: int) -> int:
        self.signals.append(enabled)
        return 0

    def queue_open(self, bus: int, length: int) -> tuple[int, int, int]:
        return 0, 5, 9

    def queue_close(self, handle: int) -> int:
        return 0

    def queue_signal(self, interrupt: int, enabled: int) -> int:
        return 0

    def queue_send(self, handle: int, record: bytes) -> int:
        if handle not in self.sides:
            return -4
        self.sides[handle](record)
        return 0

    def queue_batch(self, handle: int, bus: int, count: int) -> int:
        at = bus - ARENA.bus + ARENA.offset
        records = [bytes(self.own[place : place + 32]) for place in range(at, at + 32 * count, 32)]
        return max((self.queue_send(handle, record) for record in records), key=abs)

    def fileno(self) -> int:
        return self.event


class HandChannel(Channel):
    """What the test put in comes out of `poll`; what the device says is in `said`."""

    def __init__(self) -> None:
        super().__init__()
        self.coming: deque[tuple[int, int, int, int, int]] = deque()
        self.said: list[tuple[int, int, int, int, int]] = []
        self.watch: Callable[[int, int, int], None] = lambda kind, position, credit: None
        self.code = 0

    def poll(self) -> int:
        if not self.coming:
            return NOTHING
        kind, self.device, self.queue, self.position, self.credit = self.coming.popleft()
        return kind

    def announce(self, kind: int, device: int, queue: int, position: int, credit: int) -> int:
        self.watch(kind, position, credit)
        if self.code == 0:
            self.said.append((kind, device, queue, position, credit))
        return self.code

    def entry(self) -> bytes:
        return b"entry"


class Guest:
    """The driver's half of one split ring, written for clearness: a request is a list of (address, length, flags)."""

    fetch = "batched"  # the strategy by which the device brings it in
    announces = True  # and how far it has come is told by positions, for credits

    def __init__(
        self, platform: Platform, size: int = 16, base: int = 0, event_idx: bool = False, in_order: bool = False
    ) -> None:
        self.platform = platform
        self.memory = platform.guest
        self.size = size
        self.event_idx = event_idx
        self.descriptors = base
        self.available = base + 16 * size
        self.used = (self.available + 6 + 2 * size + 3) & ~3
        self.free = list(range(size))
        self.next = 0
        self.seen = 0
        self.chains: dict[int, list[int]] = {}

    def terms(self, **other: object) -> RingTerms:
        """What the device is told of this ring."""
        areas = (WINDOW + place for place in (self.descriptors, self.available, self.used))
        return RingTerms(self.size, *areas, event_idx=self.event_idx, fetch=self.fetch, **other)  # type: ignore[arg-type]

    def serve(
        self, rig: "Rig", device: int, service: Service, stopped: RingResume | None = None, **terms: object
    ) -> None:
        """Have the queue served, by this strategy and with these features."""
        rig.link.open_queue(device, 0, service, self.terms(**terms), stopped)

    def announce(self, rig: "Rig", credit: int = 0, device: int = 0) -> None:
        rig.announce(self.next, credit, device)

    def hide_used(self) -> str:
        """What the device says of requests that it has done is not taken any more; the rule that it fails by."""
        self.platform.revoked = [range(self.used, self.used + 4)]
        return "copy-refused"

    def descriptor(self, index: int, address: int, length: int, flags: int, follower: int, table: int = -1) -> None:
        place = (self.descriptors if table < 0 else table) + 16 * index
        struct.pack_into("<QIHH", self.memory, place, address & (1 << 64) - 1, length, flags, follower)

    def chain(self, parts: list[tuple[int, int, int]]) -> int:
        """Write a direct chain with free descriptors; its head."""
        taken = [self.free.pop(0) for _ in parts]
        for (address, length, flags), index, follower in zip(parts, taken, [*taken[1:], 0], strict=True):
            more = NEXT if index != taken[-1] else 0
            self.descriptor(index, WINDOW + address, length, flags | more, follower)
        self.chains[taken[0]] = taken
        return taken[0]

    def indirect(self, parts: list[tuple[int, int, int]], table: int) -> int:
        for index, (address, length, flags) in enumerate(parts):
            more = NEXT if index + 1 < len(parts) else 0
            self.descriptor(index, WINDOW + address, length, flags | more, index + 1, table)
        head = self.free.pop(0)
        self.descriptor(head, WINDOW + table, 16 * len(parts), INDIRECT, 0)
        self.chains[head] = [head]
        return head

    def make_available(self, head: int) -> None:
        struct.pack_into("<H", self.memory, self.available + 4 + 2 * (self.next % self.size), head)
        self.next = (self.next + 1) & 0xFFFF
        struct.pack_into("<H", self.memory, self.available + 2, self.next)

    def used_index(self) -> int:
        return int(struct.unpack_from("<H", self.memory, self.used + 2)[0])

    def wish(self, event: int) -> None:
        """used_event, or the flags without EVENT_IDX."""
        place = self.available + 4 + 2 * self.size if self.event_idx else self.available
        struct.pack_into("<H", self.memory, place, event & 0xFFFF)

    def avail_event(self) -> int:
        return int(struct.unpack_from("<H", self.memory, self.used + 4 + 8 * self.size)[0])

    def collect(self) -> list[tuple[int, int]]:
        """(head, written) of what was used since the last call; its descriptors are free again."""
        found = []
        while self.seen != self.used_index():
            head, written = struct.unpack_from("<II", self.memory, self.used + 4 + 8 * (self.seen % self.size))
            self.seen = (self.seen + 1) & 0xFFFF
            self.free = self.chains.pop(head) + self.free
            found.append((head, written))
        return found


class Rig:
    """Platform, channel, link, and the faults that were reported."""

    def __init__(self, max_copy: int = 131072, gathering: int = 0, platform: Platform | None = None) -> None:
        self.platform = platform or Platform()
        self.port = Port(host(self.platform, self.platform.own))
        self.channel = HandChannel()
        self.faults: list[tuple[int, int, str]] = []
        self.control: list[tuple[int, bytes]] = []
        self.link = Link(
            self.port, self.channel, ARENA,
            lambda kind, entry: self.control.append((kind, entry)),
            lambda device, queue, rule, detail: self.faults.append((device, queue, rule)),
            max_copy, gathering,
        )  # fmt: skip

    def announce(self, position: int, credit: int = 0, device: int = 0, queue: int = 0) -> None:
        self.channel.coming.append((AVAIL, device, queue, position & 0xFFFF, credit))

    def give_credit(self, device: int = 0, queue: int = 0) -> None:
        self.channel.coming.append((CREDIT, device, queue, 0, 1))

    def run(self, limit: int = 1000) -> None:
        """Turn until there is nothing to do."""
        for _ in range(limit):
            if not self.link.turn():
                return
        raise AssertionError("the link never came to rest")

    def said(self, kind: int = USED) -> list[tuple[int, int]]:
        """(position, credit) of what the device announced."""
        return [(position, credit) for k, _, _, position, credit in self.channel.said if k == kind]
