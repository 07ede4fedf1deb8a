# SPDX-License-Identifier: Apache-2.0
"""The last lines of a guest's console, bounded, and whether the kernel panicked in them."""

import re
from collections import deque

LINES = 20
LONGEST_LINE = 400
PANIC = re.compile(r"Kernel panic - not syncing: (.*)")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


class LastLines:
    """Fed with what the console says; a panic is remembered after its line has gone by."""

    def __init__(self, lines: int = LINES) -> None:
        self._lines: deque[str] = deque(maxlen=lines)
        self._begun = b""
        self.panic: str | None = None

    def feed(self, data: bytes) -> None:
        *whole, self._begun = (self._begun + data).split(b"\n")
        self._begun = self._begun[-LONGEST_LINE:]
        for line in whole:
            self._add(line)

    def text(self) -> str:
        """The last lines, and the one that is not complete."""
        begun = _readable(self._begun)
        return "\n".join([*self._lines, *([begun] if begun else [])])

    def _add(self, line: bytes) -> None:
        readable = _readable(line)
        if readable:
            self._lines.append(readable)
            if self.panic is None and (found := PANIC.search(readable)):
                self.panic = found[1]


def _readable(line: bytes) -> str:
    """Without what moves a terminal's cursor."""
    return _CONTROL.sub("", line.decode(errors="replace"))[:LONGEST_LINE].rstrip()
