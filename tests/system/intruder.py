# SPDX-License-Identifier: Apache-2.0
"""A client that does as it pleases: a CRQ, a message area and rings like any other, and no rules on top of them."""

import os
import select
import signal
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from virtio_crq.crq import framing
from virtio_crq.crq.client import CrqClient
from virtio_crq.message import codec
from virtio_crq.message.bus import Terms
from virtio_crq.message.layout import Body
from virtio_crq.message.message import Message, SessionNumber, token
from virtio_crq.message.session import PUSH
from virtio_crq.papr.devicetree import parse
from virtio_crq.platform.channel import CREDIT as CREDIT_KIND
from virtio_crq.platform.channel import USED as USED_KIND
from virtio_crq.platform.partition import Arena, BusAddress, Partition
from virtio_crq.virtio import status
from virtio_crq.virtio.features import MANDATORY, RING_PACKED, RING_RESET, feature_set, has, to_blocks

PAGE = 4096
QUEUE_SIZE = 16
TABLE, AVAILABLE, USED, HEADERS, DATA = (page * PAGE for page in range(5))
SPARE = 8 * PAGE  # room for another ring
MAPPED = 16 * PAGE  # from `base`: rings, headers, data; what follows is never mapped
PATIENCE = 3.0


@dataclass
class Descriptor:
    address: int
    length: int
    flags: int = 0
    following: int = 0


def _states(pid: int) -> set[str]:
    """Of all threads of a process."""
    return {path.read_text().rpartition(")")[2].split()[0] for path in Path(f"/proc/{pid}/task").glob("*/stat")}


class Intruder:
    """`base` is the I/O address (and `memory` the RAM offset) of a mapped stretch laid out as above; `server` is the
    server's process."""

    def __init__(self, partition: Partition, server: int) -> None:
        self.partition = partition
        self.server = server
        self.holds_server = False
        node = partition.adapters()[0]
        self.window = parse(node.properties).windows[0].size
        size = min(partition.memory_size, self.window) // PAGE * PAGE
        self.inbox: list[Message] = []
        self.opened_count = 0
        self.losses: list[str] = []
        self.end = CrqClient(
            partition.open(node.unit_address),
            node,
            Arena(0, size, BusAddress(0)),
            lambda bus: self,  # type: ignore[arg-type,return-value]
            queues=4,
            devices=8,
        )
        self.end.on_announced = self._announced
        self.port = self.end.port
        self.memory, self.base = self.end.arena.offset, int(self.end.arena.bus)
        self.packed = False
        self.mark = 0  # the low byte of the session's number where it pushes
        self.told = 0  # the position of the last EVENT_USED
        self.position = 0
        self.sequence = 0
        self.owed = 0
        self.may_announce = True

    # -- what CrqClient asks of its front end

    def opened(self) -> None:
        self.opened_count += 1

    def receive(self, message: Message) -> bool:
        self.inbox.append(message)
        return True

    def lost(self, reason: str) -> None:
        self.losses.append(reason)

    # -- the connection

    def unmap(self, bus: int, length: int) -> None:
        """Take a mapping back; busy while the server copies through it."""
        self.insist(lambda: self.port.unmap(bus, length) == 0, f"unmapping {bus:#x}")

    def insist(self, done: Callable[[], bool], what: str) -> None:
        """Ask again; whom the platform waits for may just have no processor."""
        deadline = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < deadline, f"{what} stays busy"
            os.sched_yield()
            if self.holds_server:  # stopped in the middle of a call, which keeps what it uses busy: on, a little
                os.kill(self.server, signal.SIGCONT)
                self._stop_server()

    @contextmanager
    def server_held(self) -> Iterator[None]:
        """What is sent meanwhile is found all at once: acts that race with the server's answer become certain."""
        self.holds_server = True
        try:
            self._stop_server()
            yield
        finally:
            self.holds_server = False
            os.kill(self.server, signal.SIGCONT)

    def _stop_server(self) -> None:
        os.kill(self.server, signal.SIGSTOP)
        while _states(self.server) != {"T"}:
            time.sleep(0.001)

    def remap(self) -> None:
        """Everything mapped again, whatever an act took back."""
        assert self.port.map(self.base, self.memory, MAPPED, 3) == 0

    def until(self, holds: Any, what: str) -> None:
        """Pump until `holds()`; waits on the adapter's descriptor."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            if self.end.pump():
                continue
            assert time.monotonic() < deadline, f"no {what}; inbox {self.inbox}, losses {self.losses}"
            if self.end.arm():
                select.select([self.end], [], [], 0.1)
            self.end.disarm()

    def connect(self) -> None:
        self.end.start()
        assert self.port.map(self.base, self.memory, MAPPED, 3) == 0
        self.until(lambda: self.opened_count, "initialization")

    def hello(self, **changes: Any) -> Any:
        """HELLO; with `changes` to what it should say, and then its answer is not acted on."""
        answer = self.ask(self._hello_body(**changes), may_refuse=True)
        if not changes:
            self._agree(answer)
        return answer

    def hello_with(self, **changes: Any) -> None:
        """HELLO that is unusual, but has to be accepted."""
        self._agree(self.ask(self._hello_body(**changes)))

    def _hello_body(self, **changes: Any) -> codec.Hello:
        limits = self.end.limits
        fields = {
            "magic": codec.HELLO_MAGIC,
            "revision": codec.REVISION,
            "lowest_revision": codec.REVISION,
            "features": 0,
            "session": 0,
            "max_message": limits.max_message,
            "ring_entries": limits.ring_entries,
            "max_devices": 8,
            "copy_granularity": limits.copy_granularity,
            "area_address": limits.area_address,
            "area_slots": limits.area_slots,
            "area_slot_size": limits.area_slot_size,
        } | changes
        return codec.Hello(**fields)

    def hello_pushing(self) -> None:
        """HELLO with PUSH, which the server has to agree to."""
        self.hello_with(features=PUSH)
        self.mark = self.end.session & 0xFF

    def _agree(self, answer: codec.Welcome) -> None:
        limits = self.end.limits
        self.end.agreed(
            Terms(
                session=SessionNumber(answer.session),
                revision=answer.revision,
                features=answer.features,
                max_message=answer.max_message,
                ring_entries=answer.ring_entries,
                max_devices=answer.max_devices,
                copy_granularity=answer.copy_granularity,
                copy_max=answer.copy_max,
                area_address=limits.area_address,
                area_slots=limits.area_slots,
                area_slot_size=limits.area_slot_size,
            )
        )

    def entry(self, *raw: int) -> None:
        """One entry, byte by byte; short ones are filled with zeroes."""
        data = bytes(raw).ljust(16, b"\0")
        self.port.send(int.from_bytes(data[:8], "big"), int.from_bytes(data[8:], "big"))

    def tell(self, body: Body, device: int = 0) -> int:
        """Send without waiting; the token."""
        self.sequence = self.sequence + 1 & 0xFF
        mark = int(token(self.end.session, self.sequence))
        self.end.send(codec.message_of(body, device, mark))
        return mark

    def ask(self, body: Body, device: int = 0, *, may_refuse: bool = False) -> Any:
        """Send and wait for the answer: its body, or the Refused."""
        mark = self.tell(body, device)
        self.until(lambda: any(self._answers(message, mark) for message in self.inbox), f"answer to {body}")
        message = next(message for message in self.inbox if self._answers(message, mark))
        self.inbox.remove(message)
        answer = codec.body_of(message)
        assert may_refuse or not isinstance(answer, codec.Refused), f"{body} was refused: {answer}"
        return answer

    @staticmethod
    def _answers(message: Message, mark: int) -> bool:
        refused = not message.bus and message.msg_id == codec.REFUSED
        return (message.response or refused) and message.token == mark

    # -- a device

    def set_status(self, value: int, device: int = 0) -> int:
        return int(self.ask(codec.SetDeviceStatus(value), device).status)

    def status(self, device: int = 0) -> int:
        return int(self.ask(codec.GetDeviceStatus(), device).status)

    def negotiate(self, device: int = 0, features: int = MANDATORY | feature_set(RING_RESET)) -> None:
        """Up to FEATURES_OK."""
        assert self.set_status(0, device) == 0
        self.set_status(status.ACKNOWLEDGE, device)
        self.set_status(status.ACKNOWLEDGE | status.DRIVER, device)
        blocks = to_blocks(features)
        self.ask(codec.SetDriverFeatures(0, len(blocks), blocks), device)
        wanted = status.ACKNOWLEDGE | status.DRIVER | status.FEATURES_OK
        assert self.set_status(wanted, device) == wanted

    def queue(self, **changes: int) -> codec.SetVqueue:
        """SET_VQUEUE as it should be, apart from `changes`."""
        fields = {
            "index": 0,
            "reserved0": 0,
            "size": QUEUE_SIZE,
            "reserved1": 0,
            "descriptors": self.base + TABLE,
            "driver_area": 0 if self.mark else self.base + AVAILABLE,
            "device_area": self.base + USED,
        } | changes
        return codec.SetVqueue(**fields)

    def bring_up(self, device: int = 0, features: int = MANDATORY | feature_set(RING_RESET), queue: int = 0) -> None:
        """Up to DRIVER_OK with empty rings."""
        self.port.write(self.memory + TABLE, bytes(3 * PAGE))
        self.packed = has(features, RING_PACKED)
        self.position = self.owed = self.told = 0
        self.may_announce = True
        self.negotiate(device, features)
        self.ask(self.queue(index=queue), device)
        up = status.ACKNOWLEDGE | status.DRIVER | status.FEATURES_OK | status.DRIVER_OK
        assert self.set_status(up, device) == up

    # -- a ring

    def describe(self, *chain: Descriptor, at: int = 0) -> None:
        """Write descriptors into the table, from `at` on."""
        for index, descriptor in enumerate(chain, at):
            place = self.memory + TABLE + 16 * index
            self.port.store64(place, descriptor.address)
            self.port.store32(place + 8, descriptor.length)
            self.port.store16(place + 12, descriptor.flags)
            self.port.store16(place + 14, descriptor.following)

    def make_available(self, *heads: int, ahead: int = 0) -> None:
        """Put heads into the avail ring and move its index; `ahead` moves it further than there are heads."""
        for head in heads:
            slot = self.position % QUEUE_SIZE
            self.port.store16(self.memory + AVAILABLE + 4 + 2 * slot, head)
            self.position = self.position + 1 & 0xFFFF
        self.port.fence()
        self.port.release16(self.memory + AVAILABLE + 2, self.position + ahead & 0xFFFF)

    def announce(self, position: int | None = None, device: int = 0, queue: int = 0) -> None:
        """EVENT_AVAIL, whether or not one may be sent; returns the credit owed for an EVENT_USED."""
        told = self.position if position is None else position
        mark = int(token(self.end.session, self.owed))
        self.owed = 0
        self.may_announce = False
        self.end.transmit(framing.build(codec.message_of(codec.EventAvail(queue, told), device, mark)))

    def _announced(self, kind: int, device: int, queue: int, position: int, credit: int) -> None:
        if kind == USED_KIND:
            self.owed, self.told = 1, position
        if kind == CREDIT_KIND or credit:
            self.may_announce = True

    def used(self) -> int:
        return int(self.port.acquire16(self.memory + USED + 2))

    def lay(self, *chain: Descriptor, name: int = 0, twist: int = 0) -> None:
        """A chain into a packed ring, marked available but for what the last one's flags are twisted by."""
        for index, descriptor in enumerate(chain):
            place = self.memory + TABLE + 16 * (self.position % QUEUE_SIZE)
            mark = 1 << 7 if self.position // QUEUE_SIZE % 2 == 0 else 1 << 15
            self.port.store64(place, descriptor.address)
            self.port.store32(place + 8, descriptor.length)
            self.port.store16(place + 12, name)
            flags = descriptor.flags | mark
            self.port.release16(place + 14, flags ^ twist if index + 1 == len(chain) else flags)
            self.position = self.position + 1 & 0xFFFF

    def read_request(self, sector: int = 0, length: int = 512, at: int = 0) -> None:
        """A correct read of `length` bytes as a chain of three descriptors from table entry `at` on."""
        header = self.memory + HEADERS + 32 * at
        self.port.store32(header, 0)
        self.port.store32(header + 4, 0)
        self.port.store64(header + 8, sector)
        bus = self.base + HEADERS + 32 * at
        self.describe(
            Descriptor(bus, 16, 1, at + 1),
            Descriptor(self.base + DATA, length, 3, at + 2),
            Descriptor(bus + 16, 1, 2),
            at=at,
        )

    def serve_reads(self, count: int) -> None:
        """Well-behaved reads, one after the other, to show (or to have) a working device."""
        for _ in range(count):
            if self.mark or self.packed:
                self._serve_pushed_read() if self.mark else self._serve_packed_read()
                continue
            before = self.used()
            self.read_request()
            self.make_available(0)
            self.announce()
            self.until(lambda before=before: self.used() != before, "completion")  # type: ignore[misc]
            self.until(lambda: self.may_announce, "credit")

    def _serve_packed_read(self) -> None:
        self.read_request(at=QUEUE_SIZE)  # its descriptors go where no ring is; the header is what counts
        bus = self.base + HEADERS + 32 * QUEUE_SIZE
        chain = Descriptor(bus, 16, 1), Descriptor(self.base + DATA, 512, 3), Descriptor(bus + 16, 1, 2)
        place = self.memory + TABLE + 16 * (self.position % QUEUE_SIZE) + 14
        mark = 0x8080 if self.position // QUEUE_SIZE % 2 == 0 else 0
        self.lay(*chain)
        self.announce()
        self.until(lambda: self.port.acquire16(place) & 0x8080 == mark, "completion")
        self.until(lambda: self.may_announce, "credit")

    def push(
        self, head: int, inlined: bytes = b"", flags: int = 0, address: int = 0, length: int = 0, **name: int
    ) -> None:
        """The next record of a pushed queue; it counts its inlined bytes unless the flags do."""
        named = {"marker": 0x80, "device": 0, "queue": 0, "session": self.mark} | name
        flags = flags if flags & 0x1F else flags | len(inlined)
        record = struct.pack("<BBHHBB", named["marker"], flags, head, named["device"], named["queue"], named["session"])
        record += address.to_bytes(5, "little") + length.to_bytes(3, "little") + inlined.ljust(16, b"\0")
        self.port.write(self.memory + TABLE + 32 * (self.position % QUEUE_SIZE), record)
        self.position = self.position + 1 & 0xFFFF

    def push_read(self, head: int = 0, sector: int = 0, length: int = 512) -> None:
        """A correct read, whole in its record."""
        self.push(head, struct.pack("<IIQ", 0, 0, sector), 0x20 | 0x40, self.base + DATA, length)

    def _serve_pushed_read(self) -> None:
        self.push_read()
        self.announce()
        self.until(lambda: self.told == self.position, "completion")
        self.until(lambda: self.may_announce, "credit")

    def transmit(self, device: int, queue: int) -> None:
        """A well-behaved piece of console output."""
        self.port.write(self.memory + DATA, b"here again\n")
        if self.mark:
            self.push(0, b"here again\n", device=device, queue=queue)
            self.announce(device=device, queue=queue)
            self.until(lambda: self.told == self.position, "completion")
            return
        before = self.used()
        self.describe(Descriptor(self.base + DATA, 11))
        self.make_available(0)
        self.announce(device=device, queue=queue)
        self.until(lambda: self.used() != before, "completion")

    def close(self) -> None:
        self.end.close()
