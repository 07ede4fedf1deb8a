# SPDX-License-Identifier: Apache-2.0
"""The socket of a back-end: one request at a time, each answered in a bounded time by what it is to be answered by."""

import errno
import socket
import struct
from collections.abc import Sequence
from pathlib import Path

from virtio_crq.errors import DeviceFault, PartnerLost, UsageError
from virtio_crq.vhostuser.message import (
    HEADER,
    NUMBER,
    PAYLOAD_MAX,
    REPLY,
    VERSION,
    VERSION_MASK,
    Header,
    Request,
    request,
)

PATIENCE = 5.0  # seconds for an answer


class Conversation:
    """`acknowledged`: REPLY_ACK was negotiated, and every request is answered."""

    def __init__(self, path: Path, patience: float = PATIENCE) -> None:
        self.path = path
        self.patience = patience
        self.acknowledged = False
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(patience)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise UsageError(_refused(path, error)) from None

    @property
    def partner(self) -> int:
        """The process that listens."""
        credentials = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return int(struct.unpack("iII", credentials)[0])

    def fileno(self) -> int:
        """Readable when the back-end is gone: it says nothing unasked."""
        return self._socket.fileno()

    def tell(self, kind: Request, payload: bytes = b"", descriptors: Sequence[int] = ()) -> None:
        """A request that has no answer of its own."""
        self._send(kind, request(kind, payload, self.acknowledged), descriptors)
        if self.acknowledged:
            answer = self._number(kind)
            if answer:
                raise self._fault("refusal", f"{kind.name} was refused with {answer}")

    def ask(self, kind: Request, payload: bytes = b"") -> bytes:
        """The payload of the answer."""
        self._send(kind, request(kind, payload), ())
        return self._answer(kind)

    def ask_number(self, kind: Request) -> int:
        self._send(kind, request(kind, b""), ())
        return self._number(kind)

    def close(self) -> None:
        self._socket.close()

    def _send(self, kind: Request, message: bytes, descriptors: Sequence[int]) -> None:
        try:
            sent = socket.send_fds(self._socket, [message], list(descriptors))
            if sent < len(message):
                self._socket.sendall(message[sent:])
        except TimeoutError:
            raise self._fault("silence", f"{kind.name} was not taken within {self.patience:g} s") from None
        except OSError:
            raise self._lost(kind) from None

    def _number(self, kind: Request) -> int:
        payload = self._answer(kind)
        if len(payload) != NUMBER.size:
            raise self._fault("reply", f"{kind.name} was answered by {len(payload)} bytes instead of {NUMBER.size}")
        return int(NUMBER.unpack(payload)[0])

    def _answer(self, kind: Request) -> bytes:
        header = Header.decode(self._take(kind, HEADER.size))
        if header.flags & VERSION_MASK != VERSION or not header.flags & REPLY or header.size > PAYLOAD_MAX:
            what = f"request {header.request:#x}, flags {header.flags:#x}, size {header.size}"
            raise self._fault("reply", f"{kind.name} was answered by what is no vhost-user message ({what})")
        if header.request != kind:
            raise self._fault("reply", f"{kind.name} was answered by request {header.request}")
        return self._take(kind, header.size)

    def _take(self, kind: Request, length: int) -> bytes:
        found = b""
        while len(found) < length:
            try:
                piece = self._socket.recv(length - len(found))
            except TimeoutError:
                raise self._fault("silence", f"no answer to {kind.name} within {self.patience:g} s") from None
            except OSError:
                raise self._lost(kind) from None
            if not piece:
                raise self._lost(kind)
            found += piece
        return found

    def _fault(self, rule: str, detail: str) -> DeviceFault:
        return DeviceFault(f"vhost-user-{rule}", f"back-end at {self.path}: {detail}")

    def _lost(self, kind: Request) -> PartnerLost:
        return PartnerLost(f"the back-end at {self.path} went away at {kind.name}")


def _refused(path: Path, error: OSError) -> str:
    if error.errno == errno.ECONNREFUSED:
        return f"{path}: nobody listens there for vhost-user"
    return f"{path}: {error.strerror or error}"
