# SPDX-License-Identifier: Apache-2.0
"""Somebody who sits at a terminal in which a command runs."""

import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

COMMAND = (sys.executable, "-m", "virtio_crq.cli")


class Person:
    """The terminal is hers: when she goes, it goes."""

    def __init__(
        self, environment: Mapping[str, str], directory: Path, *words: str, size: tuple[int, int] = (24, 80)
    ) -> None:
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(directory)
            self._window(0, *size)
            os.execvpe(COMMAND[0], [*COMMAND, *words], environment)
        self.seen = b""

    def sees(self, pattern: bytes, seconds: float = 120) -> str:
        """All that came up to `pattern`, and it."""
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.seen)):
            ready = select.select([self.terminal], [], [], max(0.0, deadline - time.monotonic()))[0]
            assert ready, f"no {pattern!r} after {self.seen[-1000:]!r}"
            self.seen += os.read(self.terminal, 65536)
        told, self.seen = self.seen[: found.end()], self.seen[found.end() :]
        return told.decode(errors="replace")

    def types(self, keys: bytes) -> None:
        os.write(self.terminal, keys)

    def resizes(self, rows: int, columns: int) -> None:
        """Her window."""
        self._window(self.terminal, rows, columns)

    @staticmethod
    def _window(terminal: int, rows: int, columns: int) -> None:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def status(self) -> int:
        """How the command ended."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.pid = 0
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """Goes, and takes the terminal with her."""
        os.close(self.terminal)
        if self.pid:
            self.status()
