# SPDX-License-Identifier: Apache-2.0
"""A machine with one client, its server, and a second client of that server, for one row of a conformance table."""

import os
import select
import tempfile
from collections.abc import Callable
from typing import Any

from virtio_crq.hypervisor.definition import (
    AdapterDefinition,
    MachineDefinition,
    PartitionDefinition,
    StorageDefinition,
)
from virtio_crq.hypervisor.machine import Machine
from virtio_crq.papr.devicetree import AdapterProperties, parse
from virtio_crq.papr.hypercalls import Hypercall
from virtio_crq.papr.profiles import Profile
from virtio_crq.papr.returncodes import ReturnCode, is_busy
from virtio_crq.platform.port import Port

MIB = 1 << 20
MEMORY = 4 * MIB
WINDOW = 2 * MIB
# Bus addresses are the offsets in RAM, except for the last three places.
RING, RING_LENGTH = 0, 4096
RINGS = {"server2": 0x8000}  # one partition's two adapters have two rings
DATA = 0x10000  # from here to MAPPED all pages grant both accesses
MAPPED = 0x100000
READ_ONLY, WRITE_ONLY, NO_ACCESS = 0x180000, 0x181000, 0x182000
STORAGE_WINDOW = 1 * MIB
PATTERN = bytes(range(256)) * 16
SUBS = 0x40000  # where the sub-CRQs of an end lie, page after page; those of the second adapter behind them
SUB_SLOTS = RING_LENGTH // 32
PARTNERS = {"client": "server", "server": "client", "other": "server2", "server2": "other"}


class Scene:
    """Steps and looks that rows name as strings: `scene.step("server registers")`, `scene.look("client ring 0")`."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.machine = Machine(
            MachineDefinition(
                "conformance",
                profile.name,
                tuple(PartitionDefinition(n, i, MEMORY) for i, n in enumerate(("client", "server", "other"), 1)),
                (
                    AdapterDefinition("client", "server", 2, 2, WINDOW, WINDOW),
                    AdapterDefinition("other", "server", 2, 3, WINDOW, WINDOW),
                ),
                (StorageDefinition("server", 10, STORAGE_WINDOW),),
            )
        )
        self.partitions = {name: self.machine.attach(name) for name in ("client", "server", "other")}
        self.ports: dict[str, Port] = {}
        self.nodes: dict[str, AdapterProperties] = {}
        for end, partition, index in (("client", "client", 0), ("server", "server", 0), ("other", "other", 0)):
            self._open(end, partition, index)
        self._open("server2", "server", 1)
        for port in self.ports.values():
            self._map(port)
        self._open("storage", "server", 2)
        self.subs: dict[str, list[tuple[int, int]]] = {end: [] for end in self.ports}  # handle, interrupt
        self.results: list[tuple[int, tuple[int, ...]]] = []

    def _open(self, end: str, partition: str, index: int) -> None:
        node = sorted(self.partitions[partition].adapters(), key=lambda node: node.unit_address)[index]
        self.nodes[end] = parse(node.properties)
        self.ports[end] = self.partitions[partition].open(node.unit_address)

    def _map(self, port: Port) -> None:
        assert port.map(0, 0, MAPPED, 3) == 0
        assert port.map(READ_ONLY, READ_ONLY, 4096, 1) == 0
        assert port.map(WRITE_ONLY, WRITE_ONLY, 4096, 2) == 0

    def close(self) -> None:
        self.ports.clear()
        for partition in self.partitions.values():
            partition.close()
        self.machine.close()

    def value(self, symbol: Any) -> int:
        """An argument of a row: a number, or `END.ua`, `END.liobn`, `END.remote` (the second pane), `END.irq`.

        `END.sub` and `END.sub1` are handles of the sub-CRQs that it opened, `END.subirq` the first one's interrupt.
        """
        if isinstance(symbol, int):
            return symbol
        end, _, what = symbol.partition(".")
        node = self.nodes[end]
        if what.startswith("sub"):
            number, interrupt = self.subs[end][1 if what == "sub1" else 0]
            return interrupt if what == "subirq" else number
        panes = {"liobn": 0, "remote": 1}
        if what in panes:
            return node.windows[panes[what]].liobn
        return node.unit_address if what == "ua" else node.interrupts[0]

    def call(self, end: str, call: int, arguments: tuple[Any, ...], settle: bool = True) -> tuple[int, tuple[int, ...]]:
        """One call; where the profile injects busy answers, it is made again, as LoPAR tells callers to."""
        values = [self.value(argument) for argument in arguments]
        while True:
            code, outputs = self.ports[end].call(call, *values)
            if not (settle and is_busy(code) and any(fault.call == call for fault in self.profile.faults)):
                return code, outputs

    def step(self, text: str) -> None:
        """`END registers`, `END frees`, `END unmasks`, `END masks`, `END sends N`, `END takes N`, `END dies`, …"""
        end, verb, *rest = text.split()
        getattr(self, f"_{verb.replace('-', '_')}")(end, *(int(word, 0) for word in rest))

    def _registers(self, end: str, length: int = RING_LENGTH) -> None:
        ring = RINGS.get(end, RING)
        self.ports[end].write(ring, bytes(length))
        code, _ = self.call(end, Hypercall.H_REG_CRQ, (f"{end}.ua", ring, length))
        assert code in (ReturnCode.H_SUCCESS, ReturnCode.H_CLOSED)

    def _frees(self, end: str) -> None:
        assert self.call(end, Hypercall.H_FREE_CRQ, (f"{end}.ua",))[0] == ReturnCode.H_SUCCESS

    def _unmasks(self, end: str) -> None:
        assert self.ports[end].signal(1) == 0

    def _masks(self, end: str) -> None:
        assert self.ports[end].signal(0) == 0

    def _sends(self, end: str, count: int = 1) -> None:
        for number in range(count):
            assert self.ports[end].send(0x80 << 56 | number, number) == 0

    def _fills(self, end: str) -> None:
        """Send until the partner's ring takes no more."""
        sent = 0
        while (code := self.ports[end].send(0x80 << 56 | sent, sent)) == 0:
            sent += 1
        assert code == ReturnCode.H_DROPPED
        assert sent == RING_LENGTH // 16 - (1 if self.profile.event_slot_reserved else 0)

    def _takes(self, end: str, count: int = 1, first: int = 0) -> None:
        """Free slots of one's own ring."""
        for slot in range(first, first + count):
            self.ports[end].write(RINGS.get(end, RING) + 16 * slot, bytes(16))

    def _acknowledges(self, end: str) -> None:
        if select.select([self.ports[end].fileno()], [], [], 0)[0]:
            os.read(self.ports[end].fileno(), 8)

    def _dies(self, end: str) -> None:
        while not self.machine.reap(end):
            pass

    def _stops(self, end: str) -> None:
        while not self.machine.power_off(end):
            pass

    def _unmaps(self, end: str, bus: int, length: int) -> None:
        assert self.ports[end].unmap(bus, length) == 0

    def _suspends(self, end: str) -> None:
        """The platform moved the partner of `end`: its CRQ is disabled."""
        self.machine.post_event(end, self.nodes[end].unit_address, 0x06)  # type: ignore[arg-type]

    def _writes(self, end: str, bus: int, length: int = 4096) -> None:
        self.ports[end].write(bus, (PATTERN * (length // 4096 + 1))[:length])

    def _clones(self, end: str, first: int, place: int, count: int) -> None:
        arguments = (f"{end}.remote", first, "storage.liobn", place, count)
        assert self.call(end, Hypercall.H_PUT_RTCE, arguments)[0] == ReturnCode.H_SUCCESS

    def _tries_to_clone(self, end: str, first: int, place: int) -> None:
        self.call(end, Hypercall.H_PUT_RTCE, (f"{end}.remote", first, "storage.liobn", place, 1))

    def _removes(self, end: str, first: int, place: int, count: int) -> None:
        arguments = (f"{end}.remote", first, "storage.liobn", place, count, 0)
        assert self.call(end, Hypercall.H_REMOVE_RTCE, arguments)[0] == ReturnCode.H_SUCCESS

    def _names(self, end: str, at: int, *addresses: int) -> None:
        """A page of big-endian I/O addresses."""
        self.ports[end].write(at, b"".join(address.to_bytes(8, "big") for address in addresses))

    def _takes_back(self, end: str, bus: int) -> None:
        self.call(end, Hypercall.H_PUT_TCE, (f"{end}.liobn", bus, 0))

    def fetched(self, end: str, place: int, count: int) -> str:
        """What comes of a transfer from a file to the clones at `place`: `whole`, `swallowed` or `fault`."""
        pages = [bytes([0x51 + index]) * 4096 for index in range(count)]
        with tempfile.TemporaryFile() as file:
            file.write(b"".join(pages))
            file.flush()
            ends = self.nodes[end].unit_address, self.nodes["storage"].unit_address
            moved = self.partitions[end].transfer(*ends, place, count * 4096, file.fileno(), False)  # type: ignore[arg-type]
        if moved < 0:
            return "fault"
        memory = self.ports["client"].read(0, MEMORY)
        seen = {memory[at : at + 4096] for at in range(0, MEMORY, 4096)}
        return "whole" if seen >= set(pages) else "swallowed"

    def _lists(self, end: str, at: int, count: int, first: int, access: int = 3) -> None:
        """A page of big-endian TCEs for pages from `first` on."""
        for index in range(count):
            self.ports[end].write(at + 8 * index, (first + 4096 * index | access).to_bytes(8, "big"))

    def _opens(self, end: str, count: int = 1, length: int = RING_LENGTH) -> None:
        """Register sub-CRQs in pages full of ones."""
        for _ in range(count):
            at = self._sub_at(end, len(self.subs[end]))
            self.ports[end].write(at, b"\xff" * length)
            code, outputs = self.call(end, Hypercall.H_REG_SUB_CRQ, (f"{end}.ua", at, length))
            assert code in (ReturnCode.H_SUCCESS, ReturnCode.H_CLOSED, ReturnCode.H_FUNCTION)
            self.subs[end].append((outputs[0], outputs[1]))

    def _sub_at(self, end: str, place: int) -> int:
        return SUBS + (0x20000 if end == "server2" else 0) + RING_LENGTH * place

    def _closes(self, end: str, place: int = 0) -> None:
        self.call(end, Hypercall.H_FREE_SUB_CRQ, (f"{end}.ua", self.subs[end][place][0]))

    def _pushes(self, end: str, count: int = 1, first: int = 1) -> None:
        """Send records to the partner's first sub-CRQ, as long as it takes them."""
        for number in range(first, first + count):
            if self._push(end, number) != ReturnCode.H_SUCCESS:
                break

    def _push(self, end: str, number: int) -> int:
        to = self.subs[PARTNERS[end]][0][0]
        return self.call(end, Hypercall.H_SEND_SUB_CRQ, (f"{end}.ua", to, 0x80 << 56, 0, 0, number))[0]

    def _accepts(self, end: str, count: int = 1, first: int = 0) -> None:
        """Free slots of the first sub-CRQ."""
        for slot in range(first, first + count):
            self.ports[end].write(self._sub_at(end, 0) + 32 * slot, bytes(32))

    def _lays(self, end: str, at: int, count: int, wrong: int = -1) -> None:
        """Records for H_SEND_SUB_CRQ_INDIRECT, numbered from 1; number `wrong` has a header that is none."""
        for number in range(1, count + 1):
            header = 0x81 if number == wrong else 0x80
            self.ports[end].write(at + 32 * (number - 1), bytes([header, *bytes(30), number]))

    def _listens(self, end: str) -> None:
        """Turn the first sub-CRQ's interrupt on."""
        self.call(end, Hypercall.H_VIOCTL, (f"{end}.ua", 0xC, self.subs[end][0][1]))

    def look(self, text: str) -> Any:
        """`END ring N` (16 bytes as hex), `END bytes AT LENGTH` (hex), `END interrupted`, `END tce BUS`."""
        end, what, *rest = text.split()
        looks: dict[str, Callable[..., Any]] = {
            "ring": lambda slot: self.ports[end].read(RINGS.get(end, RING) + 16 * slot, 16).hex(),
            "bytes": lambda at, length: self.ports[end].read(at, length).hex(),
            "interrupted": lambda: bool(select.select([self.ports[end].fileno()], [], [], 0)[0]),
            "tce": lambda bus: self.call(end, Hypercall.H_GET_TCE, (f"{end}.liobn", bus))[1][0],
            "fetched": lambda place, count: self.fetched(end, place, count),
            "sub": lambda slot: self.ports[end].read(self._sub_at(end, 0) + 32 * slot, 32).hex(),
            "push": lambda: self._push(end, 0xEE),
            "send": lambda: self.ports[end].send(0x80 << 56 | 0xEE, 0),
            "copy": lambda: self.call(
                end, Hypercall.H_COPY_RDMA, (16, f"{end}.remote", DATA, f"{end}.liobn", DATA + 4096)
            )[0],
        }
        return looks[what](*(int(word, 0) for word in rest))
