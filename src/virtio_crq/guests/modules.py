# SPDX-License-Identifier: Apache-2.0
"""A kernel package's modules, read as files: names, dependencies, hashes. Nothing of them is executed."""

import hashlib
import lzma
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from virtio_crq.errors import UsageError

_SUFFIX = re.compile(r"\.ko(\.(xz|gz))?$")
# Soft dependencies name a service of the crypto layer, by an alias; scanning thousands of modules for it would take
# a minute, and these are all that the modules of an initramfs ask for. Newer kernels have both built in.
_PROVIDERS = {"crypto-crc32c": "crc32c_generic", "crc32c": "crc32c_generic"}


@dataclass(frozen=True)
class Module:
    """`content` is what the kernel loads: the package's bytes, decompressed and not touched otherwise."""

    path: Path
    content: bytes

    @property
    def name(self) -> str:
        """As the kernel calls it."""
        return module_name(self.path)

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def information(self) -> dict[str, list[str]]:
        """The keys and values of its .modinfo section."""
        found: dict[str, list[str]] = {}
        for word in _section(self.content, b".modinfo", self.path).split(b"\0"):
            key, equals, value = word.decode(errors="replace").partition("=")
            if equals:
                found.setdefault(key, []).append(value)
        return found

    @property
    def depends(self) -> list[str]:
        """Modules that must be there before it; names as in .modinfo."""
        return [name for value in self.information.get("depends", []) for name in value.split(",") if name]

    @property
    def wishes(self) -> list[str]:
        """What its `softdep=pre:` asks for, by the provider's name."""
        words = [word for value in self.information.get("softdep", []) for word in _before(value)]
        return [_PROVIDERS.get(word, word) for word in words]

    @property
    def release(self) -> str:
        """The kernel release that it was built for: the first word of its vermagic."""
        return (self.information.get("vermagic", [""])[0].split() or [""])[0]


class ModuleTree:
    """The directory `…/lib/modules/RELEASE` of an unpacked kernel package."""

    def __init__(self, directory: Path) -> None:
        if not directory.is_dir():
            raise UsageError(f"{directory}: no such directory of kernel modules")
        self.directory = directory
        self.release = directory.name
        self._files = {module_name(path): path for path in directory.rglob("*.ko*") if _SUFFIX.search(path.name)}
        self._loaded: dict[str, Module] = {}
        self._builtin = {module_name(Path(line)) for line in _lines(directory / "modules.builtin")}

    def builtin(self, name: str) -> bool:
        """Whether the kernel image itself holds it."""
        return _spelled(name) in self._builtin

    def find(self, name: str) -> Module | None:
        """None when the package has no module of that name."""
        name = _spelled(name)
        if name not in self._loaded:
            path = self._files.get(name)
            if path is None:
                return None
            self._loaded[name] = read_module(path)
        return self._loaded[name]

    def in_order(self, names: Iterable[str]) -> list[Module]:
        """These modules and all they need, each after what it needs; those built in are left out."""
        ordered: dict[str, Module] = {}
        for name in names:
            self._add(name, ordered, ())
        return list(ordered.values())

    def _add(self, name: str, ordered: dict[str, Module], above: tuple[str, ...]) -> None:
        name = _spelled(name)
        if name in ordered or self.builtin(name):
            return
        if name in above:
            raise UsageError(f"{self.directory}: modules need each other in a circle: {' → '.join((*above, name))}")
        module = self.find(name)
        if module is None:
            needed = f", which {above[-1]} needs" if above else ""
            raise UsageError(
                f"{self.directory}: kernel {self.release} has no module {name}{needed}, nor is it built in; "
                "its package is not whole: run ./lab again, or name another kernel"
            )
        for wish in module.wishes:
            if self.find(wish) is not None and _spelled(wish) not in above:
                self._add(wish, ordered, (*above, name))
        for need in module.depends:
            self._add(need, ordered, (*above, name))
        ordered[name] = module


def read_module(path: Path) -> Module:
    """One module file, decompressed by its suffix."""
    try:
        raw = path.read_bytes()
        if path.suffix == ".xz":
            raw = lzma.decompress(raw)
        elif path.suffix == ".gz":
            raw = zlib.decompress(raw, 16 + zlib.MAX_WBITS)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except (lzma.LZMAError, zlib.error) as error:
        raise UsageError(f"{path}: cannot be decompressed: {error}") from None
    return Module(path, raw)


def module_name(path: Path) -> str:
    """What the kernel calls the module in this file: dashes are underscores."""
    return _spelled(_SUFFIX.sub("", path.name))


def _spelled(name: str) -> str:
    return name.replace("-", "_")


def _before(soft: str) -> list[str]:
    """The names after `pre:` of a softdep, up to `post:`."""
    _, _, rest = soft.partition("pre:")
    return rest.partition("post:")[0].split()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _section(elf: bytes, wanted: bytes, path: Path) -> bytes:
    """A section of a 64-bit ELF file of either byte order, by name."""
    if elf[:5] != b"\x7fELF\x02" or elf[5:6] not in (b"\1", b"\2"):
        raise UsageError(f"{path}: not a 64-bit ELF file")
    big = elf[5] == 2

    def number(at: int, width: int) -> int:
        if at < 0 or at + width > len(elf):
            raise UsageError(f"{path}: cut off: it has {len(elf)} bytes and its sections say more")
        return int.from_bytes(elf[at : at + width], "big" if big else "little")

    table, size, count, names = number(0x28, 8), number(0x3A, 2), number(0x3C, 2), number(0x3E, 2)

    def place(index: int) -> tuple[int, int]:
        return number(table + index * size + 0x18, 8), number(table + index * size + 0x20, 8)

    strings, length = place(names)
    for index in range(count):
        begin = strings + number(table + index * size, 4)
        if elf[begin : strings + length].partition(b"\0")[0] == wanted:
            at, extent = place(index)
            return elf[at : at + extent]
    raise UsageError(f"{path}: no section {wanted.decode()}; it is no kernel module")
