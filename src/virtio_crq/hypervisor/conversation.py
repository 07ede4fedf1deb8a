# SPDX-License-Identifier: Apache-2.0
"""Talking to a hypervisor: JSON lines over its Unix socket, descriptors beside them (SCM_RIGHTS).

A request is `{"do": NAME, ...}`; the answer is `{"ok": VALUE}` or `{"error": TEXT}`. An answer that hands descriptors
over says their number in `descriptors`; the kernel takes at most 253 at a time, so further ones ride on blank lines.
"""

import json
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from virtio_crq.errors import UsageError
from virtio_crq.farend import await_word
from virtio_crq.hypervisor.statedirectory import ATTACH_SOCKET

PROTOCOL = 1
LONGEST_REQUEST = 1 << 16
DESCRIPTORS_AT_ONCE = 200
ANSWER_SECONDS = 30.0  # cleaning up after a large partition takes a while


def line(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def send_with_descriptors(connection: socket.socket, message: bytes, descriptors: Sequence[int]) -> None:
    """An answer and its descriptors; the socket's buffer holds both, so this does not wait."""
    rest = list(descriptors)
    first, rest = rest[:DESCRIPTORS_AT_ONCE], rest[DESCRIPTORS_AT_ONCE:]
    sent = socket.send_fds(connection, [message], first)
    if sent != len(message):
        raise BlockingIOError(f"{sent} of {len(message)} bytes of an answer were taken")
    while rest:
        socket.send_fds(connection, [b"\n"], rest[:DESCRIPTORS_AT_ONCE])
        rest = rest[DESCRIPTORS_AT_ONCE:]


class Conversation:
    """The asking end. Blocking, one request at a time; `with` closes it."""

    def __init__(self, state_directory: Path) -> None:
        self._who = f"the hypervisor of machine {state_directory.name}"
        self._remedy = f"virtio-crq down -m {state_directory.name}"
        self._patience = 0.0
        self._received = b""
        self.descriptors: list[int] = []  # handed over with the last answer; the caller's to close
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(ANSWER_SECONDS)
        try:
            self._socket.connect(str(state_directory / ATTACH_SOCKET))
        except OSError:
            self._socket.close()
            raise UsageError(f"{self._who} does not run") from None

    def fileno(self) -> int:
        """Readable between answers only when the hypervisor has ended."""
        return self._socket.fileno()

    def ask(self, do: str, *, patience: float = ANSWER_SECONDS, **arguments: Any) -> Any:
        self._patience = patience
        try:
            self._socket.sendall(line({"do": do, **arguments}))
            answer = json.loads(self._line())
            wanted = answer.get("descriptors", 0)
            while len(self.descriptors) < wanted:
                self._receive()
        except (TimeoutError, ConnectionError) as error:
            raise UsageError(f"{self._who} does not answer: {error}") from None
        if "error" in answer:
            raise UsageError(answer["error"])
        return answer["ok"]

    def _line(self) -> bytes:
        while b"\n" not in self._received:
            self._receive()
        answer, _, self._received = self._received.partition(b"\n")
        return answer

    def _receive(self) -> None:
        await_word(self._socket, self._who, self._remedy, self._patience)
        data, descriptors, _, _ = socket.recv_fds(self._socket, 1 << 16, DESCRIPTORS_AT_ONCE)
        self.descriptors += descriptors
        if not data:
            raise ConnectionError("it ended")
        if self._received or data.strip():
            self._received += data

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def ask(state_directory: Path, do: str, **arguments: Any) -> Any:
    """One request to a running hypervisor."""
    with Conversation(state_directory) as conversation:
        return conversation.ask(do, **arguments)
