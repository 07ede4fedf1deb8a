# SPDX-License-Identifier: Apache-2.0
"""Somebody at a console: `console attach` on a terminal that a check types at, reads and resizes."""

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading
import time

from virtio_crq.errors import VirtioCrqError

ATTACHED = b"attached to "
ATTACH_SECONDS = 30.0
END_SECONDS = 10.0
PIECE = 4096


class AttachedTerminal:
    """`guests.suite.scene.Wire`; `close` ends the process."""

    def __init__(self, words: tuple[str, ...]) -> None:
        self._ours, theirs = pty.openpty()
        self._heard = bytearray()
        try:
            self._process = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
        finally:
            os.close(theirs)
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    def wait(self) -> None:
        """Until it is attached, and this terminal raw; VirtioCrqError has what it said instead."""
        deadline = time.monotonic() + ATTACH_SECONDS
        while ATTACHED not in self._heard:
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = self._heard.decode(errors="replace").strip() or "nothing"
                raise VirtioCrqError(f"console attach did not attach, and said: {said}")
            time.sleep(0.01)

    def _listen(self) -> None:
        with contextlib.suppress(OSError):  # the last who had the other end has gone
            while data := os.read(self._ours, PIECE):
                self._heard += data

    def send(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._ours, data) :]

    def heard(self) -> bytes:
        """Everything so far, beginning with what `console attach` itself says."""
        return bytes(self._heard)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(END_SECONDS)
        os.close(self._ours)
