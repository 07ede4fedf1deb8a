# SPDX-License-Identifier: Apache-2.0
"""Packages become a tree that needs neither root nor a chroot to be used."""

import shlex
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from virtio_crq.errors import UsageError
from virtio_crq.guests.lab.child import run_child

# Nobody reads these in a lab.
LEFT_OUT = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian")
CHECKSUMS = "var/lib/dpkg/info"
ELF_MAGIC = b"\x7fELF"
AT_ONCE = 2


def unpack(packages: Sequence[Path], tree: Path, merged: bool = True) -> None:
    """Unpack into `tree`, which is emptied before. `merged`: bin, lib and sbin are links into usr."""
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    for name in ("bin", "lib", "lib64", "sbin") if merged else ():
        (tree / "usr" / name).mkdir(parents=True, exist_ok=True)
        (tree / name).symlink_to(f"usr/{name}")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda package: _extract(package, tree), packages))
    for name in LEFT_OUT:
        shutil.rmtree(tree / name, ignore_errors=True)


def _extract(package: Path, tree: Path) -> None:
    done = run_child(["dpkg-deb", "-x", str(package), str(tree)])
    if done.returncode:
        said = " ".join(done.stderr.split()[-20:])
        if "No space left" in done.stderr:
            raise UsageError(f"no room left for {tree}: free some, or set VIRTIO_CRQ_LAB to a roomier place")
        raise UsageError(f"{package} could not be unpacked ({said}): remove it and run ./lab again")
    sums = run_child(["dpkg-deb", "-I", str(package), "md5sums"])
    if not sums.returncode:  # kept where dpkg keeps it: who uses a file can show that it is still the package's
        (tree / CHECKSUMS).mkdir(parents=True, exist_ok=True)
        (tree / CHECKSUMS / f"{package.name.partition('_')[0]}.md5sums").write_text(sums.stdout)


def loader_of(tree: Path) -> Path:
    """The dynamic loader of a tree of this host's architecture."""
    for pattern in ("usr/lib64/ld-linux*.so.*", "usr/lib/ld-linux*.so.*", "usr/lib64/ld64.so.*"):
        for found in sorted(tree.glob(pattern)):
            return found
    raise UsageError(f"{tree} has no dynamic loader: remove it and run ./lab again")


def library_path(tree: Path) -> str:
    """The folders of libraries of a tree, as its loader takes them."""
    return ":".join(str(folder) for folder in sorted(tree.glob("usr/lib/*-linux-gnu*")) if any(folder.glob("*.so*")))


def make_runnable(folders: Sequence[Path], libraries: Path, staged: Path, final: Path) -> int:
    """Make each program under `folders` a script that runs it by the loader of `libraries`: the host may be too old.

    They lie in `staged` now and will be moved to `final`. Returns how many there were.
    """
    loader, path = str(loader_of(libraries)), library_path(libraries)
    if libraries == staged:
        loader, path = (text.replace(str(staged), str(final)) for text in (loader, path))
    count = 0
    for folder in folders:
        for program in [found for found in sorted(folder.rglob("*")) if _is_program(found)]:
            hidden = program.with_name(f".{program.name}.elf")
            program.rename(hidden)
            place = final / hidden.relative_to(staged)
            words = shlex.join([loader, "--library-path", path])
            program.write_text(f'#!/bin/sh\nexec {words} --argv0 "$0" {shlex.quote(str(place))} "$@"\n')
            program.chmod(0o755)
            count += 1
    return count


def _is_program(path: Path) -> bool:
    if path.is_symlink() or not path.is_file() or ".so" in path.name or not path.stat().st_mode & 0o100:
        return False
    with path.open("rb") as file:
        return file.read(len(ELF_MAGIC)) == ELF_MAGIC
