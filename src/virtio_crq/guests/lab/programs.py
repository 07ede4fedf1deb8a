# SPDX-License-Identifier: Apache-2.0
"""Programs: QEMU and a cross compiler for this host, busybox and fio for guests."""

from typing import Any

from virtio_crq.errors import VirtioCrqError
from virtio_crq.guests.lab.deb import Deb
from virtio_crq.guests.lab.part import Archive, Part, Staged
from virtio_crq.guests.lab.suite import GUEST
from virtio_crq.guests.lab.unpack import library_path, loader_of, make_runnable
from virtio_crq.guests.qemu import Qemu as QemuBinary

SUITE = "sid"  # the one whose QEMU has plugin API 7, and whose compiler builds the newest kernel
EMULATOR = "usr/bin/qemu-system-ppc64"

QEMU_PACKAGES = ("qemu-system-ppc",)
TOOLCHAIN_PACKAGES = (
    "gcc-powerpc64le-linux-gnu",
    "libc6-dev-ppc64el-cross",  # programs for guests
    "make",
    "sparse",
    "libelf1t64",  # of the kernels' own build programs
)
USERLAND_PACKAGES = ("busybox-static", "fio", "e2fsprogs", "util-linux")
# What a guest's programs would be looked for under; each is tried before the userland counts as complete.
USERLAND_PROGRAMS = ("busybox", "fio", "mke2fs", "e2fsck", "blkdiscard")


def _qemu_plan(archive: Archive) -> list[Deb]:
    return archive.suite(SUITE).closure(QEMU_PACKAGES, archive.native)


def _qemu_finish(staged: Staged) -> dict[str, Any]:
    """QEMU runs by its own loader and libraries; `@LAB@` stands for the cache, which may be moved."""
    tree, share = staged.now, staged.now / "usr/share/qemu"
    argv = [str(loader_of(tree)), "--library-path", library_path(tree), str(tree / EMULATOR), "-L", str(share)]
    version = QemuBinary.ask(argv).version
    placed = [word.replace(str(tree), "@LAB@/" + staged.name(tree)) for word in argv]
    return {"argv": placed, "share": placed[-1], "version": version, "origin": f"Debian {SUITE}"}


def _toolchain_plan(archive: Archive) -> list[Deb]:
    return archive.suite(SUITE).closure(TOOLCHAIN_PACKAGES, archive.native)


def _toolchain_finish(staged: Staged) -> dict[str, Any]:
    folders = [
        staged.now / name for name in ("usr/bin", "usr/libexec", "usr/lib/gcc-cross") if (staged.now / name).is_dir()
    ]
    if not make_runnable(folders, staged.now, staged.now, staged.final):
        raise VirtioCrqError("the packages of the compiler hold no programs")
    return {"path": staged.name(staged.now), "place": str(staged.final)}


def _userland_plan(archive: Archive) -> list[Deb]:
    return archive.suite(SUITE).closure(USERLAND_PACKAGES, GUEST)


def _userland_finish(staged: Staged) -> dict[str, Any]:
    for name in USERLAND_PROGRAMS:
        if not any((staged.now / folder / name).exists() for folder in ("usr/bin", "usr/sbin")):
            raise VirtioCrqError(f"Debian's {SUITE} brought no {name} for guests")
    return {"path": staged.name(staged.now)}


QEMU = Part("qemu", "QEMU", _qemu_plan, _qemu_finish)
TOOLCHAIN = Part("toolchain", "the cross compiler", _toolchain_plan, _toolchain_finish)
USERLAND = Part("userland", "programs for guests", _userland_plan, _userland_finish)
