# SPDX-License-Identifier: Apache-2.0
"""The last lines of a console as a message shows them: bounded, and without what moves a terminal's cursor."""

import re

LONGEST_LINE = 400
_FARTHEST = 64 << 10  # bytes looked at
_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def last_lines(output: bytes, count: int) -> list[str]:
    """At most `count` lines of `output` that are not empty, the last one perhaps not complete."""
    lines = output[-_FARTHEST:].decode(errors="replace").split("\n")
    shown = (readable(line)[:LONGEST_LINE] for line in lines)
    return [line for line in shown if line][-count:]


def readable(text: str) -> str:
    """Text of a guest without what a terminal would obey: control characters of C0 and C1, changes of direction."""
    return "".join(letter for letter in _SEQUENCE.sub("", text) if letter.isprintable() or letter == "\t").rstrip()
