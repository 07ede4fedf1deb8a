# SPDX-License-Identifier: Apache-2.0
"""The files that one program of a guest needs: itself, its loader, and all the libraries that those name."""

from collections.abc import Iterator
from pathlib import Path

from virtio_crq.errors import UsageError
from virtio_crq.guests.archive import Archive

LIBRARIES = "usr/lib/powerpc64le-linux-gnu"  # where the loader looks without being told
_FOLDERS = ("usr/bin", "usr/sbin", "bin", "sbin")
_LOADER = "lib64/ld64.so.2"  # the ABI's name for it: every program of ELFv2 asks for that
_NEEDED, _END = 1, 0  # DT_NEEDED, DT_NULL
_DYNAMIC, _LOAD, _STRINGS = 2, 1, 5  # PT_DYNAMIC, PT_LOAD, DT_STRTAB


def program_archive(tree: Path, name: str) -> Archive:
    """Program `name` of `tree` with what it needs, as an archive that a kernel takes behind an initramfs."""
    archive = Archive()
    program = _program(tree, name)
    archive.file(f"usr/bin/{name}", program.read_bytes(), 0o755)
    for library, path in sorted(_libraries(tree, program).items()):
        place = _LOADER if library == Path(_LOADER).name else f"{LIBRARIES}/{library}"
        archive.file(place, path.read_bytes(), 0o755)
    return archive


def _program(tree: Path, name: str) -> Path:
    for folder in _FOLDERS:
        if (tree / folder / name).is_file():
            return tree / folder / name
    raise UsageError(f"{tree} has no program {name}; run ./lab again")


def _libraries(tree: Path, program: Path) -> dict[str, Path]:
    """By the names under which they are asked for. The loader is among them: libc asks for it."""
    found: dict[str, Path] = {}
    known = {path.name: path for path in sorted(tree.rglob("*.so*"), reverse=True)}
    waiting = [program]
    while waiting:
        path = waiting.pop()
        for name in needed(path):
            if name in found:
                continue
            if name not in known or not known[name].is_file():
                raise UsageError(f"{path} needs {name}, which {tree} does not have; run ./lab again")
            found[name] = known[name]
            waiting.append(known[name])
    return found


def needed(path: Path) -> list[str]:
    """The DT_NEEDED names of a little-endian 64-bit ELF file; none for a static one."""
    elf = path.read_bytes()
    if elf[:6] != b"\x7fELF\x02\x01":
        raise UsageError(f"{path}: not a ppc64le program or library")
    entries = list(_dynamic(elf))
    strings = next((_offset(elf, value) for tag, value in entries if tag == _STRINGS), 0)
    return [
        elf[strings + value : elf.index(b"\0", strings + value)].decode() for tag, value in entries if tag == _NEEDED
    ]


def _segments(elf: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Kind, offset in the file, address and size in the file of each program header."""
    table, size, count = _number(elf, 0x20, 8), _number(elf, 0x36, 2), _number(elf, 0x38, 2)
    for at in range(table, table + size * count, size):
        yield _number(elf, at, 4), _number(elf, at + 8, 8), _number(elf, at + 16, 8), _number(elf, at + 32, 8)


def _dynamic(elf: bytes) -> Iterator[tuple[int, int]]:
    for kind, offset, _, size in _segments(elf):
        if kind == _DYNAMIC:
            for at in range(offset, offset + size, 16):
                tag, value = _number(elf, at, 8), _number(elf, at + 8, 8)
                if tag == _END:
                    return
                yield tag, value


def _offset(elf: bytes, address: int) -> int:
    """Where in the file an address of the loaded program lies."""
    for kind, offset, begin, size in _segments(elf):
        if kind == _LOAD and begin <= address < begin + size:
            return offset + address - begin
    raise UsageError("a dynamic section points outside of its program")


def _number(elf: bytes, at: int, width: int) -> int:
    return int.from_bytes(elf[at : at + width], "little")
