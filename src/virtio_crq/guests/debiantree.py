# SPDX-License-Identifier: Apache-2.0
"""Debian packages of another architecture, unpacked into a tree where dpkg will find them unpacked, not configured.

Nothing of them runs here: their maintainer scripts run in the guest, at `dpkg --configure -a`. Owners are kept in a
table, for whoever makes a file system of the tree, so that no privileges are needed.
"""

import hashlib
import os
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from virtio_crq.errors import UsageError
from virtio_crq.guests.ext4image import Owner

MERGED = ("bin", "lib", "lib64", "sbin")  # links into usr/
DATABASE = "var/lib/dpkg"
# Nobody reads these in a test image; the hardware database takes half a minute to compile there.
LEFT_OUT = (
    "usr/share/doc/", "usr/share/locale/", "usr/share/info/", "usr/share/lintian/",
    "usr/lib/udev/hwdb.d/",
)  # fmt: skip


class DebianTree:
    """`root` is made, and must not be there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.owners: dict[str, Owner] = {}
        self._modes: dict[Path, int] = {}  # of directories; set last, as one may not be ours to write into
        for name in MERGED:
            (root / "usr" / name).mkdir(parents=True)
            (root / name).symlink_to(f"usr/{name}")
        (root / DATABASE / "info").mkdir(parents=True)
        (root / DATABASE / "updates").mkdir()
        (root / DATABASE / "info/format").write_text("1\n")
        for name in ("available", "diversions", "statoverride"):
            (root / DATABASE / name).touch()
        self._status: list[str] = []

    def unpack(self, packages: Sequence[Path]) -> None:
        """All of them, and dpkg's record of it."""
        for package in packages:
            names = self._content(package)
            self._record(package, names)
        (self.root / DATABASE / "status").write_text("\n".join(self._status))
        for directory, mode in self._modes.items():
            directory.chmod(mode)

    def _content(self, package: Path) -> list[str]:
        """The names of all that it holds, as dpkg lists them."""
        names = []
        command = ["dpkg-deb", "--fsys-tarfile", str(package)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            try:
                with tarfile.open(fileobj=cast(BinaryIO, process.stdout), mode="r|") as archive:
                    for member in archive:
                        name = str(PurePosixPath("/") / PurePosixPath(member.name))
                        names.append("/." if name == "/" else name)
                        self._member(archive, member, name.lstrip("/"))
            except tarfile.TarError as error:
                said = process.stderr.read().decode(errors="replace").strip().splitlines()
                raise UsageError(f"{package} cannot be unpacked: {said[-1] if said else error}") from None
        return names

    def _member(self, archive: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> None:
        if not name or f"{name}/".startswith(LEFT_OUT):
            return
        if ".." in PurePosixPath(name).parts:
            raise UsageError(f"a package holds {member.name}, which leads out of it")
        path = self.root / name
        if member.isdir():
            if not path.is_dir():
                path.mkdir(parents=True)
            self._modes[path] = member.mode
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_symlink() or path.exists():
                path.unlink()
            self._leaf(archive, member, path)
        if (member.uid, member.gid) != (0, 0):
            self.owners[name] = (member.uid, member.gid)

    def _leaf(self, archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
        if member.issym():
            path.symlink_to(member.linkname)
        elif member.islnk():
            os.link(self.root / member.linkname.lstrip("./"), path)
        elif member.isreg():
            source = archive.extractfile(member)
            assert source is not None
            with path.open("wb") as target:
                shutil.copyfileobj(source, target)
            path.chmod(member.mode)
        else:
            raise UsageError(f"a package holds {member.name}, which is no file, link or directory")

    def _record(self, package: Path, names: Sequence[str]) -> None:
        """What `dpkg --unpack` would have written: the stanza of its state, and the files of its scripts."""
        info = self.root / DATABASE / "info"
        extracted = info / ".new"
        _run("dpkg-deb", "-e", str(package), str(extracted))
        control = (extracted / "control").read_text()
        fields = {line.partition(":")[0]: line.partition(":")[2].strip() for line in control.splitlines()}
        name = fields["Package"]
        stem = f"{name}:{fields['Architecture']}" if fields.get("Multi-Arch") == "same" else name
        conffiles = extracted / "conffiles"
        lines = control.rstrip("\n").splitlines()
        lines.insert(1, "Status: install ok unpacked")
        if conffiles.exists():
            lines += ["Conffiles:", *(self._conffile(line) for line in conffiles.read_text().split("\n") if line)]
        self._status.append("\n".join(lines) + "\n")
        for path in extracted.iterdir():
            if path.name != "control":
                path.rename(info / f"{stem}.{path.name}")
        (info / f"{stem}.list").write_text("".join(f"{each}\n" for each in names))
        shutil.rmtree(extracted)

    def _conffile(self, line: str) -> str:
        name = line.split()[-1]
        path = self.root / name.lstrip("/")
        digest = hashlib.md5(path.read_bytes()).hexdigest() if path.is_file() else "newconffile"
        return f" {name} {digest}"


def _run(*words: str) -> None:
    try:
        done = subprocess.run(words, capture_output=True, text=True)
    except FileNotFoundError:
        raise UsageError(f"{words[0]} is missing; a Debian image is made on hosts that have dpkg") from None
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise UsageError(f"{words[0]}: {said[-1] if said else f'status {done.returncode}'}")
