# SPDX-License-Identifier: Apache-2.0
"""A small archive of packages in a folder, and a report that remembers: the lab's work without a network."""

import hashlib
import subprocess
from collections.abc import Mapping
from pathlib import Path

from virtio_crq.guests.lab.deb import Deb


class Told:
    """A report; `lines` is what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.expected = 0
        self.got = 0

    def say(self, text: str) -> None:
        self.lines.append(text)

    def expect(self, total: int) -> None:
        self.expected += total

    def received(self, count: int) -> None:
        self.got += count

    def arrived(self) -> None: ...


class FakeArchive:
    """Suites with real packages, made by dpkg-deb, under a Release that nobody signed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = f"file:{root}"
        self._stanzas: dict[tuple[str, str], list[str]] = {}

    def add(
        self,
        name: str,
        files: Mapping[str, str] | None = None,
        *,
        version: str = "1-1",
        architecture: str = "ppc64el",
        depends: str = "",
        suite: str = "sid",
    ) -> Path:
        """A package in a suite; `files` are by path. An executable's text begins by #!."""
        tree = self.root / "building" / name
        (tree / "DEBIAN").mkdir(parents=True)
        for path, text in (files or {f"usr/share/{name}": name}).items():
            file = tree / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            file.chmod(0o755 if text.startswith("#!") else 0o644)
        control = f"Package: {name}\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: nobody\n"
        control += f"Description: {name}\n" + (f"Depends: {depends}\n" if depends else "")
        (tree / "DEBIAN/control").write_text(control)
        package = self.root / "pool" / f"{name}_{version}_{architecture}.deb"
        package.parent.mkdir(exist_ok=True)
        subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, package], check=True, capture_output=True)
        subprocess.run(["rm", "-r", tree], check=True)
        stanza = f"{control}Filename: pool/{package.name}\nSize: {package.stat().st_size}\nSHA256: {sha256(package)}\n"
        # What is for all architectures stands in every index.
        for index in ("amd64", "ppc64el") if architecture == "all" else (architecture,):
            self._stanzas.setdefault((suite, index), []).append(stanza)
        self._publish(suite)
        return package

    def _publish(self, suite: str) -> None:
        folder = self.root / "dists" / suite
        lines = []
        for architecture in ("amd64", "ppc64el"):
            name = f"main/binary-{architecture}/Packages"
            index = folder / name
            index.parent.mkdir(parents=True, exist_ok=True)
            index.write_text("\n".join(self._stanzas.get((suite, architecture), [])))
            lines.append(f" {sha256(index)} {index.stat().st_size} {name}\n")
        head = f"Suite: {suite}\nCodename: {suite}\nDate: Thu, 01 Jan 2026 00:00:00 UTC\nArchitectures: amd64 ppc64el\n"
        (folder / "Release").write_text(f"{head}Components: main\nSHA256:\n{''.join(lines)}")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def deb_of(path: Path, url: str) -> Deb:
    """A file under some name, as an index would describe it."""
    name, version, architecture = path.stem.split("_")
    return Deb(name, version, architecture, url, path.stat().st_size, sha256(path))
