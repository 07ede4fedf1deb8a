# SPDX-License-Identifier: Apache-2.0
"""Where a running machine keeps its sockets, pid files and logs: one directory per machine, its owner's alone."""

import os
import re
import socket
import struct
from pathlib import Path

from virtio_crq.errors import UsageError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
ATTACH_SOCKET = "hypervisor.sock"
OWN_NOTE = "of-a-command"  # in the directory of a machine that a command made for itself
LONGEST_PATH = 107 - len("/vios-.sock") - 32  # of a Unix socket, and the longest name that stands in one


def state_root() -> Path:
    """`$XDG_RUNTIME_DIR/virtio-crq`, or a directory of the user's own under /tmp."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_dir():
        return Path(runtime) / "virtio-crq"
    return Path("/tmp") / f"virtio-crq-{os.getuid()}"


def state_directory(machine: str) -> Path:
    """Where the machine of that name lives, whether it is up or not."""
    if not NAME.fullmatch(machine):
        raise UsageError(
            f"machine name {machine!r}: allowed are letters, digits, '_', '.', '-', at most 32, first no '-'"
        )
    return state_root() / machine


def make_state_directory(machine: str) -> Path:
    """Create it with mode 0700; one that belongs to somebody else, or is open to others, is refused."""
    path = state_directory(machine)
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise UsageError(f"{path} is too long for sockets in it (at most {LONGEST_PATH} bytes); set XDG_RUNTIME_DIR")
    for directory in (path.parent, path):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = directory.lstat()
        if directory.is_symlink() or status.st_uid != os.getuid() or status.st_mode & 0o077:
            raise UsageError(f"{directory} must be a directory of yours with mode 0700")
    return path


def make_own_directory(machine: str) -> Path:
    """As `make_state_directory`, for a machine that only who names it means."""
    path = make_state_directory(machine)
    (path / OWN_NOTE).touch()
    return path


def is_own(machine: str) -> bool:
    """Whether a command made this machine for itself."""
    return (state_directory(machine) / OWN_NOTE).exists()


def listener(path: Path) -> int | None:
    """Which process listens on this Unix socket, or None; a file that nobody listens on any more is nothing."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
            pid, _, _ = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        except OSError:
            return None
    return int(pid)


def answers(path: Path) -> bool:
    """Whether somebody listens on this Unix socket."""
    return listener(path) is not None


def machines_up() -> list[str]:
    """Names of the machines whose hypervisor answers."""
    root = state_root()
    if not root.is_dir():
        return []
    return sorted(entry.name for entry in root.iterdir() if answers(entry / ATTACH_SOCKET))
