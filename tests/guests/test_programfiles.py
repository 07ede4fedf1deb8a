# SPDX-License-Identifier: Apache-2.0
"""Which files a program of a guest takes along."""

import struct
from pathlib import Path

import pytest

from virtio_crq.errors import UsageError
from virtio_crq.guests.programfiles import needed, program_archive

BASE = 0x10000  # a program's addresses are not its offsets in the file


def program(*libraries: str) -> bytes:
    """An ELF file with a dynamic section that names libraries, or a static one."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name in libraries)
    at = 64 + 2 * 56
    places = [names.index(b"\0" + name.encode() + b"\0") + 1 for name in libraries]
    rows = [(1, place) for place in places] + [(5, BASE + at), (0, 0), (1, 0)]  # behind the end: not read
    dynamic = b"".join(struct.pack("<QQ", *row) for row in rows)
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 3, 21, 1, 0, 64, 0, 2, 64, 56, 2, 64, 0, 0)
    whole = at + len(names) + len(dynamic)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, BASE, BASE, whole, whole, 0x10000)
    kind = 2 if libraries else 4
    where = struct.pack("<IIQQQQQQ", kind, 4, at + len(names), 0, 0, len(dynamic), len(dynamic), 8)
    return head + load + where + names + dynamic


def tree(directory: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        place = directory / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return directory


def test_what_a_program_asks_for_is_read_from_its_dynamic_section(tmp_path: Path) -> None:
    files = tree(tmp_path, {"dynamic": program("libaio.so.1", "libc.so.6"), "static": program()})
    assert needed(files / "dynamic") == ["libaio.so.1", "libc.so.6"]
    assert needed(files / "static") == []


def test_libraries_of_libraries_come_along_each_once_and_the_rest_stays(tmp_path: Path) -> None:
    home = tree(
        tmp_path,
        {
            "usr/bin/fio": program("liba.so.1", "libc.so.6"),
            "usr/lib/powerpc64le-linux-gnu/deep/liba.so.1": program("libb.so.2", "libc.so.6"),
            "usr/lib/powerpc64le-linux-gnu/libb.so.2": program("libc.so.6"),
            "usr/lib/powerpc64le-linux-gnu/libc.so.6": program("ld64.so.2"),
            "usr/lib/powerpc64le-linux-gnu/ld64.so.2": program(),
            "usr/lib/powerpc64le-linux-gnu/libunused.so.1": b"not looked at",
        },
    )
    archive = program_archive(home, "fio").content()
    for name in ("usr/bin/fio", "lib64/ld64.so.2", *(f"usr/lib/powerpc64le-linux-gnu/{x}" for x in ("liba.so.1",))):
        assert archive.count(name.encode() + b"\0") == 1, name
    assert b"libunused" not in archive


def test_what_is_missing_is_one_line_that_says_who_needs_it(tmp_path: Path) -> None:
    home = tree(tmp_path, {"usr/bin/fio": program("libgone.so.1")})
    with pytest.raises(UsageError, match=r"fio needs libgone\.so\.1, which .* run \./lab again"):
        program_archive(home, "fio")
    with pytest.raises(UsageError, match="has no program mke2fs"):
        program_archive(home, "mke2fs")
    with pytest.raises(UsageError, match="not a ppc64le program"):
        needed(tree(tmp_path, {"script": b"#!/bin/sh\n"}) / "script")
