# SPDX-License-Identifier: Apache-2.0
"""Kernel modules made for tests: ELF files with nothing but a .modinfo section."""

import struct
from pathlib import Path

RELEASE = "6.1.0-test"


def module(*, depends: str = "", softdep: str = "", release: str = RELEASE, order: str = "<") -> bytes:
    """A 64-bit ELF file in either byte order."""
    words = [f"depends={depends}", f"vermagic={release} SMP mod_unload"]
    if softdep:
        words.insert(0, f"softdep={softdep}")
    content = "".join(word + "\0" for word in words).encode()
    names = b"\0.modinfo\0.shstrtab\0"
    at = 64
    table = at + len(content) + len(names)
    ident = b"\x7fELF\x02" + (b"\x01" if order == "<" else b"\x02") + b"\x01" + bytes(9)
    head = ident + struct.pack(order + "HHIQQQIHHHHHH", 1, 21, 1, 0, 0, table, 0, 64, 0, 0, 64, 3, 2)

    def section(name: int, begin: int, size: int) -> bytes:
        return struct.pack(order + "IIQQQQIIQQ", name, 1, 0, 0, begin, size, 0, 0, 1, 0)

    rows = section(0, 0, 0) + section(1, at, len(content)) + section(10, at + len(content), len(names))
    return head + content + names + rows


def tree(directory: Path, files: dict[str, bytes], builtin: tuple[str, ...] = ()) -> Path:
    """A modules directory as a package has it."""
    home = directory / RELEASE
    for path, content in files.items():
        place = home / "kernel" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    (home / "modules.builtin").write_text("".join(f"kernel/{name}\n" for name in builtin))
    return home
