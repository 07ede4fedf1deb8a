# SPDX-License-Identifier: Apache-2.0
"""Devices of the hostile server: slow and obvious, correct as long as nobody interferes, and open to interference.

`hold` keeps requests in flight. What an act does to a ring it does by `put_used`, `put_index` and `scribble`.
"""

import struct
from dataclasses import dataclass, field
from typing import Any

from virtio_crq.crq.remote import RemoteWindow
from virtio_crq.errors import DriverFault
from virtio_crq.message.device import QueueResume, QueueSetup
from virtio_crq.platform.channel import AVAIL, CREDIT, USED, Channel
from virtio_crq.platform.partition import Arena
from virtio_crq.virtio import block, splitring
from virtio_crq.virtio import features as bits
from virtio_crq.virtio.block import BlockConfig
from virtio_crq.virtio.deviceid import DeviceId
from virtio_crq.virtio.features import Features
from virtio_crq.virtio.splitring import QueueIndex

QUEUE_SIZE = 64
COMMON = Features(bits.MANDATORY | bits.feature_set(bits.RING_RESET, bits.EVENT_IDX))
BLOCK_FEATURES = Features(COMMON | bits.feature_set(block.SEG_MAX, block.FLUSH))
DISK_BYTES = 1 << 20
_DESCRIPTOR = struct.Struct("<QIHH")


@dataclass(frozen=True)
class Buffer:
    address: int
    length: int
    writable: bool


@dataclass(frozen=True)
class Chain:
    """A request as it stood in the ring when it was fetched."""

    head: int
    buffers: tuple[Buffer, ...]

    @property
    def room(self) -> int:
        """Bytes that the device may write."""
        return sum(buffer.length for buffer in self.buffers if buffer.writable)


@dataclass(eq=False)
class Model:
    """`message.device.DeviceModel` of one queue. `attach` gives it the window and the channel of its connection."""

    number: int
    device_id: int = 0
    vendor_id: int = 1
    features: Features = COMMON
    queue_sizes: tuple[int, ...] = (QUEUE_SIZE,)
    config: bytes = b""
    hold: bool = False
    resets: int = 0
    served: int = 0
    setup: QueueSetup | None = None
    running: bool = False
    fetched: int = 0  # positions in the avail ring: what was fetched, and what was announced
    seen: int = 0
    used: int = 0  # positions in the used ring: what was written, and what was announced
    told: int = 0
    owed: int = 0  # a credit of the front-end's is with us
    may_tell: bool = True  # ours is at home
    indirect: bool = False
    pending: list[Chain] = field(default_factory=list)
    _resumed: list[int] = field(default_factory=list)
    window: Any = None
    channel: Any = None
    pages: int = 0

    @property
    def identity(self) -> bytes:
        return b"hostile-%08d" % self.number

    def attach(self, window: RemoteWindow, channel: Channel) -> None:
        self.window, self.channel = window, channel

    def furnish(self, port: Any, memory: Arena) -> None:
        """As many pages of the server's own memory, which are mapped, as the model said."""

    # -- what the transport asks

    @property
    def early_config(self) -> range:
        return range(0)

    @property
    def config_size(self) -> int:
        return len(self.config)

    def read_config(self, offset: int, length: int) -> bytes:
        return self.config[offset : offset + length]

    def write_config(self, offset: int, data: bytes) -> None:
        raise DriverFault("config-read-only", f"write of {len(data)} bytes at {offset}")

    def driver_features(self, features: Features) -> None: ...

    def enable_queue(self, index: QueueIndex, setup: QueueSetup, resume: QueueResume | None) -> None:
        self.setup = setup
        self.fetched = self.seen = int(resume.avail_position) if resume else 0
        self.used = self.told = int(resume.used_position) if resume else 0
        self.pending = []
        self.owed, self.may_tell = 0, True
        self._resumed = [int(head) for head in resume.heads] if resume else []

    def driver_ok(self) -> None:
        self.running = True
        self._wish()
        # A chain may only be looked at once the driver has said that all of it stands (CRQ-D-86).
        self.pending = [self.chain(head) for head in self._resumed]
        self._resumed = []

    def disable_queue(self, index: QueueIndex) -> bool:
        self.setup, self.pending = None, []
        return True

    def reset(self) -> bool:
        self.setup, self.running, self.pending = None, False, []
        self.resets += 1
        return True

    # -- the ring, as the standard tells it

    def announced(self, kind: int, position: int, credit: int) -> None:
        self.may_tell = self.may_tell or bool(credit) or kind == CREDIT
        if kind == AVAIL:
            self.seen, self.owed = position, 1

    def serve(self) -> None:
        """Fetch what was announced, complete what is not held, announce what is due."""
        if not self.running or self.setup is None:
            return
        self.fetch()
        while self.pending and not self.hold:
            chain = self.pending.pop(0)
            self.complete(chain, self.perform(chain))
        self.tell()

    def fetch(self) -> None:
        assert self.setup is not None
        moved = self.fetched != self.seen
        while self.fetched != self.seen:
            at = self.setup.driver_area + splitring.AVAIL_RING + 2 * (self.fetched % self.setup.size)
            self.pending.append(self.chain(int.from_bytes(self.look(at, 2), "little")))
            self.fetched = splitring.advance(self.fetched, 1)
        if moved:
            self._wish()

    def _wish(self) -> None:
        """avail_event: tell us of whatever comes next. Without EVENT_IDX nobody reads it."""
        if self.setup is not None:
            at = self.setup.device_area + splitring.avail_event_offset(self.setup.size)
            self.put(at, self.fetched.to_bytes(2, "little"))

    def tell(self) -> None:
        """EVENT_USED when something is due and may be said, else the credit that is owed."""
        if self.used != self.told and self.may_tell:
            credit, self.owed = self.owed, 0
            self.told, self.may_tell = self.used, False
            self.channel.announce(USED, self.number, 0, self.used, credit)
        elif self.owed:
            self.owed = 0
            self.channel.announce(CREDIT, self.number, 0, 0, 1)

    def chain(self, head: int) -> Chain:
        assert self.setup is not None
        return Chain(head, tuple(self._walk(self.setup.descriptors, head, self.setup.size)))

    def _walk(self, table: int, index: int, size: int) -> list[Buffer]:
        found: list[Buffer] = []
        for _ in range(size):
            address, length, flags, follower = _DESCRIPTOR.unpack(self.look(table + 16 * index, 16))
            if flags & splitring.DESC_F_INDIRECT:
                return self._walk(address, 0, length // 16)
            found.append(Buffer(address, length, bool(flags & splitring.DESC_F_WRITE)))
            if not flags & splitring.DESC_F_NEXT:
                break
            index = follower
        return found

    def look(self, address: int, length: int) -> bytes:
        step = self.window.step
        pieces = range(0, length, step)
        return b"".join(self.window.read(address + at, min(step, length - at)) for at in pieces)

    def put(self, address: int, data: bytes) -> None:
        step = self.window.step
        for at in range(0, len(data), step):
            self.window.write(address + at, data[at : at + step])

    def complete(self, chain: Chain, length: int) -> None:
        self.put_used(self.used, chain.head, length)
        self.used = splitring.advance(self.used, 1)
        self.put_index(self.used)
        self.served += 1

    def perform(self, chain: Chain) -> int:
        """Do what the request asks; how many bytes were written into it."""
        raise NotImplementedError

    # -- for acts

    def put_used(self, position: int, head: int, length: int) -> None:
        assert self.setup is not None
        at = self.setup.device_area + splitring.USED_RING + 8 * (position % self.setup.size)
        self.put(at, struct.pack("<II", head & 0xFFFFFFFF, length & 0xFFFFFFFF))

    def put_index(self, position: int) -> None:
        assert self.setup is not None
        self.put(self.setup.device_area + splitring.USED_INDEX, (position & 0xFFFF).to_bytes(2, "little"))

    def call(self, position: int, credit: int = 0, queue: int = 0) -> None:
        """EVENT_USED with any position, whether or not it may be sent."""
        self.channel.announce(USED, self.number, queue, position & 0xFFFF, credit)


@dataclass(eq=False)
class Disk(Model):
    """A block device in memory. `status` is what its requests end with."""

    device_id: int = int(DeviceId.BLOCK)
    features: Features = BLOCK_FEATURES
    content: bytearray = field(default_factory=lambda: bytearray(DISK_BYTES))
    status: int = block.S_OK

    def __post_init__(self) -> None:
        self.config = self.config or BlockConfig(len(self.content) // block.SECTOR_SIZE, seg_max=16).encode()

    @property
    def name(self) -> bytes:
        return b"hostile%d" % self.number

    def perform(self, chain: Chain) -> int:
        header, *data, status = chain.buffers
        kind, _reserved, sector = block.REQUEST_HEADER.unpack(self.look(header.address, block.REQUEST_HEADER_SIZE))
        at, written = sector * block.SECTOR_SIZE, 0
        for buffer in data:
            if kind == block.T_OUT:
                self.content[at : at + buffer.length] = self.look(buffer.address, buffer.length)
            else:
                named = self.name.ljust(block.ID_BYTES, b"\0")
                source = named if kind == block.T_GET_ID else bytes(self.content[at : at + buffer.length])
                self.put(buffer.address, source[: buffer.length])
                written += buffer.length
            at += buffer.length
        self.put(status.address, bytes([self.status]))
        return written + block.STATUS_SIZE


@dataclass(eq=False)
class Entropy(Model):
    device_id: int = int(DeviceId.ENTROPY)
    most: int = 64  # bytes an answer

    def perform(self, chain: Chain) -> int:
        written = min(self.most, chain.room)
        if written:
            self.put(chain.buffers[0].address, bytes(range(written)))
        return written
