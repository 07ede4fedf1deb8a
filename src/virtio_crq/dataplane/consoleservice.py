# SPDX-License-Identifier: Apache-2.0
"""The queues of a console (virtio 1.4 §5.3): bytes to and from a port, and the two that carry control messages.

Buffers that wait for input, and output that waits for a slow reader, wait here in order; neither keeps the worker, and
neither keeps the driver's right to announce more. Input is forgotten only once the driver can see it. What a lost
server was given to put out is used without being put out: it may have been seen already (CRQ-D-104).
"""

from array import array
from collections.abc import Callable

import cython

from virtio_crq.dataplane.faults import refuse
from virtio_crq.dataplane.service import Service
from virtio_crq.dataplane.streamstore import StreamStore
from virtio_crq.dataplane.terminal import Terminal
from virtio_crq.virtio import console

PIECE = 4096  # bytes moved between ring and terminal at a time
GATHER = 8  # heads taken in one turn
HEADER = console.CONTROL_HEADER


class ConsoleService(Service):
    """Takes heads from the ring into `pool` in order; what a device type does with them is in `work`."""

    def __init__(self, store: StreamStore, looked: Callable[[], None] = lambda: None) -> None:
        super().__init__(store)
        self.looked = looked
        self.pool = array("H", [0])
        self.pool_head = 0
        self.pool_count = 0
        self.room = -1

    def prepare(self, size: int) -> None:
        self.pool = array("H", bytes(2 * size))
        self.pool_head = 0
        self.pool_count = 0
        self.room = self.staging.take(PIECE)
        self.begin()

    def begin(self) -> None:
        """A new ring: nothing of the last one counts."""

    def step(self) -> int:
        with cython.gil:
            return self.turn()

    def turn(self) -> int:
        moved = self._gather()
        if self.room < 0:
            self.room = self.staging.take(PIECE)
        if self.room >= 0 and self.work():
            moved += 1
        moved += self.ring.publish()
        self.published()
        # What could go on at once, had it not had its share of this turn, is what `parked` means to the link.
        self.parked_count = 1 if self.room < 0 or self.weight >= self.share else 0
        return moved

    def _gather(self) -> int:
        if self.ring.waiting == 0:
            self.ring.fetch()
        count = 0
        while count < GATHER:
            head = self.ring.take()
            if head < 0:
                break
            self.admit(head)
            self.pool[(self.pool_head + self.pool_count) & (self.ring.size - 1)] = head
            self.pool_count += 1
            count += 1
        if count:
            self.batches += 1
        return count

    def first(self) -> int:
        """The head that comes next."""
        return self.pool[self.pool_head]

    def finish(self, head: int, written: int) -> int:
        """The first of the pool is done."""
        self.pool_head = (self.pool_head + 1) & (self.ring.size - 1)
        self.pool_count -= 1
        self.requests += 1
        self.note(head, written + self.ring.chains.readable[head])
        return self.ring.complete(head, written)

    def admit(self, head: int) -> int:
        """Refuse a chain that this queue cannot have."""
        return 0

    def work(self) -> int:
        """Do what can be done now with what is in the pool; 1 if anything was."""
        return 0

    def published(self) -> None:
        """The driver can see everything that was completed."""

    def land(self, head: int, result: int) -> int:
        """The terminal knocked."""
        self.ready = 1
        self.looked()
        return 0

    def close(self) -> None:
        if self.room >= 0:
            self.port.flush()
            self.staging.give(self.room, PIECE)
            self.room = -1
        self.parked_count = 0
        super().close()


class ReceiveService(ConsoleService):
    """Fills buffers with what comes from the terminal while `gate` is open, that is, while the driver listens."""

    def __init__(self, store: StreamStore, terminal: Terminal, looked: Callable[[], None] = lambda: None) -> None:
        super().__init__(store, looked)
        self.terminal = terminal
        self.gate = 0
        self.held = b""
        self.given = 0

    def begin(self) -> None:
        self.given = 0

    def admit(self, head: int) -> int:
        # §5.3.6: buffers of a receive queue are for the device to write.
        if self.ring.chains.readable[head]:
            refuse("console-readable", head, self.ring.chains.readable[head])
        return 0

    def work(self) -> int:
        moved = 0
        while self.pool_count and self.gate and self.weight < self.share:
            head = self.first()
            length = self.ring.chains.writable[head]
            if length > PIECE:
                length = PIECE
            if self.given == len(self.held):
                self.held += self.terminal.read(length)
            piece = self.held[self.given : self.given + length]
            if not piece:
                break
            self._put(head, piece)
            self.given += len(piece)
            self.weight += len(piece)
            moved = 1
        return moved

    def _put(self, head: int, piece: bytes) -> int:
        self.port.write(self.room, piece)
        self.ring.push(head, 0, len(piece), self.room)
        self.ring.flush()  # before the next piece comes to stand in the same place
        self.bytes_in += len(piece)
        return self.finish(head, len(piece))

    def published(self) -> None:
        if self.given:
            self.held = self.held[self.given :]
            self.given = 0


class TransmitService(ConsoleService):
    """Gives what the driver wrote to the terminal, as fast as that takes it."""

    def __init__(self, store: StreamStore, terminal: Terminal, looked: Callable[[], None] = lambda: None) -> None:
        super().__init__(store, looked)
        self.terminal = terminal
        self.withheld = 0
        self.stale = 0
        self.taken = 0
        self.rest = b""

    def begin(self) -> None:
        self.stale = self.ring.replays
        self.taken = 0
        self.rest = b""

    def admit(self, head: int) -> int:
        # §5.3.6: buffers of a transmit queue are for the device to read.
        if self.ring.chains.writable[head]:
            refuse("console-writable", head, self.ring.chains.writable[head])
        return 0

    def work(self) -> int:
        moved = 0
        while self.pool_count and self.weight < self.share:
            head = self.first()
            if self.stale:
                self.stale -= 1
                self.withheld += self.ring.chains.readable[head]
                self.finish(head, 0)
                moved = 1
                continue
            if not self.rest:
                self._fetch_piece(head)
            count = self.terminal.write(self.rest)
            self.rest = self.rest[count:]
            self.weight += count
            self.bytes_out += count
            if count:
                moved = 1
            if self.rest:
                break  # the terminal knocks when it has room
            if self.taken == self.ring.chains.readable[head]:
                self.taken = 0
                self.finish(head, 0)
        return moved

    def _fetch_piece(self, head: int) -> int:
        length = self.ring.chains.readable[head] - self.taken
        if length > PIECE:
            length = PIECE
        self.ring.pull(head, self.taken, length, self.room)
        self.ring.flush()
        self.rest = self.port.read(self.room, length)
        self.taken += length
        return 0


class ControlReceiveService(ReceiveService):
    """Control messages to the driver: each has a buffer to itself, and fits it."""

    def work(self) -> int:
        moved = 0
        while self.pool_count and self.gate:
            if self.given == len(self.held):
                self.held += self.terminal.read(PIECE)
            piece = self.held[self.given :]
            if not piece:
                break
            head = self.first()
            if self.ring.chains.writable[head] < len(piece):
                refuse("control-room", self.ring.chains.writable[head], len(piece))
            self._put(head, piece)
            self.given += len(piece)
            moved = 1
        return moved


class ControlTransmitService(ConsoleService):
    """Control messages from the driver, checked, then told to `heard(port, event, value)`."""

    def __init__(self, store: StreamStore, ports: int, heard: Callable[[int, int, int], None]) -> None:
        super().__init__(store)
        self.ports = ports
        self.heard = heard

    def admit(self, head: int) -> int:
        if self.ring.chains.writable[head]:
            refuse("console-writable", head, self.ring.chains.writable[head])
        if self.ring.chains.readable[head] < HEADER:
            refuse("control-short", head, self.ring.chains.readable[head])
        return 0

    def work(self) -> int:
        moved = 0
        while self.pool_count:
            head = self.first()
            self.ring.pull(head, 0, HEADER, self.room)
            self.ring.flush()
            port, event, value = console.CONTROL.unpack(self.port.read(self.room, HEADER))
            if event not in console.FROM_DRIVER:
                refuse("control-event", event, port)
            if event != console.Event.DEVICE_READY and port >= self.ports:
                refuse("control-port", port, self.ports)
            self.heard(port, event, value)
            self.bytes_out += HEADER
            self.finish(head, 0)
            moved = 1
        return moved
