# SPDX-License-Identifier: Apache-2.0
"""Both ends of PowerVM's virtual SCSI as Linux' stock drivers make their hypercalls: the calls, their order, and which
codes each driver bears. What the drivers decide beyond that (SCSI, login) is not here."""

import os
import select
import struct

from virtio_crq.hypervisor.definition import AdapterDefinition, MachineDefinition, PartitionDefinition
from virtio_crq.hypervisor.machine import Machine
from virtio_crq.hypervisor.partition import EmulatedPartition
from virtio_crq.papr.hypercalls import Hypercall
from virtio_crq.papr.returncodes import ReturnCode, is_busy
from virtio_crq.platform.partition import UnitAddress

H, R = Hypercall, ReturnCode
MEBIBYTE = 1 << 20
RING, RING_LENGTH = 0, 0x10000  # one page of a kernel with 64 KiB pages
UNITS = 0x100000  # information units, each in a page of its own
BUFFERS = 0x200000
INIT, INIT_COMPLETE = 0xC001 << 48, 0xC002 << 48
SRP = 0x8001_0000_0000_0000
GET_PARTNER_INFO, ENABLE_PREPARE_FOR_SUSPEND, READY_FOR_SUSPEND = 0x8, 0x1D, 0x1E
READ, WRITE, BOTH = 1, 2, 3


def machine(profile: str) -> Machine:
    return Machine(
        MachineDefinition(
            "stock",
            profile,
            [PartitionDefinition("client", 1, 8 * MEBIBYTE), PartitionDefinition("server", 2, 8 * MEBIBYTE)],
            [AdapterDefinition("client", "server", 2, 2, 64 * MEBIBYTE, 128 * MEBIBYTE, node="vscsi")],
        )
    )


def cells(value: bytes) -> tuple[int, ...]:
    return struct.unpack(f">{len(value) // 4}I", value)


class Driver:
    """What both have in common: maps in the ways of Linux' DMA API, a ring of 64 KiB, an interrupt with a mask."""

    def __init__(self, machine: Machine, name: str) -> None:
        self.machine, self.name = machine, name
        self.start()

    def start(self) -> None:
        self.partition: EmulatedPartition = self.machine.attach(self.name)
        self.node = self.partition.adapters()[0]
        self.unit = self.node.unit_address
        self.port = self.partition.open(UnitAddress(self.unit))
        window = cells(self.node.properties["ibm,my-dma-window"])
        assert window[1:3] == (0, 0)  # the kernel takes windows that begin at 0 only
        self.liobn = window[0]
        self.next = 0
        for bus in (RING, UNITS, BUFFERS):
            self.map(bus, RING_LENGTH)

    def call(self, call: Hypercall, *arguments: int) -> int:
        return self.port.call(call, *arguments)[0]

    def patiently(self, call: Hypercall, *arguments: int) -> int:
        """Where the drivers sleep and call again."""
        for _ in range(1000):
            code = self.call(call, *arguments)
            if not is_busy(code):
                break
        return code

    def map(self, bus: int, length: int, access: int = BOTH) -> None:
        for at in range(bus, bus + length, 4096):
            assert self.call(H.H_PUT_TCE, self.liobn, at, at | access) == 0

    def unmap(self, bus: int, length: int) -> None:
        if self.call(H.H_STUFF_TCE, self.liobn, bus, 0, length // 4096) == R.H_FUNCTION:
            for at in range(bus, bus + length, 4096):
                assert self.call(H.H_PUT_TCE, self.liobn, at, 0) == 0

    def register(self) -> int:
        self.port.write(RING, bytes(RING_LENGTH))
        self.next = 0
        return self.call(H.H_REG_CRQ, self.unit, RING, RING_LENGTH)

    def free(self) -> int:
        return self.patiently(H.H_FREE_CRQ, self.unit)

    def send(self, high: int, low: int = 0) -> int:
        return self.call(H.H_SEND_CRQ, self.unit, high, low)

    def mask(self) -> None:
        assert self.call(H.H_VIO_SIGNAL, self.unit, 0) == 0

    def unmask(self) -> None:
        assert self.call(H.H_VIO_SIGNAL, self.unit, 1) == 0

    def interrupted(self) -> bool:
        if not select.select([self.port.fileno()], [], [], 0)[0]:
            return False
        os.read(self.port.fileno(), 8)
        return True

    def peek(self) -> int:
        return self.port.acquire8(RING + self.next)

    def take(self) -> tuple[int, int]:
        """The next entry; its slot is free again."""
        high, low = struct.unpack(">QQ", self.port.read(RING + self.next, 16))
        self.port.release8(RING + self.next, 0)
        self.next = (self.next + 16) % RING_LENGTH
        return high, low

    def drain(self) -> list[tuple[int, int]]:
        """The interrupt handler of both: mask, take all, unmask, look once more."""
        taken = []
        self.mask()
        while self.peek():
            taken.append(self.take())
        self.unmask()
        while self.peek():
            taken.append(self.take())
        return taken


class StockClient(Driver):
    """ibmvscsi."""

    def probe(self) -> tuple[int, int]:
        """Codes of the registration and of the first INIT. Only success and H_Closed are borne by the first."""
        registered = self.register()
        self.unmask()
        return registered, self.send(INIT)

    def reset(self) -> tuple[int, int]:
        """After any transport event but 0x06: a ring of its own again, and INIT before the interrupt is on."""
        assert self.free() == 0
        registered = self.register()
        told = self.send(INIT)
        self.unmask()
        return registered, told

    def request(self, slot: int, content: bytes, tag: int) -> int:
        """One information unit in a slot of the pool, announced by address."""
        unit = UNITS + 256 * slot
        self.port.write(unit, content.ljust(256, b"\0"))
        return self.send(SRP | len(content), tag if tag else unit)


class StockServer(Driver):
    """ibmvscsis."""

    def start(self) -> None:
        super().start()
        address = cells(self.node.properties["ibm,#dma-address-cells"])[0]
        size = cells(self.node.properties["ibm,#dma-size-cells"])[0]
        # It skips the first triple by counting and takes the next cell for the partner's window; nothing is checked.
        self.remote = cells(self.node.properties["ibm,my-dma-window"])[1 + address + size]

    def copy_limit(self) -> int:
        """As a little-endian kernel reads the cell: without swapping it. Absent: 128 KiB."""
        found = self.partition.bus_properties.get("ibm,max-virtual-dma-size")
        return 128 * 1024 if found is None else int.from_bytes(found, "little")

    def partner_number(self) -> int | None:
        """At probe, before there is a queue, and again in the interrupt. Any refusal is borne."""
        code = self.call(H.H_VIOCTL, self.unit, GET_PARTNER_INFO, BUFFERS | 0x10000 << 32)
        return None if code else int.from_bytes(self.port.read(BUFFERS, 8), "big")

    def enable(self) -> tuple[int, str]:
        """Written to configfs: the code of the registration, and what it then did by slot 0."""
        registered = self.register()
        assert self.call(H.H_VIOCTL, self.unit, ENABLE_PREPARE_FOR_SUSPEND, 30000) in (
            R.H_SUCCESS,
            R.H_NOT_FOUND,
            R.H_FUNCTION,  # one line in its log
        )
        self.unmask()
        if not self.peek():
            told = self.send(INIT)
            return registered, "INIT" if told in (R.H_SUCCESS, R.H_CLOSED, R.H_DROPPED) else "disconnected"
        high, _ = self.take()
        if high != INIT or self.peek():
            return registered, "disconnected"
        return registered, "COMPLETE" if self.send(INIT_COMPLETE) == R.H_SUCCESS else "waits"

    def disable(self) -> None:
        self.mask()
        assert self.free() == 0

    def fetch(self, unit: int, length: int = 256) -> str:
        """One information unit by copy; what the driver makes of the code."""
        code = self.call(H.H_COPY_RDMA, length, self.remote, unit, self.liobn, UNITS)
        return {R.H_SUCCESS: "copied", R.H_PERMISSION: "ping"}.get(R(code), "reset")

    def ping(self) -> bool:
        """Only H_Closed means that the client is gone."""
        return self.send(0x8006_00F5_0000_0000) == R.H_CLOSED

    def data(self, remote: int, length: int, to_client: bool) -> int:
        """Pieces no longer than the limit. How many copies it took."""
        pieces = 0
        for at in range(0, length, self.copy_limit()):
            piece = min(self.copy_limit(), length - at)
            ends = (self.liobn, BUFFERS + at), (self.remote, remote + at)
            (source, start), (target, end) = ends if to_client else ends[::-1]
            assert self.call(H.H_COPY_RDMA, piece, source, start, target, end) == 0
            pieces += 1
        return pieces

    def respond(self, unit: int, tag: int, content: bytes) -> int:
        self.port.write(UNITS, content)
        assert self.call(H.H_COPY_RDMA, len(content), self.liobn, UNITS, self.remote, unit) == 0
        return self.send(SRP, tag)
