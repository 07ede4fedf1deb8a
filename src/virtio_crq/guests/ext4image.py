# SPDX-License-Identifier: Apache-2.0
"""An ext4 file system made from a directory, without privileges: `mke2fs -d`, then the owners by `debugfs`."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from virtio_crq.errors import UsageError

ROOT = (0, 0)
Owner = tuple[int, int]  # uid and gid


def make_ext4(tree: Path, image: Path, size: int, label: str = "", owners: Mapping[str, Owner] | None = None) -> Path:
    """The content of `tree` as an image of `size` bytes, a sparse file.

    Everything belongs to root but for the paths in `owners`, whoever owns the files here.
    """
    made = image.with_name(f".{image.name}.new")
    options = ["-q", "-F", "-t", "ext4", "-E", "root_owner=0:0,lazy_itable_init=1", "-d", str(tree)]
    try:
        _run("mke2fs", *options, *(["-L", label] if label else []), str(made), f"{size >> 10}k")
        orders = [line for path, owner in _strangers(tree, owners or {}) for line in _orders(path, owner)]
        if orders:
            _run("debugfs", "-w", "-f", "-", str(made), told="".join(orders))
        made.replace(image)
    finally:
        made.unlink(missing_ok=True)
    return image


def _strangers(tree: Path, owners: Mapping[str, Owner]) -> Iterator[tuple[str, Owner]]:
    """Paths that mke2fs gives to somebody else than they belong to."""
    for folder, directories, files in os.walk(tree):
        for name in (*directories, *files):
            path = os.path.join(folder, name)
            status = os.lstat(path)
            wanted = owners.get(os.path.relpath(path, tree), ROOT)
            if (status.st_uid, status.st_gid) != wanted:
                yield os.path.relpath(path, tree), wanted


def _orders(path: str, owner: Owner) -> Iterator[str]:
    if '"' in path or "\n" in path:
        raise UsageError(f"{path!r}: such a name cannot be given an owner in an image")
    for field, value in zip(("uid", "gid"), owner, strict=True):
        yield f'set_inode_field "/{path}" {field} {value}\n'


def _run(name: str, *arguments: str, told: str | None = None) -> None:
    """A program of e2fsprogs; what it complains of is the error. debugfs always ends with status 0."""
    done = subprocess.run([tool(name), *arguments], input=told, capture_output=True, text=True)
    complaints = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith(f"{name} ")]
    if done.returncode or (name == "debugfs" and complaints):
        why = complaints[-1].strip() if complaints else f"ended with status {done.returncode}"
        raise UsageError(f"{name}: {why}")


def tool(name: str) -> str:
    """Where a program of e2fsprogs is; for people it lies outside PATH."""
    found = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin")))
    if found is None:
        raise UsageError(f"{name} is missing; install the package e2fsprogs")
    return found
