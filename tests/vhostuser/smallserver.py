# SPDX-License-Identifier: Apache-2.0
"""A vhost-user-blk server of the tests' own: one split ring, a bytearray for a disk, and a way to misbehave.

Written from the protocol's description and not from the front-end's codec, so that the two check each other.
"""

import mmap
import os
import select
import socket
import struct
import threading
from pathlib import Path

VERSION_1, EVENT_IDX, PROTOCOL_FEATURES = 1 << 32, 1 << 29, 1 << 30
SEG_MAX, FLUSH, ACCESS_PLATFORM = 1 << 2, 1 << 9, 1 << 33
MQ, REPLY_ACK, CONFIG, STATUS = 1 << 0, 1 << 3, 1 << 9, 1 << 16
NAMES = {
    1: "GET_FEATURES", 2: "SET_FEATURES", 3: "SET_OWNER", 5: "SET_MEM_TABLE", 8: "SET_VRING_NUM", 9: "SET_VRING_ADDR",
    10: "SET_VRING_BASE", 11: "GET_VRING_BASE", 12: "SET_VRING_KICK", 13: "SET_VRING_CALL",
    15: "GET_PROTOCOL_FEATURES", 16: "SET_PROTOCOL_FEATURES", 17: "GET_QUEUE_NUM", 18: "SET_VRING_ENABLE",
    24: "GET_CONFIG",
}  # fmt: skip


class SmallServer:
    """Serves one front-end in a thread. `asked` names the requests; what was set is beside it.

    `answers` replaces the whole answer to a request by name: bytes to send, or None to say nothing.
    `dies_at` names a request at which the connection ends.
    """

    def __init__(self, path: Path, disk: bytearray, *, event_idx: bool = True) -> None:
        self.disk = disk
        self.features = VERSION_1 | PROTOCOL_FEATURES | SEG_MAX | FLUSH | ACCESS_PLATFORM
        self.features |= EVENT_IDX if event_idx else 0
        self.protocol = MQ | REPLY_ACK | CONFIG | STATUS
        self.answers: dict[str, bytes | None] = {}
        self.dies_at = ""
        self.refuses = ""
        self.asked: list[str] = []
        self.acked = self.acked_protocol = 0
        self.kicks = self.calls = 0
        self.dies_after = -1  # requests served
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._quit = os.eventfd(0)
        self._kick = self._call = -1
        self._enabled = False
        self._served = self._told = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        os.eventfd_write(self._quit, 1)
        self._thread.join()
        self._listener.close()
        for each in (self._quit, self._kick, self._call):
            if each >= 0:
                os.close(each)

    # --- messages ---

    def _run(self) -> None:
        if self._quit in select.select([self._listener, self._quit], [], [])[0]:
            return
        front, _ = self._listener.accept()
        with front:
            while True:
                watched = [front, self._quit] + ([self._kick] if self._enabled else [])
                ready = select.select(watched, [], [])[0]
                if self._quit in ready:
                    return
                if self._kick in ready:
                    os.eventfd_read(self._kick)
                    self.kicks += 1
                    if not self._serve():
                        return
                if front in ready and not self._message(front):
                    return

    def _message(self, front: socket.socket) -> bool:
        try:
            data, descriptors, _, _ = socket.recv_fds(front, 12, 8)
        except ConnectionResetError:  # it left without reading what it was answered
            return False
        if len(data) < 12:
            return False
        kind, flags, size = struct.unpack("<III", data)
        payload = front.recv(size, socket.MSG_WAITALL) if size else b""
        name = NAMES.get(kind, str(kind))
        self.asked.append(name)
        if name == self.dies_at:
            return False
        answer = self._handle(name, payload, descriptors)
        if name in self.answers:
            whole = self.answers[name]
            if whole is not None:
                front.sendall(whole)
            return True
        if answer is None and flags & 8:
            answer = struct.pack("<Q", 1 if name == self.refuses else 0)
        if answer is not None:
            front.sendall(struct.pack("<III", kind, 5, len(answer)) + answer)
        return True

    def _handle(self, name: str, payload: bytes, descriptors: list[int]) -> bytes | None:
        numbers = struct.unpack(f"<{len(payload) // 8}Q", payload[: len(payload) // 8 * 8])
        match name:
            case "GET_FEATURES":
                return struct.pack("<Q", self.features)
            case "SET_FEATURES":
                self.acked = numbers[0]
            case "GET_PROTOCOL_FEATURES":
                return struct.pack("<Q", self.protocol)
            case "SET_PROTOCOL_FEATURES":
                self.acked_protocol = numbers[0]
            case "GET_QUEUE_NUM":
                return struct.pack("<Q", 1)
            case "GET_CONFIG":
                size = struct.unpack_from("<I", payload, 4)[0]
                return payload[:12] + struct.pack("<QII", len(self.disk) // 512, 0, 126).ljust(size, b"\0")[:size]
            case "SET_MEM_TABLE":
                _count, self._bus, length, self._user, offset = struct.unpack("<QQQQQ", payload)
                self._memory = mmap.mmap(descriptors[0], length, offset=offset)
                os.close(descriptors[0])
            case "SET_VRING_NUM":
                self._size = struct.unpack("<II", payload)[1]
            case "SET_VRING_ADDR":
                _index, self._table, self._used, self._avail, _log = numbers
            case "SET_VRING_KICK":
                self._kick = descriptors[0]
            case "SET_VRING_CALL":
                self._call = descriptors[0]
            case "SET_VRING_ENABLE":
                self._enabled = struct.unpack("<II", payload)[1] == 1
            case "GET_VRING_BASE":
                self._enabled = False
                return struct.pack("<II", 0, self._served)
        return None

    # --- the ring ---

    def _ring(self, user: int, form: str, at: int) -> int:
        return int(struct.unpack_from(form, self._memory, user - self._user + at)[0])

    def _serve(self) -> bool:
        before = self._served
        while self._served != self._ring(self._avail, "<H", 2):
            if self.dies_after == 0:
                return False
            self.dies_after -= 1
            head = self._ring(self._avail, "<H", 4 + 2 * (self._served % self._size))
            length = self._request(head)
            at = self._used - self._user
            struct.pack_into("<II", self._memory, at + 4 + 8 * (self._served % self._size), head, length)
            self._served = (self._served + 1) & 0xFFFF
            struct.pack_into("<H", self._memory, at + 4 + 8 * self._size, self._served)  # avail_event
            struct.pack_into("<H", self._memory, at + 2, self._served)
        if self._wanted(before):
            self.calls += 1
            os.eventfd_write(self._call, 1)
        return True

    def _wanted(self, before: int) -> bool:
        if before == self._served:
            return False
        if not self.acked & EVENT_IDX:
            return not self._ring(self._avail, "<H", 0) & 1
        event = self._ring(self._avail, "<H", 4 + 2 * self._size)
        return (self._served - event - 1) & 0xFFFF < (self._served - before) & 0xFFFF

    def _request(self, head: int) -> int:
        """One block request; how many bytes were written for the driver."""
        pieces, more = [], True
        while more:
            at = self._table - self._user + 16 * head
            bus, length, flags, head = struct.unpack_from("<QIHH", self._memory, at)
            pieces.append((bus - self._bus, length))
            more = bool(flags & 1)
        kind, _, sector = struct.unpack_from("<IIQ", self._memory, pieces[0][0])
        place, written = 512 * sector, 1
        for offset, length in pieces[1:-1]:
            if kind == 0:
                self._memory[offset : offset + length] = self.disk[place : place + length]
                written += length
            else:
                self.disk[place : place + length] = self._memory[offset : offset + length]
            place += length
        self._memory[pieces[-1][0]] = 0
        return written
