# SPDX-License-Identifier: Apache-2.0
"""The lab: QEMU, kernels, modules and programs for guests, as `./lab` left them in a cache outside the tree.

    lab = Lab.open()
    lab.qemu().argv                 # how to start qemu-system-ppc64; append arguments
    lab.kernel("6.1").vmlinux       # the package's own, an ELF file that QEMU's -kernel takes
    lab.userland() / "usr/bin/fio"  # programs for the guest, ppc64le

This module reads only: nothing is fetched or built behind anybody's back. What is not there is one UsageError that
says how to get it.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from virtio_crq.errors import UsageError

KERNELS = ("6.1", "6.12", "7.2")
MANIFEST = "manifest.json"


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
        transport = self._manifest.get(f"transport-{name}", {}).get("path", f"transport/{name}/virtio_crq.ko")
        return KernelParts(
            name,
            part["release"],
            self._path(part["vmlinux"]),
            self._path(part["modules"]),
            self.root / transport,
            tuple(Package(**row) for row in part["packages"]),
        )

    def userland(self) -> Path:
        """A tree of ppc64le programs: busybox (static), fio, mke2fs, e2fsck, blkdiscard with their libraries."""
        return self._path(self._part("userland", "programs for guests")["path"])

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
