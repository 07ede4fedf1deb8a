# SPDX-License-Identifier: Apache-2.0
"""Which line of a TOML text a table or a key stands on. The parser does not say, so the text is scanned once more."""

import re
import tomllib
from typing import Any

Place = tuple[str | int, ...]  # ("partition", "web1") or ("map", 2); a key is one element longer

_HEADER = re.compile(r"\s*(\[\[.*\]\]|\[.*\])\s*(#.*)?$")
_KEY = re.compile(r"\s*([^=#\[\]]+?)\s*=")
_ERROR_LINE = re.compile(r"\(at line (\d+), column \d+\)|\(at end of document\)")


class TomlLines:
    """Line numbers by place. What is not found by itself (an inline table) has the line of what holds it."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Place, int] = {}
        self._counts: dict[Place, int] = {}
        current: Place = ()
        fence = ""  # inside a multi-line string nothing is a key
        for number, line in enumerate(text.splitlines(), start=1):
            if fence:
                fence = "" if fence in line else fence
                continue
            current = self._line(number, line, current)
            fence = next((mark for mark in ('"""', "'''") if line.count(mark) % 2), "")

    def _line(self, number: int, line: str, current: Place) -> Place:
        if _HEADER.match(line) and (header := _parsed(line)) is not None:
            place = self._place(header)
            self._lines.setdefault(place, number)
            return place
        key = _KEY.match(line)
        if key and (pair := _parsed(f"{key[1]} = 0")) is not None:
            self._lines.setdefault((*current, *_path(pair)), number)
        return current

    def _place(self, header: dict[str, Any]) -> Place:
        path = _path(header)
        if path[-1] != "[]":
            return path
        table = path[:-1]
        self._counts[table] = self._counts.get(table, -1) + 1
        return (*table, self._counts[table])

    def of(self, *place: str | int) -> int:
        """The line of a table or key, or of the nearest thing around it."""
        while place and place not in self._lines:
            place = place[:-1]
        return self._lines.get(place, 1)


def error_line(error: tomllib.TOMLDecodeError, text: str) -> tuple[int, str]:
    """Where the parser gave up, and its message without the position."""
    found = _ERROR_LINE.search(str(error))
    message = _ERROR_LINE.sub("", str(error)).strip()
    return (int(found[1]) if found and found[1] else len(text.splitlines()) or 1), message


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _path(nested: Any) -> Place:
    """The single path through a one-key nest; an array of tables ends in "[]"."""
    path: list[str | int] = []
    while isinstance(nested, dict) and nested:
        key, nested = next(iter(nested.items()))
        path.append(key)
    return (*path, "[]") if isinstance(nested, list) else tuple(path)
