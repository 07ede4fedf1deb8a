# SPDX-License-Identifier: Apache-2.0
"""Parts of the lab that a person gives instead of Debian's: a QEMU, a kernel with its headers, programs for guests."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

from virtio_crq.errors import UsageError
from virtio_crq.guests.cache import CROSS, KERNELS
from virtio_crq.guests.lab.filling import GIVEN, HOST
from virtio_crq.guests.lab.programs import USERLAND_PROGRAMS
from virtio_crq.guests.qemu import BINARY, Qemu


def given_qemu(path: str) -> dict[str, Any]:
    """Facts of the QEMU at `path`, refused when it is not fit."""
    found = shutil.which(path)
    if not found:
        raise UsageError(f"--qemu {path}: there is no such program")
    return _facts(Qemu.ask([str(Path(found).absolute())]), GIVEN)


def host_qemu() -> dict[str, Any] | None:
    """Facts of the host's own QEMU, when there is one and it is fit."""
    found = shutil.which(BINARY)
    try:
        return _facts(Qemu.ask([found]), HOST) if found else None
    except UsageError:
        return None


def _facts(qemu: Qemu, origin: str) -> dict[str, Any]:
    said = subprocess.run([*qemu.command, "-L", "help"], capture_output=True, text=True, check=False).stdout.split("\n")
    share = next((line for line in said if line and Path(line).is_dir()), "/usr/share/qemu")
    return {"argv": qemu.command, "share": share, "version": qemu.version, "origin": origin, "packages": []}


def given_kernel(text: str) -> tuple[str, dict[str, Any]]:
    """`6.12=DIRECTORY`: the key and the facts of a kernel laid out as its packages are, or by `vmlinux` and `build`."""
    name, _, directory = text.partition("=")
    tree = Path(directory).absolute()
    if name not in KERNELS or not directory:
        raise UsageError(f"--kernel {text}: write VERSION=DIRECTORY, VERSION being one of {', '.join(KERNELS)}")
    bases = [tree / base / "modules" for base in ("lib", "usr/lib")]
    found = sorted(path for base in bases if base.is_dir() for path in base.iterdir() if path.is_dir())
    if len(found) != 1:
        raise UsageError(f"--kernel {text}: {tree} needs one lib/modules/RELEASE, and has {len(found)}")
    modules, release = found[0], found[0].name
    if not release.startswith(f"{name}."):
        raise UsageError(f"--kernel {text}: these are modules of {release}, not of {name}")
    images = (tree / "vmlinux", tree / f"boot/vmlinux-{release}", tree / f"boot/vmlinuz-{release}", modules / "vmlinuz")
    builds = (tree / "build", tree / f"usr/src/linux-headers-{release}", modules / "build")
    vmlinux = next((path for path in images if path.is_file()), None)
    build = next((path for path in builds if (path / "Makefile").is_file()), None)
    if vmlinux is None:
        raise UsageError(f"--kernel {text}: no image: put it at {images[0]} (an ELF file for ppc64le)")
    if build is None:
        raise UsageError(f"--kernel {text}: nothing to build modules with: link {builds[0]} to its prepared headers")
    facts = {"release": release, "vmlinux": str(vmlinux), "modules": str(modules), "build": str(build)}
    return f"kernel-{name}", {**facts, "origin": GIVEN, "packages": []}


def given_compiler(prefix: str) -> dict[str, Any]:
    """The host's own compiler, make and sparse."""
    for tool in (f"{prefix}gcc", f"{prefix}strip", "make"):
        if not shutil.which(tool):
            raise UsageError(
                f"--cross {prefix}: there is no program {tool}; PREFIX is what stands before gcc, such as {CROSS}"
            )
    return {"prefix": prefix, "origin": GIVEN, "packages": []}


def given_userland(directory: Path) -> dict[str, Any]:
    tree = directory.absolute()
    places = ("usr/bin", "usr/sbin", "bin", "sbin")
    missing = [name for name in USERLAND_PROGRAMS if not any((tree / place / name).exists() for place in places)]
    if missing:
        raise UsageError(f"--userland {directory}: no {', '.join(missing)} for ppc64le in its usr/bin or usr/sbin")
    return {"path": str(tree), "origin": GIVEN, "packages": []}
