# SPDX-License-Identifier: Apache-2.0
"""The announcements of a connection, read from one's own CRQ and sent with H_SEND_CRQ.

The ring lies in one's own RAM and nobody else's memory is ever polled. The header byte is the only synchronisation:
it is read with acquire, the entry is copied out, and the slot is given back by a store-release of zero (LoPAR: the
hypervisor writes a slot only while its header is zero, and advances one cursor, so no slot may be skipped).

An announcement that is right in every field is decoded in place and allocates nothing. Anything else, a stale one or
one with a bad field included, is CONTROL: the control plane parses it again with `framing` and refuses it by name.
"""

from virtio_crq.crq.words import AVAIL_WORD, CREDIT_WORD, USED_WORD
from virtio_crq.platform.channel import (
    AN_ENTRY,
    AVAIL,
    CONTROL,
    CREDIT,
    LOST,
    NO_ENTRY,
    NOTHING,
    USED,
    Channel,
)
from virtio_crq.platform.port import Port

CLOSED = 2  # H_Closed: what an announcement is answered when there is no session to send it in
DROPPED = -12  # H_Dropped: the partner has no room
LOW32 = 0xFFFFFFFF


class CrqChannel(Channel):
    """The channel of one half. `serving` says which: a server hears AVAIL and tells USED, a client the reverse."""

    def __init__(self, port: Port, ring: int, size: int, serving: bool) -> None:
        super().__init__()
        self.port = port
        self.ring = ring
        self.size = size
        self.cursor = 0
        self.high = 0
        self.low = 0
        self.incoming = AVAIL if serving else USED
        self.outgoing = USED if serving else AVAIL
        self.session = 0
        self.taken = 0  # entries, ever

    def poll(self) -> int:
        return self.take()

    def waits(self) -> int:
        return AN_ENTRY if self.port.acquire8(self.ring + self.cursor) else NO_ENTRY

    def take(self) -> int:
        """The next entry, out of the ring, if there is one."""
        at = self.ring + self.cursor
        if self.port.acquire8(at) == 0:
            return NOTHING
        self.high = self.port.load64be(at)
        self.low = self.port.load64be(at + 8)
        self.port.release8(at, 0)
        self.cursor = self.cursor + 16
        if self.cursor == self.size:
            self.cursor = 0
        self.taken += 1
        return self.classify()

    def classify(self) -> int:
        first = self.high >> 32
        if first >> 24 == 0xFF:
            return LOST
        if self.session == 0 or (self.high >> 8) & 0xFF != self.session & 0xFF or self.high & 0xFE != 0:
            return CONTROL
        position = swap32(self.low & LOW32)
        if first == CREDIT_WORD:
            if position + 1 != self.outgoing or self.high & 1 == 0:
                return CONTROL
        elif first != (AVAIL_WORD if self.incoming == AVAIL else USED_WORD) or position > 0xFFFF:
            return CONTROL
        self.device = (self.high >> 24) & 0xFF | (self.high >> 8) & 0xFF00
        self.queue = swap32(self.low >> 32)
        self.position = position
        self.credit = self.high & 1
        return CREDIT if first == CREDIT_WORD else self.incoming

    def announce(self, kind: int, device: int, queue: int, position: int, credit: int) -> int:
        return self.tell(kind, device, queue, position, credit)

    def tell(self, kind: int, device: int, queue: int, position: int, credit: int) -> int:
        """One H_SEND_CRQ. CREDIT returns the partner's right to announce; its `position` is not used."""
        if self.session == 0:
            return CLOSED
        if kind == CREDIT:
            first = CREDIT_WORD
            position = self.incoming - 1  # CREDIT counts from AVAIL as 0, see message.codec
            credit = 1
        else:
            first = AVAIL_WORD if kind == AVAIL else USED_WORD
        high = first << 32 | (device & 0xFF) << 24 | (device & 0xFF00) << 8 | (self.session & 0xFF) << 8 | (credit & 1)
        low = swap32(queue) << 32 | swap32(position & LOW32)
        code = self.port.send(high, low)
        if code == DROPPED:
            self.stalled = 1
        return code

    def entry(self) -> bytes:
        """The raw entry that was taken last."""
        return self.high.to_bytes(8, "big") + self.low.to_bytes(8, "big")

    def has_entry(self) -> bool:
        """Whether an entry waits; takes nothing. For the last look between enabling the interrupt and sleeping."""
        return self.port.acquire8(self.ring + self.cursor) != 0

    def loss_waits(self) -> bool:
        """Whether a transport event stands among the entries that wait. Not for the hot path: it looks at each."""
        at = self.cursor
        for _ in range(self.size // 16):
            header = self.port.acquire8(self.ring + at)
            if header == 0 or header == 0xFF:
                return header == 0xFF
            at = (at + 16) % self.size
        return False

    def rewind(self) -> int:
        """Before registering: every header zero, the cursor at the start, no session (LoPAR: both begin at 0)."""
        self.port.write(self.ring, bytes(self.size))
        self.cursor = 0
        self.session = 0
        self.stalled = 0
        return 0


def swap32(value: int) -> int:
    return (value & 0xFF) << 24 | (value & 0xFF00) << 8 | (value >> 8) & 0xFF00 | (value >> 24) & 0xFF
