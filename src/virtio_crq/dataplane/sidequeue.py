# SPDX-License-Identifier: Apache-2.0
"""A pair of side queues: records come into a ring of one's own, and go into the partner's.

The platform puts records in and says so by its interrupt; it stores the first byte of a record last. So a batch that is
half there is read record after record, each behind its first byte. A slot is free again when that byte is 0.
"""

from virtio_crq.platform.port import Port, give_way
from virtio_crq.virtio import records

RECORD = records.REQUEST
PAGE = 4096
MOST = 128  # records in one call, where the platform takes so many
SURE = 16  # and what every one takes that has side queues
TOO_MANY = GONE = -4  # what a platform answers that does not; and to a queue that is gone
BUSY = 1
BUSY_TRIES = 64  # each lets others run


class SideQueue:
    """`slots` records of a ring at `offset` of own memory, which is mapped at `bus`. One thread's, like its port."""

    def __init__(self, port: Port, offset: int, bus: int, slots: int) -> None:
        self.port = port
        self.offset = offset
        self.bus = bus
        self.slots = slots
        self.cursor = 0
        self.handle = self.interrupt = 0
        self.partner = 0
        self.limit = MOST
        self.sent = 0
        self.refused = 0
        self.listens = 0
        self.heard = 0
        self.next: SideQueue | None = None

    @staticmethod
    def footprint(size: int) -> int:
        """Bytes of a ring in which as many records have room as a queue of `size` can have in flight."""
        return (RECORD * size + PAGE - 1) // PAGE * PAGE

    def open(self) -> int:
        """Have the platform take the ring; its code, not 0 where it has none for us."""
        self.cursor = self.listens = 0
        code, self.handle, self.interrupt = self.port.queue_open(self.bus, RECORD * self.slots)
        return code

    def close(self, tries: int = BUSY_TRIES) -> int:
        """Give the ring back; nothing is put into it from the first try on.

        Not 0: a send into it still runs, of a partner that stands still perhaps. Its memory must stay as it is, and
        the same is to be asked again.
        """
        self.partner = 0
        while self.handle and self.port.queue_close(self.handle) not in (0, GONE):
            tries -= 1
            if tries <= 0:
                return BUSY
            give_way()
        self.handle = 0
        return 0

    def listen(self, enabled: int) -> int:
        """Have the interrupt tell of records, or not: who never sleeps costs its partner none."""
        if self.handle and self.listens != enabled:
            self.listens = enabled
            self.port.queue_signal(self.interrupt, enabled)
        self.heard = self.cursor
        return 0

    def listen_all(self, enabled: int) -> int:
        """The same of this one and of those behind it."""
        self.listen(enabled)
        return 0 if self.next is None else self.next.listen_all(enabled)

    def hush_busy(self) -> int:
        """Have the interrupt tell no more of records that come, here and behind, but where none did since it was to.

        Turning an idle one off and on again, for each sleep, would be two calls for nothing.
        """
        if self.listens and (self.cursor != self.heard or self.waits()):
            self.listen(0)
        return 0 if self.next is None else self.next.hush_busy()

    def waits(self) -> int:
        """Whether a record is there; all of it can be read then."""
        return 1 if self.handle and self.port.acquire8(self.offset + RECORD * self.cursor) else 0

    def slot(self) -> int:
        """Where the next record lies."""
        return self.offset + RECORD * self.cursor

    def free(self) -> int:
        """The record was read: its slot may be filled again."""
        self.port.release8(self.offset + RECORD * self.cursor, 0)
        self.cursor = self.cursor + 1 if self.cursor + 1 < self.slots else 0
        return 0

    def send(self, at: int, bus: int, count: int) -> int:
        """Send records that lie at `at` of own memory, mapped at `bus`; the code, and `sent` is how many went."""
        self.sent = 0
        while self.sent < count:
            piece = count - self.sent
            room = (PAGE - bus % PAGE) // RECORD
            if piece > room:
                piece = room
            if piece > self.limit:
                piece = self.limit
            code = self._send(at, bus, piece)
            if code == TOO_MANY and piece > SURE:
                piece = SURE
                code = self._send(at, bus, piece)
                if code == 0:  # it was too many; else the queue is gone, and how many are taken is not known
                    self.limit = SURE
                    self.refused += 1
            if code != 0:
                return code
            self.sent += piece
            at += RECORD * piece
            bus += RECORD * piece
        return 0

    def _send(self, at: int, bus: int, count: int) -> int:
        if count == 1:
            return self.port.queue_send(self.partner, at)
        return self.port.queue_batch(self.partner, bus, count)
