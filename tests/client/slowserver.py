# SPDX-License-Identifier: Apache-2.0
"""A server for the client's tests: block and entropy devices in plain Python on a loopback cable, in a thread.

It obeys the rules unless told otherwise, touches the client's memory only where the client mapped it, and can be
killed and made anew over the same content.
"""

import select
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from virtio_crq.loopback.cable import CLIENT, READ, SERVER, WRITE, Cable, reach
from virtio_crq.loopback.endpoint import LoopbackEndpoint
from virtio_crq.message.backend import BackEnd
from virtio_crq.message.device import QueueResume, QueueSetup
from virtio_crq.message.session import PUSH
from virtio_crq.platform.channel import AVAIL, CREDIT, USED
from virtio_crq.platform.partition import Arena, BusAddress
from virtio_crq.virtio import block, packedring, splitring
from virtio_crq.virtio import features as bits
from virtio_crq.virtio.block import BlockConfig
from virtio_crq.virtio.features import Features
from virtio_crq.virtio.splitring import QueueIndex

SERVER_MEMORY = 1 << 16
FEATURES = Features(bits.MANDATORY | bits.feature_set(bits.EVENT_IDX, bits.INDIRECT_DESC, bits.RING_RESET))


Place = int | bytearray  # of a buffer: an I/O address, or bytes that stand in a record


@dataclass
class Model:
    """`message.device.DeviceModel`; `hold` keeps requests unanswered, `twist` may replace a used entry."""

    cable: Cable
    number: int
    identity: bytes = b"0123456789abcdef"
    device_id: int = 2
    vendor_id: int = 1
    features: Features = FEATURES
    queue_sizes: tuple[int, ...] = (64,)
    config: bytes = b""
    early_config: range = range(0)
    hold: bool = False
    twist: Callable[[int, int], tuple[int, int]] | None = None
    served: int = 0
    channel: Any = None
    setup: QueueSetup | None = None
    packed: bool = False
    running: bool = False
    fetched: int = 0
    used: int = 0
    seen: int = 0
    owed: int = 0
    may_tell: bool = True
    told: int = 0
    todo: list[int] = field(default_factory=list)
    records: dict[int, list[tuple[Place, int, bool]]] = field(default_factory=dict)  # and chains of a packed ring
    counts: dict[int, int] = field(default_factory=dict)  # of a packed ring: descriptors, by buffer id
    replays: list[int] = field(default_factory=list)

    @property
    def config_size(self) -> int:
        return len(self.config)

    def read_config(self, offset: int, length: int) -> bytes:
        return self.config[offset : offset + length]

    def write_config(self, offset: int, data: bytes) -> None: ...

    def driver_features(self, features: Features) -> None:
        self.packed = bits.has(features, bits.RING_PACKED)

    def enable_queue(self, index: QueueIndex, setup: QueueSetup, resume: QueueResume | None) -> None:
        self.setup = setup
        self.fetched = self.seen = resume.avail_position if resume else 0
        self.used = self.told = resume.used_position if resume else 0
        self.todo = [int(head) for head in resume.heads] if resume else []
        self.records, self.counts = {}, {}
        self.replays = []
        if setup.mark:
            self.replays, self.todo = self.todo, []
            self.fetched = 0
            assert self.seen == len(self.replays)
            assert self.used == 0
        elif self.packed:  # the ring shows what is in flight
            assert not self.todo
            self.fetched = self.used
        self.owed, self.may_tell = 0, True

    def driver_ok(self) -> None:
        self.running = True

    def disable_queue(self, index: QueueIndex) -> bool:
        self.setup = None
        return True

    def reset(self) -> bool:
        self.setup, self.running, self.todo = None, False, []
        return True

    # The ring, as the standard tells it.

    def look(self, bus: Place, length: int) -> bytes:
        if not isinstance(bus, int):
            return bytes(bus)
        pieces = reach(self.cable.ends[CLIENT], bus, length, READ)
        assert pieces is not None, f"device {self.number} may not read {length} bytes at {bus:#x}"
        return b"".join(bytes(piece) for piece in pieces)

    def put(self, bus: Place, data: bytes) -> None:
        if not isinstance(bus, int):
            bus[:] = data
            return
        pieces = reach(self.cable.ends[CLIENT], bus, len(data), WRITE)
        assert pieces is not None, f"device {self.number} may not write {len(data)} bytes at {bus:#x}"
        for piece in pieces:
            piece[:], data = data[: len(piece)], data[len(piece) :]

    def announced(self, kind: int, position: int, credit: int) -> None:
        self.may_tell = self.may_tell or bool(credit) or kind == CREDIT
        if kind == AVAIL:
            assert not self.owed, "an announcement without credit"
            self.seen, self.owed = position, 1

    def serve(self) -> None:
        if not self.running or self.setup is None:
            return
        while self.fetched != self.seen:
            self.todo.append(self.take())
        self.wish()
        while self.todo and not self.hold:
            head = self.todo.pop(0)
            chain = self.records.pop(head, None) or self.chain(self.setup.descriptors, head)
            self.finish(head, self.perform(chain), chain)
        if self.used != self.told and self.may_tell:
            credit, self.owed = self.owed, 0
            self.told, self.may_tell = self.used, False
            self.channel.announce(USED, self.number, 0, self.used, credit)
        elif self.owed:
            self.owed = 0
            self.channel.announce(CREDIT, self.number, 0, 0, 1)

    def take(self) -> int:
        """The next request; its head."""
        assert self.setup is not None
        if self.packed:
            return self.take_descriptors()
        head = self.take_record() if self.setup.mark else self.take_entry()
        self.fetched = splitring.advance(self.fetched, 1)
        return head

    def wish(self) -> None:
        """Tell me of everything."""
        assert self.setup is not None
        if self.packed:
            self.put(self.setup.device_area, bytes(packedring.EVENT_SIZE))
        elif not self.setup.mark:
            wish = self.setup.device_area + splitring.avail_event_offset(self.setup.size)
            self.put(wish, self.fetched.to_bytes(2, "little"))

    def take_descriptors(self) -> int:
        """The chain at the next position of a packed ring, kept in `records`; its buffer id."""
        assert self.setup is not None
        found: list[tuple[Place, int, bool]] = []
        flags = packedring.DESC_F_NEXT
        count = head = 0
        while flags & packedring.DESC_F_NEXT:
            position = splitring.advance(self.fetched, count)
            assert position != self.seen, "a chain goes on beyond the announced position"
            text = self.look(self.setup.descriptors + 16 * (position % self.setup.size), 16)
            bus, length, head, flags = struct.unpack("<QIHH", text)
            assert flags & packedring.MARKS == packedring.available_mark(position, self.setup.size)
            if flags & packedring.DESC_F_INDIRECT:
                table = struct.iter_unpack("<QIHH", self.look(bus, length))
                found += [(at, size, bool(more & packedring.DESC_F_WRITE)) for at, size, _, more in table]
            else:
                found.append((bus, length, bool(flags & packedring.DESC_F_WRITE)))
            count += 1
        self.fetched = splitring.advance(self.fetched, count)
        assert head not in self.counts
        self.records[head], self.counts[head] = found, count
        return head

    def take_entry(self) -> int:
        assert self.setup is not None
        at = self.setup.driver_area + splitring.AVAIL_RING + 2 * (self.fetched % self.setup.size)
        return int.from_bytes(self.look(at, 2), "little")

    def take_record(self) -> int:
        """The record at the next position, its chain kept in `records`; the head."""
        assert self.setup is not None
        text = self.look(self.setup.descriptors + 32 * (self.fetched % self.setup.size), 32)
        marker, flags, head, device, queue, mark = struct.unpack_from("<BBHHBB", text)
        assert (marker, device, queue, mark) == (0x80, self.number, 0, self.setup.mark)
        address, length = int.from_bytes(text[8:13], "little"), int.from_bytes(text[13:16], "little")
        inlined = bytearray(text[16 : 16 + (flags & 0x1F)])
        chain: list[tuple[Place, int, bool]] = [(inlined, len(inlined), False)] if inlined else []
        if flags & 0x80:
            chain += self.chain(address, 0)
        elif length:
            chain.append((address, length, bool(flags & 0x40)))
        self.records[head] = [*chain, (bytearray(1), 1, True)] if flags & 0x20 else chain
        if self.replays:
            assert head == self.replays.pop(0), "the records of a resumed queue are those of the list"
        return head

    def chain(self, table: int, index: int) -> list[tuple[Place, int, bool]]:
        found: list[tuple[Place, int, bool]] = []
        while True:
            bus, length, flags, follower = struct.unpack("<QIHH", self.look(table + 16 * index, 16))
            if flags & splitring.DESC_F_INDIRECT:
                return self.chain(bus, 0)
            found.append((bus, length, bool(flags & splitring.DESC_F_WRITE)))
            if not flags & splitring.DESC_F_NEXT:
                return found
            index = follower

    def finish(self, head: int, length: int, chain: list[tuple[Place, int, bool]]) -> None:
        assert self.setup is not None
        count = self.counts.pop(head, 1)
        if self.twist is not None:
            head, length = self.twist(head, length)
        self.served += 1
        if self.setup.mark:
            self.answer(head, length, chain)
            return
        if self.packed:
            slot = self.setup.descriptors + 16 * (self.used % self.setup.size)
            flags = packedring.used_mark(self.used, self.setup.size) | (packedring.DESC_F_WRITE if length else 0)
            self.put(slot + packedring.DESCRIPTOR_LENGTH, struct.pack("<IH", length, head))
            self.put(slot + packedring.DESCRIPTOR_FLAGS, flags.to_bytes(2, "little"))
            self.used = splitring.advance(self.used, count)
            return
        at = self.setup.device_area + splitring.USED_RING + 8 * (self.used % self.setup.size)
        self.put(at, struct.pack("<II", head, length))
        self.used = splitring.advance(self.used, 1)
        self.put(self.setup.device_area + splitring.USED_INDEX, self.used.to_bytes(2, "little"))

    def answer(self, head: int, length: int, pushed: list[tuple[Place, int, bool]]) -> None:
        """A completion; the last byte goes in it where it was to."""
        assert self.setup is not None
        last = pushed[-1][0]
        flags, tail = (0, 0) if isinstance(last, int) or not pushed[-1][2] else (0x20, last[0])
        text = struct.pack("<BBHHBBIB3x", 0x80, flags, head & 0xFFFF, self.number, 0, self.setup.mark, length, tail)
        self.put(self.setup.device_area + 16 * (self.used % self.setup.size), text)
        self.used = splitring.advance(self.used, 1)

    def perform(self, chain: list[tuple[Place, int, bool]]) -> int:
        raise NotImplementedError


@dataclass
class BlockModel(Model):
    name: bytes = b"root"
    content: bytearray = field(default_factory=lambda: bytearray(1 << 20))
    status: int = block.S_OK
    flushes: int = 0
    log: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.config = self.config or BlockConfig(len(self.content) // 512, size_max=1 << 20, seg_max=16).encode()

    def perform(self, chain: list[tuple[Place, int, bool]]) -> int:
        assert chain[0][1:] == (16, False)
        assert chain[-1][1:] == (1, True)
        kind, _reserved, sector = struct.unpack("<IIQ", self.look(chain[0][0], 16))
        self.log.append((kind, sector))
        at, written = sector * 512, 0
        for bus, length, _writable in chain[1:-1]:
            if kind == block.T_OUT:
                self.content[at : at + length] = self.look(bus, length)
            else:
                data = bytes(self.content[at : at + length]) if kind == block.T_IN else self.name.ljust(20, b"\0")
                self.put(bus, data)
                written += length
            at += length
        self.flushes += kind == block.T_FLUSH
        self.put(chain[-1][0], bytes([self.status]))
        return written + 1


@dataclass
class EntropyModel(Model):
    device_id: int = 4
    most: int = 7
    state: int = 0

    def perform(self, chain: list[tuple[Place, int, bool]]) -> int:
        ((bus, length, _writable),) = chain
        length = min(length, self.most)
        self.put(bus, bytes((self.state + index) & 0xFF for index in range(length)))
        self.state += length
        return length


class SlowServer:
    """Runs until `kill` (gone without a word to its devices) or the end of the `with`.

    With `push` it wants records, with `packed` its devices offer that layout.
    """

    def __init__(self, cable: Cable, *models: Model, push: bool = False, packed: bool = False) -> None:
        self.features = PUSH if push else 0
        self.models = {model.number: model for model in models}
        for model in models if packed else ():
            model.features = Features(model.features | bits.feature_set(bits.RING_PACKED))
        arena = Arena(0, SERVER_MEMORY, BusAddress(0))
        self.back_end: BackEnd
        self.endpoint = LoopbackEndpoint(cable, SERVER, arena, 1 << 30, self._make)
        self.endpoint.on_announced = self._announced
        self.lock = threading.RLock()
        self.error: BaseException | None = None
        for model in models:
            model.channel = self.endpoint.channel
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _make(self, bus: Any) -> BackEnd:
        self.back_end = BackEnd(bus, dict(self.models), features=self.features)
        return self.back_end

    def _announced(self, kind: int, device: int, _queue: int, position: int, credit: int) -> None:
        self.models[device].announced(kind, position, credit)

    def _run(self) -> None:
        waiting = select.poll()  # select() would refuse descriptors beyond 1023
        waiting.register(self.endpoint.fileno(), select.POLLIN)
        try:
            while not self._over.is_set():
                with self.lock:
                    self.turn()
                waiting.poll(5)
        except BaseException as error:
            self.error = error

    def turn(self) -> None:
        self.endpoint.pump()
        for model in self.models.values():
            model.serve()

    def kill(self) -> None:
        self._over.set()
        self._thread.join()
        self.endpoint.close()
        if self.error is not None:
            raise self.error

    def __enter__(self) -> "SlowServer":
        self.endpoint.start()
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.kill()
