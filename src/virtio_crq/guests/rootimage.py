# SPDX-License-Identifier: Apache-2.0
"""A small root file system for guests: the lab's programs, the agent, and busybox' init.

Its shell is busybox', which prefers its own applets: who wants e2fsprogs' mke2fs says mkfs.ext4 or /usr/sbin/mke2fs.
"""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from virtio_crq.errors import UsageError
from virtio_crq.guests.cache import BUSYBOX
from virtio_crq.guests.ext4image import make_ext4
from virtio_crq.guests.initramfs import guest_file, guest_script

SIZE = 512 << 20
LABEL = "guest-root"
# In a merged tree each of these is a link into usr/, whichever way the packages were made.
_MERGED = ("bin", "sbin", "lib", "lib64")
_FOLDERS = ("dev", "proc", "sys", "run", "tmp", "root", "mnt", "etc", "var")
_FILES = {
    "etc/passwd": b"root::0:0:root:/root:/bin/sh\n",
    "etc/group": b"root:x:0:\n",
    "etc/hostname": b"guest\n",
    "etc/fstab": b"",
}


def make_root_image(userland: Path, image: Path, *, size: int = SIZE, extra: Mapping[str, bytes] | None = None) -> Path:
    """An ext4 image of `size` bytes with all of `userland`, a tree of ppc64le programs with a static busybox in it.

    `extra` are more files, by their path, executable.
    """
    if not (userland / BUSYBOX).is_file() and not (userland / "bin/busybox").is_file():
        raise UsageError(f"{userland}: no {BUSYBOX} in it; run ./lab again")
    with tempfile.TemporaryDirectory(prefix=".root-", dir=image.parent) as work:
        tree = Path(work) / "tree"
        for name in (*_FOLDERS, *(f"usr/{name}" for name in _MERGED)):
            (tree / name).mkdir(parents=True)
        for name in _MERGED:
            (tree / name).symlink_to(f"usr/{name}")
        merge(userland, tree)
        (tree / "tmp").chmod(0o1777)
        for path, content in (*_FILES.items(), ("etc/inittab", guest_file("inittab"))):
            place(tree, path, content, 0o644)
        for name in ("agent", "session"):
            place(tree, f"usr/sbin/virtio-crq-{name}", guest_script(name), 0o755)
        for path, content in (extra or {}).items():
            place(tree, path, content, 0o755)
        for link in ("usr/bin/sh", "usr/sbin/init", "usr/sbin/poweroff"):
            (tree / link).unlink(missing_ok=True)
            (tree / link).symlink_to("/bin/busybox")
        return make_ext4(tree, image, size, LABEL)


def merge(source: Path, tree: Path) -> None:
    """Everything below `source` into `tree`, through the directory links that `tree` has."""
    for folder, directories, files in os.walk(source):
        here = tree / os.path.relpath(folder, source)
        for name in directories:
            path = Path(folder) / name
            if path.is_symlink():
                files.append(name)
            elif not (here / name).is_dir():
                (here / name).mkdir(mode=0o755, parents=True)
        for name in files:
            _take(Path(folder) / name, here / name)


def place(tree: Path, path: str, content: bytes, mode: int) -> None:
    """A file of ours in a tree."""
    (tree / path).parent.mkdir(parents=True, exist_ok=True)
    (tree / path).write_bytes(content)
    (tree / path).chmod(mode)


def _take(source: Path, target: Path) -> None:
    """A file or a link; where a directory stands already, a link to one of the same name is left out."""
    if source.is_symlink():
        if not target.is_dir():
            target.unlink(missing_ok=True)
            target.symlink_to(os.readlink(source))
    else:
        target.unlink(missing_ok=True)
        shutil.copy2(source, target)
