# SPDX-License-Identifier: Apache-2.0
"""Two partitions on one cable: a socket pair carries packets, and a page table says what the server may copy."""

import socket
import threading
from dataclasses import dataclass, field

from virtio_crq.platform.hosted import host
from virtio_crq.platform.port import Port

PAGE = 4096
CLIENT, SERVER = 0, 1
READ, WRITE = 1, 2  # what a mapping lets the other side do
CLOSED, DROPPED, DENIED = 2, -12, -11  # codes that a caller of the seam knows
UP, DOWN, MESSAGE, ANNOUNCEMENT = b"U", b"D", b"M", b"A"  # the first byte of a packet


@dataclass
class End:
    """One partition's side: its memory, its page table, and the sockets whose other ends the partner writes to."""

    memory: bytearray
    inbox: socket.socket
    outlet: socket.socket  # writes into the partner's inbox
    present: bool = False
    pages: dict[int, tuple[int, int]] = field(default_factory=dict)  # bus page: (offset, access)


class Cable:
    """Made once for both; an end that leaves may come back, and each learns of the other's coming and going."""

    def __init__(self, client_memory: bytearray, server_memory: bytearray) -> None:
        to_client, from_server = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        to_server, from_client = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for each in (to_client, from_server, to_server, from_client):
            each.setblocking(False)
        self.ends = (End(client_memory, to_client, from_client), End(server_memory, to_server, from_server))
        self.lock = threading.Lock()
        self.meeting = 0  # how often the two met; what is said for an earlier meeting never arrives

    def open(self, side: int) -> Port:
        return Port(host(CablePort(self, side), self.ends[side].memory))

    def join(self, side: int) -> None:
        """Be present; when the other is there already, both hear UP. What came for an earlier life is forgotten."""
        with self.lock:
            end, partner = self.ends[side], self.ends[1 - side]
            while self.take(side):
                pass
            end.present = True
            if partner.present:
                self.meeting += 1
                for each in (end, partner):
                    each.outlet.send(UP + self.meeting.to_bytes(4))

    def leave(self, side: int) -> None:
        with self.lock:
            end, partner = self.ends[side], self.ends[1 - side]
            if end.present and partner.present:
                end.outlet.send(DOWN)
            end.present = False

    def send(self, side: int, packet: bytes, meeting: int) -> int:
        with self.lock:
            if meeting != self.meeting or not (self.ends[0].present and self.ends[1].present):
                return CLOSED
            try:
                self.ends[side].outlet.send(packet)
            except BlockingIOError:
                return DROPPED
            return 0

    def take(self, side: int) -> bytes:  # empty when nothing waits
        try:
            return self.ends[side].inbox.recv(65536)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        for end in self.ends:
            end.inbox.close()
            end.outlet.close()


class CablePort:
    """What stands under a hosted port (platform.hosted.Target). Only the server copies, as on the real bus."""

    def __init__(self, cable: Cable, side: int) -> None:
        self.cable, self.side = cable, side
        self.own, self.partner = cable.ends[side], cable.ends[1 - side]

    def call(self, operation: int, registers: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        return -2, ()  # no calls of a platform here

    def copy(self, vector: list[tuple[int, int, int, int]]) -> tuple[int, int]:
        with self.cable.lock:
            for done, (remote, local, length, outward) in enumerate(vector):
                if self.side == CLIENT or not self.partner.present or not self._copy(remote, local, length, outward):
                    return DENIED, done
        return 0, len(vector)

    def _copy(self, remote: int, local: int, length: int, outward: int) -> bool:
        theirs = reach(self.partner, remote, length, WRITE if outward else READ)
        ours = reach(self.own, local, length, READ if outward else WRITE)
        if theirs is None or ours is None:
            return False
        source, target = (ours, theirs) if outward else (theirs, ours)
        data = b"".join(source)
        for piece in target:
            piece[:], data = data[: len(piece)], data[len(piece) :]
        return True

    def send(self, entries: list[bytes]) -> tuple[int, int]:
        return -2, 0  # packets are not entries; the channel sends them

    def map(self, bus: int, offset: int, length: int, access: int) -> int:
        with self.cable.lock:
            self.own.pages |= {(bus + at) // PAGE: (offset + at, access) for at in range(0, length, PAGE)}
        return 0

    def unmap(self, bus: int, length: int) -> int:
        return self.map(bus, 0, length, 0)

    def signal(self, enabled: int) -> int:
        return 0  # the socket is readable as long as something waits

    def fileno(self) -> int:
        return self.own.inbox.fileno()


def reach(end: End, bus: int, length: int, access: int) -> list[memoryview] | None:
    """The pieces of an end's memory at a bus address; None when a page of it does not allow `access`."""
    pieces = []
    while length:
        offset, allowed = end.pages.get(bus // PAGE, (0, 0))
        if not allowed & access:
            return None
        size = min(length, PAGE - bus % PAGE)
        pieces.append(memoryview(end.memory)[offset + bus % PAGE :][:size])
        bus, length = bus + size, length - size
    return pieces
