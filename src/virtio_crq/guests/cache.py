# SPDX-License-Identifier: Apache-2.0
"""The lab: QEMU, kernels, modules and programs for guests, as `./lab` left them in a cache outside the tree.

    lab = Lab.open()
    lab.qemu().argv                 # how to start qemu-system-ppc64; append arguments
    lab.kernel("6.1").vmlinux       # the package's own, an ELF file that QEMU's -kernel takes
    lab.userland() / "usr/bin/fio"  # programs for the guest, ppc64le

Nothing is fetched behind anybody's back. What is not there is one UsageError that
says how to get it.
"""

import hashlib
import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from virtio_crq.errors import UsageError

KERNELS = ("6.1", "6.12", "7.2")
MANIFEST = "manifest.json"
BUSYBOX = "usr/bin/busybox"  # in the tree of programs, static
CROSS = "powerpc64le-linux-gnu-"


@dataclass(frozen=True)
class Package:
    """What something in the cache came from."""

    name: str
    version: str
    architecture: str
    sha256: str


@dataclass(frozen=True)
class Qemu:
    """A qemu-system-ppc64 whose plugin API is ours. `argv` begins its command line; its firmware lies in `share`."""

    argv: tuple[str, ...]
    share: Path
    version: str
    origin: str  # "host", "option" or the package it came from


@dataclass(frozen=True)
class KernelParts:
    """One kernel: `modules` is its lib/modules/RELEASE, `transport` our virtio_crq.ko for it."""

    name: str
    release: str
    vmlinux: Path
    modules: Path
    transport: Path
    packages: tuple[Package, ...]


def lab_directory() -> Path:
    """$VIRTIO_CRQ_LAB, else the lab's folder in the user's cache."""
    if chosen := os.environ.get("VIRTIO_CRQ_LAB"):
        return Path(chosen).absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache).absolute() / "virtio-crq" / "lab"


class Lab:
    """What the manifest of the cache names, as paths and facts."""

    def __init__(self, root: Path, manifest: dict[str, Any]) -> None:
        self.root = root
        self._manifest = manifest

    @classmethod
    def open(cls, root: Path | None = None) -> "Lab":
        """The lab at `root`, by default where `./lab` puts it."""
        root = root or lab_directory()
        try:
            manifest = json.loads((root / MANIFEST).read_text())
        except FileNotFoundError:
            raise UsageError(f"no lab in {root}: run ./lab once, it fetches QEMU and the kernels") from None
        except (OSError, ValueError) as error:
            raise UsageError(f"{root / MANIFEST} cannot be read ({error}): run ./lab again") from None
        return cls(root, manifest)

    def qemu(self) -> Qemu:
        part = self._part("qemu", "QEMU")
        argv = tuple(word.replace("@LAB@", str(self.root)) for word in part["argv"])
        share = Path(part["share"].replace("@LAB@", str(self.root)))
        return Qemu(argv, share, part["version"], part["origin"])

    def kernels(self) -> tuple[str, ...]:
        """The names of the kernels that are here, oldest first."""
        return tuple(name for name in KERNELS if f"kernel-{name}" in self._manifest)

    def kernel(self, name: str) -> KernelParts:
        if name not in KERNELS:
            raise UsageError(f"no kernel {name!r}: the lab has {', '.join(KERNELS)}")
        part = self._part(f"kernel-{name}", f"kernel {name}")
        module = self._part(f"transport-{name}", f"module virtio_crq for kernel {name}")
        return KernelParts(
            name,
            part["release"],
            self._path(part["vmlinux"]),
            self._path(part["modules"]),
            self._path(module["path"]),
            tuple(Package(**row) for row in part["packages"]),
        )

    def userland(self) -> Path:
        """A tree of ppc64le programs: busybox (static), fio, mke2fs, e2fsck, blkdiscard with their libraries."""
        return self._path(self._part("userland", "programs for guests")["path"])

    def headers(self, name: str) -> Path:
        """Where modules for a kernel are built: `make -C` it."""
        return self._path(self._part(f"kernel-{name}", f"kernel {name}")["build"])

    def tools(self) -> tuple[Path | None, str]:
        """Where make, sparse and a cross compiler for ppc64le are (None: on the PATH), and the compiler's prefix."""
        part = self._part("toolchain", "compiler")
        if prefix := part.get("prefix"):
            return None, prefix
        return self._path(part["path"]) / "usr/bin", CROSS

    def checkpatch(self) -> Path:
        return self._path(self._part("checkpatch", "checkpatch, which ./lab --lint fetches,")["path"])

    def compile(self, source: Path) -> Path:
        """A static program for guests from one C file, kept in the cache for as long as the file stays the same."""
        text = source.read_bytes()
        program = self.root / "programs" / hashlib.sha256(text).hexdigest()[:16] / source.stem
        if program.exists():
            return program
        program.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=program.parent) as work:
            made = Path(work) / source.stem
            folder, prefix = self.tools()
            compiler = f"{folder}/{prefix}gcc" if folder else f"{prefix}gcc"
            done = subprocess.run(
                [compiler, "-static", "-O2", "-Wall", "-Werror", "-o", made, source],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode:
                wrong = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
                raise UsageError(f"{source.name} does not compile: {'; '.join(wrong[:3])}")
            made.replace(program)
        return program

    def _part(self, key: str, what: str) -> Any:
        try:
            return self._manifest[key]
        except KeyError:
            raise UsageError(f"the lab in {self.root} has no {what}: run ./lab again") from None

    def _path(self, name: str) -> Path:
        path = self.root / name
        if not path.exists():
            raise UsageError(f"{path} is gone: run ./lab again")
        return path
