# SPDX-License-Identifier: Apache-2.0
"""Block requests of one queue (virtio 1.4 §5.2.6): IN, OUT, FLUSH, GET_ID.

A batch travels together: all headers come in one vector, the data of all writes in one, and the data and status of
all that ended in one, each request's status behind its data. No byte of data leaves before its status is known. A
request larger than a chunk goes through own RAM chunk by chunk.
"""

from array import array

from virtio_crq.dataplane.disktraits import DiskTraits
from virtio_crq.dataplane.faults import refuse
from virtio_crq.dataplane.limits import SEGMENTS
from virtio_crq.dataplane.service import Service
from virtio_crq.dataplane.store import BUSY, PENDING, Store
from virtio_crq.dataplane.ways import COPIED, ONLY_COPIES
from virtio_crq.errors import DeviceFault
from virtio_crq.virtio import block

IN = block.T_IN
OUT = block.T_OUT
FLUSH = block.T_FLUSH
GET_ID = block.T_GET_ID
OK = block.S_OK
IOERR = block.S_IOERR
UNSUPP = block.S_UNSUPP
SECTOR = block.SECTOR_SIZE
HEADER = block.REQUEST_HEADER_SIZE
IDENTITY = block.ID_BYTES
CHUNK = 262144


class BlockService(Service):
    """Serves a store. All queues of one device share the store object, and all of them are on one worker.

    `sectors` and `writethrough` may be changed at any time.
    """

    def __init__(self, store: Store, traits: DiskTraits) -> None:
        super().__init__(store)
        self.sectors = traits.sectors
        self.identity = traits.identity[:IDENTITY].ljust(IDENTITY, b"\0")
        self.crew = 0
        self.read_only = 1 if traits.read_only else 0
        self.writethrough = 1 if traits.writethrough else 0
        self.seg_max = traits.seg_max
        self.size_max = traits.size_max

    def prepare(self, size: int) -> None:
        self.room = size * (HEADER + 1) + IDENTITY
        headers = self.staging.take(self.room)
        if headers < 0:
            raise DeviceFault("arena-full", f"{self.room} bytes for headers, {self.staging.free} pages are left")
        self.headers = headers
        self.statuses = self.headers + size * HEADER
        self.name = self.statuses + size
        self.port.write(self.name, self.identity)
        self.journal = self.ring.planner.journal
        self.chunk = min(CHUNK, max(4096, self.staging.free * 4096 // 4))
        self.kinds = array("B", bytes(size))
        self.asked = array("B", bytes(size))
        self.positions = array("Q", bytes(8 * size))
        self.totals = array("Q", bytes(8 * size))
        self.moved = array("Q", bytes(8 * size))
        self.buffers = array("q", [-1] * size)
        self.sizes = array("I", bytes(4 * size))

    def run(self, count: int) -> int:
        self.crew = count
        for index in range(count):
            self._bring_header(self.batch[index])
        self.ring.flush()
        outward = 0
        for index in range(count):
            self._read_header(self.batch[index])
        self.bypass(count)
        for index in range(count):
            head = self.batch[index]
            if self.totals[head] and self.kinds[head] == OUT:
                outward += self._equip(head)
        if outward:
            self.ring.flush()
        for index in range(count):
            head = self.batch[index]
            if self.totals[head] or self.kinds[head] == FLUSH:
                self.advance(head)
        return 0

    def bypass(self, count: int) -> int:
        """Finish what of the batch needs no own RAM, and take its total to 0: see `redirected`."""
        return 0

    def _bring_header(self, head: int) -> int:
        if self.ring.chains.readable[head] < HEADER:
            refuse("header-short", head, self.ring.chains.readable[head])
        if self.ring.chains.writable[head] < 1:
            refuse("status-missing", head, 0)
        return self.ring.pull(head, 0, HEADER, self.headers + HEADER * head)

    def _read_header(self, head: int) -> int:
        """1 if there is something to do in the store; otherwise the request has been finished."""
        at = self.headers + HEADER * head
        kind = self.port.load32(at)
        sector = self.port.load64(at + 8)
        self.requests += 1
        self.kinds[head] = kind & 0xFF if kind < 256 else 0xFF
        self.moved[head] = 0
        self.totals[head] = 0
        self.buffers[head] = -1
        if kind in (IN, OUT):
            total = self.ring.chains.writable[head] - 1 if kind == IN else self.ring.chains.readable[head] - HEADER
            if total == 0 or not self._legal(head, sector, total) or (kind == OUT and self.read_only):
                self._finish(head, IOERR)
                return 0
            self.positions[head] = sector * SECTOR
            self.totals[head] = total
            self.journal.decide(head, COPIED, ONLY_COPIES)
            return 1
        if kind == FLUSH:
            return 1
        if kind == GET_ID:
            self._identify(head)
        else:
            self.kinds[head] = 0xFF
            self._finish(head, UNSUPP)
        return 0

    def _legal(self, head: int, sector: int, total: int) -> int:
        # §5.2.6.1: whole sectors, inside the capacity; §5.2.5: limits that were offered.
        if total % SECTOR or sector >= self.sectors or total // SECTOR > self.sectors - sector:
            return 0
        first = head * SEGMENTS
        last = first + self.ring.chains.segments[head]
        if self.seg_max and last - first > self.seg_max + 2:
            return 0
        if self.size_max:
            for index in range(first, last):
                if self.ring.chains.lengths[index] > self.size_max:
                    return 0
        return 1

    def _equip(self, head: int) -> int:
        """A buffer for the next chunk, and for a write the copy that fills it; 0 when there is no room now."""
        size = self.totals[head] - self.moved[head]
        if size > self.chunk:
            size = self.chunk
        at = self.staging.take(size)
        if at < 0:
            return 0
        self.buffers[head] = at
        self.sizes[head] = size
        if self.kinds[head] == OUT:
            self.ring.pull(head, HEADER + self.moved[head], size, at)
        return 1

    def advance(self, head: int) -> int:
        """Chunk after chunk, until the request is finished, in the store, or parked."""
        while True:
            if self.weight >= self.share:
                return self.park(head)
            if self.kinds[head] != FLUSH and self.buffers[head] < 0:
                if not self._equip(head):
                    if not self.spent_count:
                        return self.park(head)
                    self.ring.flush()
                    self.release()
                    continue
                if self.kinds[head] == OUT:
                    self.ring.flush()
            answer = self.ask(head)
            if answer == PENDING:
                self.in_store += 1
                self.asked[head] = 1
                return 0
            if answer == BUSY:
                return self.park(head)
            if not self._landed(head, answer):
                return 0

    def ask(self, head: int) -> int:
        token = self.tag << 16 | head
        if self.kinds[head] == FLUSH:
            return self.store.sync(self.port, token)
        position = self.positions[head] + self.moved[head]
        if self.kinds[head] == OUT:
            return self.store.write(self.port, self.buffers[head], self.sizes[head], position, self.writethrough, token)
        return self.store.read(self.port, self.buffers[head], self.sizes[head], position, token)

    def _landed(self, head: int, result: int) -> int:
        """The store did a chunk; 1 if there are more."""
        if self.kinds[head] == FLUSH:
            self._finish(head, IOERR if result else OK)
            return 0
        size = self.sizes[head]
        self.weight += size
        if result == 0 and self.kinds[head] == IN:
            self.ring.push(head, self.moved[head], size, self.buffers[head])
        self.spend(self.buffers[head], size)
        self.buffers[head] = -1
        if result:
            self._finish(head, IOERR)
            return 0
        self.moved[head] += size
        if self.moved[head] < self.totals[head]:
            return 1
        self._finish(head, OK)
        return 0

    def _finish(self, head: int, status: int) -> int:
        """Status behind the data, then the used element. Its length counts what is whole from the front (§2.7.8.2)."""
        at = self.statuses + head
        self.port.store8(at, status)
        self.ring.push(head, self.ring.chains.writable[head] - 1, 1, at)
        if status:
            self.errors += 1
        whole = 0
        if self.kinds[head] == OUT:
            self.bytes_out += self.moved[head]
        else:
            whole = self.moved[head]
            self.bytes_in += whole
        if whole == self.ring.chains.writable[head] - 1:
            whole += 1
        segments = self.ring.chains.segments[head]
        inline = self.ring.carried(head)
        self.journal.close(head, self.kinds[head], self.moved[head], segments, inline, self.crew)
        return self.ring.complete(head, whole)

    def _identify(self, head: int) -> int:
        room = self.ring.chains.writable[head] - 1
        if room > IDENTITY:
            room = IDENTITY
        self.ring.push(head, 0, room, self.name)
        self.moved[head] = room
        return self._finish(head, OK)

    def land(self, head: int, result: int) -> int:
        self.in_store -= 1
        self.asked[head] = 0
        self.ready = 1
        if self._landed(head, result):
            self.advance(head)
        return 0

    def stored(self) -> dict[int, tuple[int, int]]:
        kept = {}
        for head in range(self.ring.size):
            if self.asked[head]:
                held = self.buffers[head] >= 0
                kept[head] = (self.buffers[head] if held else 0, self.sizes[head] if held else 0)
        return kept

    def close(self) -> None:
        self.port.flush()  # before any buffer goes
        for head in range(self.ring.size):
            if self.buffers[head] >= 0 and not self.asked[head]:  # parked, or its batch met a fault
                self.staging.give(self.buffers[head], self.sizes[head])
        super().close()
        self.staging.give(self.headers, self.room)
