# SPDX-License-Identifier: Apache-2.0
"""The demo's file system: a real tree of files, the ext4 image made of it, and the tree read back out of an image."""

import hashlib
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from virtio_crq.errors import UsageError, VirtioCrqError

IMAGE_BYTES = 256 << 20
HEADERS = Path("/usr/include")
HEADER_BYTES = 60 << 20  # enough of a real tree; the rest of the image is for generated files
LARGE_FILES, SMALL_FILES = 48, 400
_WHERE = ("/usr/sbin", "/sbin", "/opt/homebrew/opt/e2fsprogs/sbin")


class DemoFailed(VirtioCrqError):
    """A step of the demo did not show what it claims."""


def tool(name: str) -> str:
    """The path of an e2fsprogs tool; they live in sbin, which is not in everybody's PATH."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *_WHERE]))
    if found is None:
        raise UsageError(f"{name} is missing; on Debian or Ubuntu: sudo apt-get install -y e2fsprogs")
    return found


def run(*command: str) -> str:
    """Run a tool quietly; its words only when it failed."""
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    if done.returncode:
        words = " ".join((done.stderr or done.stdout).split())[-400:]
        raise DemoFailed(f"{Path(command[0]).name} ended with status {done.returncode}: {words}")
    return done.stdout


def grow_tree(root: Path) -> int:
    """Fill `root` with headers of this machine and generated files of all sizes; the number of files."""
    root.mkdir()
    _copy_headers(root / "include")
    draw = random.Random(4096)
    large = root / "large"
    large.mkdir()
    for number in range(LARGE_FILES):
        (large / f"{number:03}.bin").write_bytes(draw.randbytes(draw.randrange(1 << 18, 3 << 20)))
    small = root / "small"
    small.mkdir()
    for number in range(SMALL_FILES):
        folder = small / f"{number % 7}" / f"{number % 11}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file-{number}").write_bytes(draw.randbytes(draw.randrange(0, 20_000)))
    (root / "empty").touch()
    (root / "link").symlink_to("large/000.bin")
    with (root / "holes").open("wb") as file:
        for place in range(0, 8 << 20, 1 << 20):
            file.seek(place)
            file.write(draw.randbytes(5000))
    return sum(1 for _ in files(root))


def _copy_headers(target: Path) -> None:
    target.mkdir()
    if not HEADERS.is_dir():
        return
    room = HEADER_BYTES
    for path in sorted(HEADERS.rglob("*.h")):
        if not path.is_file() or path.is_symlink():
            continue
        room -= path.stat().st_size + 4096
        if room < 0:
            return
        copy = target / path.relative_to(HEADERS)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def make_image(tree: Path, image: Path) -> None:
    """An ext4 image that holds `tree`; nobody needs to be root for it."""
    run(tool("mke2fs"), "-q", "-t", "ext4", "-b", "4096", "-d", str(tree), str(image), f"{IMAGE_BYTES >> 10}k")


def check_image(image: Path) -> str:
    """e2fsck's verdict; it must find nothing to repair."""
    return run(tool("e2fsck"), "-fn", str(image)).strip().splitlines()[-1]


def extract(image: Path, target: Path) -> None:
    """Every file out of an image, without mounting it."""
    target.mkdir()
    # Ownership cannot be restored by everybody, and debugfs says so for each file; contents are what is compared.
    run(tool("debugfs"), "-R", f"rdump / {target}", str(image))


def files(root: Path) -> Iterator[Path]:
    """Files and links below `root`, relative, without what mke2fs adds."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name != "lost+found")
        for name in sorted(names):
            yield (Path(folder) / name).relative_to(root)


def differences(one: Path, other: Path) -> list[str]:
    """What is not the same in two trees, file by file."""
    here, there = set(files(one)), set(files(other))
    found = [f"{path}: missing" for path in sorted(here - there)] + [f"{path}: extra" for path in sorted(there - here)]
    for path in sorted(here & there):
        if _content(one / path) != _content(other / path):
            found.append(f"{path}: differs")
    return found


def _content(path: Path) -> bytes:
    return os.readlink(path).encode() if path.is_symlink() else path.read_bytes()


def sha256(path: Path, progress: Callable[[int], None] = lambda done: None) -> str:
    """The hash of a file; `progress` is told how many bytes are done."""
    digest = hashlib.sha256()
    done = 0
    with path.open("rb") as file:
        while piece := file.read(4 << 20):
            digest.update(piece)
            done += len(piece)
            progress(done)
    return digest.hexdigest()
