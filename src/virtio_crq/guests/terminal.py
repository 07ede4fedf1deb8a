# SPDX-License-Identifier: Apache-2.0
"""A guest's virtual terminal as its host sees it. Everything is taken at once, by a thread of its own.

A guest that prints waits until its terminal took the bytes, so nobody may read slowly here.
"""

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from virtio_crq.guests.lastlines import last_lines

CHUNK = 1 << 16
KEPT = 1 << 22  # bytes of output that stay in memory; a log has all of them


class Terminal:
    """Owns its end of the connection. The last `KEPT` bytes of output are kept; positions count from its start."""

    def __init__(self, connection: socket.socket, name: str, log: Path | None = None) -> None:
        self.name = name
        self._connection = connection
        self._log: BinaryIO | None = log.open("ab", buffering=0) if log else None
        self.trouble = ""  # why the log is not whole
        self._kept = bytearray()
        self._dropped = 0
        self._ended = False
        self._news = threading.Condition()
        self._listeners: list[Callable[[bytes], None]] = []
        self._thread = threading.Thread(target=self._take, name=f"terminal-{name}", daemon=True)
        self._thread.start()

    def _take(self) -> None:
        while True:
            try:
                data = self._connection.recv(CHUNK)
            except OSError:
                data = b""
            with self._news:
                if data:
                    self._keep(data)
                else:
                    self._ended = True
                listeners = list(self._listeners)
                self._news.notify_all()
            for listener in listeners:
                listener(data)
            if not data:
                return

    def _keep(self, data: bytes) -> None:
        self._write(data)
        self._kept += data
        excess = len(self._kept) - KEPT
        if excess > 0:
            del self._kept[:excess]
            self._dropped += excess

    def _write(self, data: bytes) -> None:
        """To the log. A full disk ends the log, not the guest."""
        try:
            while self._log and data:
                data = data[self._log.write(data) :]
        except OSError as error:
            self.trouble = error.strerror or "cannot be written"
            self._close_log()

    def send(self, data: bytes) -> None:
        """Type. A guest that has ended reads nothing any more."""
        with contextlib.suppress(OSError):
            self._connection.sendall(data)

    @property
    def ended(self) -> bool:
        """No more output will come."""
        return self._ended

    @property
    def position(self) -> int:
        """Bytes that came so far."""
        with self._news:
            return self._dropped + len(self._kept)

    def output(self, after: int = 0) -> bytes:
        """What came since position `after`, as far as it is kept."""
        with self._news:
            return bytes(self._kept[max(0, after - self._dropped) :])

    def since(self, position: int) -> tuple[bytes, int]:
        """What came since, as far as it is kept, and the position behind it: who reads slowly misses, not repeats."""
        with self._news:
            return bytes(self._kept[max(0, position - self._dropped) :]), self._dropped + len(self._kept)

    def wait_for(self, pattern: bytes, seconds: float, after: int = 0) -> re.Match[bytes] | None:
        """The first match of a regular expression in what came since `after`; None when time or output is over."""
        sought = re.compile(pattern)
        deadline = time.monotonic() + seconds
        with self._news:
            while True:
                found = sought.search(self._kept, max(0, after - self._dropped))
                left = deadline - time.monotonic()
                if found or self._ended or left <= 0:
                    return found and sought.search(bytes(self._kept), found.start())
                self._news.wait(left)

    def listen(self, listener: Callable[[bytes], None]) -> None:
        """Call `listener` with output as it comes, empty at the end; in the terminal's own thread, so quickly."""
        with self._news:
            self._listeners.append(listener)

    def last_lines(self, count: int = 10) -> list[str]:
        """For messages about a guest that failed."""
        return last_lines(self.output(), count)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._connection.close()
        self._close_log()

    def _close_log(self) -> None:
        if self._log:
            with contextlib.suppress(OSError):
                self._log.close()
            self._log = None
