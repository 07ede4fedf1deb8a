# SPDX-License-Identifier: Apache-2.0
"""A disk of a hostile server that agreed to PUSH: slow, obvious, correct as long as nobody interferes."""

import struct
from dataclasses import dataclass, field

from virtio_crq.conformance.hostile.model import Buffer, Chain, Disk
from virtio_crq.message.device import QueueResume, QueueSetup
from virtio_crq.virtio import records, splitring
from virtio_crq.virtio.splitring import QueueIndex

_RECORD = struct.Struct("<BBHHBBQ")
_COMPLETION = struct.Struct("<BBHHBBIB3x")
_DESCRIPTOR = struct.Struct("<QIHH")
INSIDE = 1 << 62  # "addresses" of what is in the record itself: the inlined bytes, and behind them the last byte
STRIDE = 32


@dataclass(eq=False)
class PushedDisk(Disk):
    """Positions count records."""

    inlined: dict[int, bytes] = field(default_factory=dict)  # by head
    tails: dict[int, int] = field(default_factory=dict)  # last bytes that go into completions, by head

    def enable_queue(self, index: QueueIndex, setup: QueueSetup, resume: QueueResume | None) -> None:
        super().enable_queue(index, setup, resume)
        self.fetched = 0  # the records in flight stand at the first positions
        self._resumed = []
        self.inlined, self.tails = {}, {}

    def fetch(self) -> None:
        while self.fetched != self.seen:
            self.pending.append(self._record(self.fetched))
            self.fetched = splitring.advance(self.fetched, 1)

    def _wish(self) -> None:
        """Nobody reads any."""

    def _record(self, position: int) -> Chain:
        assert self.setup is not None
        at = self.setup.descriptors + records.REQUEST * (position % self.setup.size)
        return self.parsed(self.look(at, records.REQUEST))

    def parsed(self, text: bytes) -> Chain:
        _marker, flags, head, _device, _queue, _session, place = _RECORD.unpack_from(text)
        address, length = place & (1 << records.ADDRESS_BITS) - 1, place >> records.ADDRESS_BITS
        count = flags & records.INLINED
        self.inlined[head] = text[records.INLINED_MOST :][:count]
        buffers = [Buffer(INSIDE + STRIDE * head, count, False)] if count else []
        if flags & records.LIST:
            buffers += self._walk(address, 0, length // splitring.DESCRIPTOR_SIZE)
        elif length:
            buffers.append(Buffer(address, length, bool(flags & records.WRITE)))
        if flags & records.TAIL:
            self.tails[head] = 0
            buffers.append(Buffer(INSIDE + STRIDE * head + records.INLINED_MOST, 1, True))
        return Chain(head, tuple(buffers))

    def look(self, address: int, length: int) -> bytes:
        if address >= INSIDE:
            return self.inlined[(address - INSIDE) // STRIDE]
        return super().look(address, length)

    def put(self, address: int, data: bytes) -> None:
        if address >= INSIDE:
            self.tails[(address - INSIDE) // STRIDE] = data[0]
        else:
            super().put(address, data)

    def complete(self, chain: Chain, length: int) -> None:
        self.put_completion(self.used, chain.head, length)
        self.used = splitring.advance(self.used, 1)
        self.served += 1

    # -- for acts

    def place(self, position: int) -> int:
        """Where the completion at this position goes."""
        assert self.setup is not None
        return self.setup.device_area + records.COMPLETION * (position % self.setup.size)

    def put_completion(self, position: int, head: int, length: int, **other: int) -> None:
        """A completion, right but for what `other` says."""
        self.put(self.place(position), self.completion(head, length, **other))

    def completion(self, head: int, length: int, **other: int) -> bytes:
        assert self.setup is not None
        tail = self.tails.get(head)
        fields = {"marker": records.MARKER, "flags": 0 if tail is None else records.TAIL, "head": head}
        fields |= {"device": self.number, "queue": 0, "session": self.setup.mark, "written": length, "tail": tail or 0}
        return _COMPLETION.pack(*(fields | other).values())
