# SPDX-License-Identifier: Apache-2.0
"""The last lines of a console as a message shows them: bounded, and without what moves a terminal's cursor."""

import re

LONGEST_LINE = 400
_FARTHEST = 64 << 10  # bytes looked at
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


def last_lines(output: bytes, count: int) -> list[str]:
    """At most `count` lines of `output` that are not empty, the last one perhaps not complete."""
    lines = output[-_FARTHEST:].decode(errors="replace").split("\n")
    readable = (_CONTROL.sub("", line).rstrip()[:LONGEST_LINE] for line in lines)
    return [line for line in readable if line][-count:]
