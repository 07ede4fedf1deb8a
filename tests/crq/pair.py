# SPDX-License-Identifier: Apache-2.0
"""A scripted platform: one pair of adapters, each call done at once, any answer replaced by what a test wants.

Slow and obvious; the emulator has tests of its own. What is sent and asked is kept for tests to look at.
"""

import os
from collections import Counter, defaultdict

from virtio_crq.papr.devicetree import AdapterProperties, Window, build
from virtio_crq.papr.entry import transport_event
from virtio_crq.papr.hypercalls import Hypercall
from virtio_crq.papr.returncodes import ReturnCode
from virtio_crq.platform.hosted import host
from virtio_crq.platform.partition import AdapterNode, Arena, BusAddress, UnitAddress
from virtio_crq.platform.port import Port

PAGE = 4096
WINDOW = 1 << 20
MEMORY = 1 << 20


class Side:
    """One partition's adapter; `platform.hosted.Target`."""

    def __init__(self, server: bool) -> None:
        self.server = server
        self.partner: Side
        self.memory = bytearray(MEMORY)
        self.pages: dict[int, tuple[int, int]] = {}
        self.ring: tuple[int, int] | None = None  # bus, size
        self.cursor = 0
        self.dead = False
        self.unit = UnitAddress(0x30000002 if server else 0x30000003)
        self.doorbell = os.eventfd(0, os.EFD_NONBLOCK)
        self.enabled = False
        self.script: defaultdict[int, list[int]] = defaultdict(list)  # answers to give instead, first to last
        self.asked: Counter[Hypercall] = Counter()
        self.sent: list[bytes] = []

    def close(self) -> None:
        doorbell, self.doorbell = self.doorbell, -1
        if doorbell >= 0:
            os.close(doorbell)

    def __del__(self) -> None:
        self.close()

    @property
    def node(self) -> AdapterNode:
        panes = (Window(1 + 2 * self.server, WINDOW), Window(2, WINDOW))[: 1 + self.server]
        kinds = ("virtio-crq-server", "virtio-crq,server") if self.server else ("virtio-crq", "virtio-crq,client")
        properties = AdapterProperties(self.unit, *kinds, (0x1100,), panes, self.server)
        return AdapterNode(self.unit, build(properties))

    @property
    def arena(self) -> Arena:
        """Not where bus addresses and offsets agree, so that a mix-up is noticed."""
        return Arena(16 * PAGE, 64 * PAGE, BusAddress(32 * PAGE))

    def port(self) -> Port:
        return Port(host(self, self.memory))

    # -- hosted target

    def call(self, operation: int, registers: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        self.asked[Hypercall(operation)] += 1
        if self.script[operation]:
            return self.script[operation].pop(0), ()
        linked = self.ring is not None and self.partner.ring is not None
        if operation == Hypercall.H_REG_CRQ:
            return self._register(registers[1], registers[2]), ()
        if operation == Hypercall.H_FREE_CRQ:
            self.leave(0x02)
            return 0, ()
        if operation == Hypercall.H_ENABLE_CRQ:
            return 0, ()
        if operation == Hypercall.H_READ_RDMA:
            data = self.partner.load(registers[2], registers[0]) if linked else None
            words = [int.from_bytes((data or b"")[at : at + 8].ljust(8, b"\0"), "big") for at in range(0, 72, 8)]
            return (ReturnCode.H_S_PARM if data is None else 0), tuple(words)
        if operation == Hypercall.H_WRITE_RDMA:
            data = b"".join(word.to_bytes(8, "big") for word in registers[3:])[: registers[0]]
            return (0 if linked and self.partner.store(registers[2], data) else ReturnCode.H_D_PARM), ()
        return ReturnCode.H_FUNCTION, ()

    def _register(self, bus: int, size: int) -> int:
        if self.ring:
            return ReturnCode.H_RESOURCE
        assert self.load(bus, size) == bytes(size), "a ring is registered with every header zero"
        self.ring, self.cursor, self.enabled = (bus, size), 0, False
        return ReturnCode.H_SUCCESS if self.partner.ring else ReturnCode.H_CLOSED

    def leave(self, code: int) -> None:
        """Deregister, or die; the partner is told by `code`."""
        if self.ring:
            self.ring = None
            if self.partner.ring:
                self.partner.enqueue(transport_event(code))

    def copy(self, vector: list[tuple[int, int, int, int]]) -> tuple[int, int]:
        self.asked[Hypercall.H_COPY_RDMA] += 1
        for done, (remote, local, length, outward) in enumerate(vector):
            source, target = ((self, local), (self.partner, remote))[:: 1 if outward else -1]
            data = source[0].load(source[1], length)
            if data is None or not target[0].store(target[1], data):
                return ReturnCode.H_PERMISSION, done
        return 0, len(vector)

    def send(self, entries: list[bytes]) -> tuple[int, int]:
        if self.script[Hypercall.H_SEND_CRQ]:
            return self.script[Hypercall.H_SEND_CRQ].pop(0), 0
        if self.ring is None or self.partner.ring is None:
            return ReturnCode.H_CLOSED, 0
        for done, entry in enumerate(entries):
            if not self.partner.enqueue(entry):
                return ReturnCode.H_DROPPED, done
            self.sent.append(entry)
        return 0, len(entries)

    def map(self, bus: int, offset: int, length: int, access: int) -> int:
        if self.script[Hypercall.H_PUT_TCE]:
            return self.script[Hypercall.H_PUT_TCE].pop(0)
        for start in range(0, length, PAGE):
            self.pages[(bus + start) // PAGE] = (offset + start, access)
        return 0

    def unmap(self, bus: int, length: int) -> int:
        for start in range(0, length, PAGE):
            del self.pages[(bus + start) // PAGE]
        return 0

    def signal(self, enabled: int) -> int:
        self.enabled = bool(enabled)
        return 0

    def fileno(self) -> int:
        return self.doorbell

    # -- memory by bus address

    def enqueue(self, entry: bytes) -> bool:
        assert self.ring is not None
        bus, size = self.ring
        slot = self.load(bus + self.cursor, 1)
        if slot != b"\0":
            return False
        self.store(bus + self.cursor, entry)
        self.cursor = (self.cursor + 16) % size
        if self.enabled:
            os.eventfd_write(self.doorbell, 1)
        return True

    def load(self, bus: int, length: int) -> bytes | None:
        places = [self._place(at, 1) for at in range(bus, bus + length)]
        return None if None in places else bytes(self.memory[at] for at in places if at is not None)

    def store(self, bus: int, data: bytes) -> bool:
        places = [self._place(at, 2) for at in range(bus, bus + len(data))]
        if None in places:
            return False
        for at, byte in zip(places, data, strict=True):
            if at is not None:
                self.memory[at] = byte
        return True

    def _place(self, bus: int, access: int) -> int | None:
        offset, allowed = self.pages.get(bus // PAGE, (0, 0))
        return offset + bus % PAGE if allowed & access else None


def pair() -> tuple[Side, Side]:
    """A client's side and a server's."""
    client, server = Side(server=False), Side(server=True)
    client.partner, server.partner = server, client
    return client, server
