# SPDX-License-Identifier: Apache-2.0
"""The tables of a machine file: which keys each has, of which types, and how a wrong one is refused."""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from virtio_crq.axes import AXES
from virtio_crq.errors import UsageError
from virtio_crq.hypervisor.statedirectory import NAME
from virtio_crq.hypervisor.tomllines import TomlLines

MIB = 1 << 20
GIB = 1 << 30

_SIZE = re.compile(r"(\d+)\s*(K|M|G)?i?B?")
_UNITS = {"": 1, "K": 1 << 10, "M": MIB, "G": GIB}
_TYPES = {str: "a string", int: "a whole number", bool: "true or false", dict: "a table", list: "an array"}
KEYS: dict[str, dict[str, type]] = {
    "machine": {"name": str, "profile": str, "weak_copies": int, "prices": dict},
    "prices": {"call_ns": int, "kib_ns": int},
    "partition": {
        "memory": str,
        "number": int,
        "workers": int,
        "pin": int,
        "polling": int,
        "gathering": int,
        **{axis.name: str for axis in AXES},
        "guest": bool,
        "vcpus": int,
        "kernel": str,
        "initrd": str,
        "command_line": str,
    },
    "adapter": {
        "client": str,
        "slot": int,
        "server": str,
        "server_slot": int,
        "window": str,
        "node": str,
        "boot": bool,
    },
    "storage": {"server": str, "slot": int, "window": str},
    "map": {
        "client": str,
        "target": str,
        "backing": str,
        "readonly": bool,
        "device": str,
        "server": str,
        "ports": list,
        "queues": int,
    },
}
TOP: dict[str, type] = {"machine": dict, "partition": dict, "adapter": list, "storage": list, "map": list}
REQUIRED = {
    "machine": ("name",),
    "partition": ("memory",),
    "adapter": ("client", "slot", "server"),
    "storage": ("server", "slot"),
    "map": ("client", "target", "backing"),
}


class MachineTables:
    """The parsed content of a file, and where what it says stands."""

    def __init__(self, content: dict[str, Any], lines: TomlLines, path: Path) -> None:
        self.content = content
        self.lines = lines
        self.path = path

    def refuse(self, message: str, *place: str | int) -> UsageError:
        return UsageError(f"{self.path}:{self.lines.of(*place)}: {message}")

    def table(self, kind: str, *place: str | int) -> dict[str, Any]:
        """The table at `place`, which has all that one of its kind needs, and nothing else."""
        table: Any = self.content
        for step in place:
            table = table[step]
        title = f"[[{kind}]]" if isinstance(place[-1], int) else f"[{'.'.join(map(str, place))}]"
        if not isinstance(table, dict):
            raise self.refuse(f"{'.'.join(map(str, place))} must be a table", *place)
        self.keys(table, KEYS[kind], place, title)
        for key in REQUIRED[kind]:
            if key not in table:
                raise self.refuse(f"{title} does not say {key}; it needs {', '.join(REQUIRED[kind])}", *place)
        checked: dict[str, Any] = table
        return checked

    def keys(
        self, table: dict[str, Any], allowed: Mapping[str, type], place: tuple[str | int, ...], title: str
    ) -> None:
        for key, value in table.items():
            if key not in allowed:
                near = difflib.get_close_matches(key, allowed, n=1)
                hint = f"did you mean {near[0]}?" if near else f"allowed are {', '.join(allowed)}"
                raise self.refuse(f"unknown key {key!r} in {title}; {hint}", *place, key)
            kind = allowed[key]
            if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
                raise self.refuse(f"{key} must be {_TYPES[kind]}, not {value!r}", *place, key)

    def known(self, name: str, names: set[str], *place: str | int) -> None:
        if name not in names:
            raise self.refuse(f"no partition {name!r} here; there are {', '.join(sorted(names))}", *place)

    def name(self, name: str, *place: str | int) -> str:
        if not NAME.fullmatch(name):
            raise self.refuse(f"name {name!r}: allowed are letters, digits, '_', '.', '-', at most 32", *place)
        return name

    def size(self, text: str, smallest: int, largest: int, *place: str | int) -> int:
        match = _SIZE.fullmatch(text)
        if match is None:
            raise self.refuse(f'{place[-1]} {text!r} is not a size such as "256MiB"', *place)
        size = int(match[1]) * _UNITS[match[2] or ""]
        if size % 4096:
            raise self.refuse(f"{place[-1]} {text!r} is not a multiple of 4096 bytes", *place)
        if not smallest <= size <= largest:
            wrong = "too small" if size < smallest else "too large"
            bounds = f"{smallest // MIB} MiB to {largest // GIB} GiB"
            raise self.refuse(f"{place[-1]} {text!r} is {wrong}; allowed are {bounds}", *place)
        return size
