# SPDX-License-Identifier: Apache-2.0
"""An initramfs archive: cpio's "newc" format, as Linux' driver-api/early-userspace/buffer-format describes it.

Entries keep the order in which they were added; the same content makes the same bytes.
"""

import stat
import zlib

_TRAILER = "TRAILER!!!"


class Archive:
    """Directories above an entry are made with it."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._paths: set[str] = set()

    def directory(self, path: str, mode: int = 0o755) -> None:
        name = self._name(path)
        if name and name not in self._paths:
            self._entry(name, stat.S_IFDIR | mode, b"")

    def file(self, path: str, content: bytes, mode: int = 0o644) -> None:
        self._entry(self._name(path), stat.S_IFREG | mode, content)

    def link(self, path: str, target: str) -> None:
        """A symbolic link."""
        self._entry(self._name(path), stat.S_IFLNK | 0o777, target.encode())

    def character_device(self, path: str, major: int, minor: int, mode: int = 0o600) -> None:
        self._entry(self._name(path), stat.S_IFCHR | mode, b"", (major, minor))

    def content(self) -> bytes:
        """The whole archive, not compressed."""
        return b"".join([*self._parts, _member(0, _TRAILER, 0, b"", (0, 0))])

    def compressed(self) -> bytes:
        """The archive as a gzip stream without a time in it; every kernel of Debian unpacks that."""
        packer = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        return packer.compress(self.content()) + packer.flush()

    def _name(self, path: str) -> str:
        name = path.strip("/")
        above = name.rpartition("/")[0]
        if above:
            self.directory(above)
        return name

    def _entry(self, name: str, mode: int, content: bytes, device: tuple[int, int] = (0, 0)) -> None:
        if name in self._paths:
            raise ValueError(f"{name} is in the archive already")
        self._paths.add(name)
        self._parts.append(_member(len(self._paths), name, mode, content, device))


def _member(number: int, name: str, mode: int, content: bytes, device: tuple[int, int]) -> bytes:
    links = 2 if stat.S_ISDIR(mode) else 1
    spelled = name.encode() + b"\0"
    fields = (number, mode, 0, 0, links, 0, len(content), 0, 0, *device, len(spelled), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + spelled
    return _padded(head) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
