# SPDX-License-Identifier: Apache-2.0
"""Which place is full, when the system only says that one is."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from virtio_crq.hypervisor.statedirectory import state_root

LITTLE = 1 << 16  # bytes: a machine's files


def told_full(error: OSError, room: Callable[[Path], int] | None = None) -> OSError:
    """The error of a full disk, told with what is full and what to do. `room` is for tests."""
    if error.filename:
        return OSError(f"{error.filename}: no space left; make some there, or name another place")
    room = room or free_bytes
    for place, variable in ((state_root(), "XDG_RUNTIME_DIR"), (Path(tempfile.gettempdir()), "TMPDIR")):
        if room(place) < LITTLE:
            return OSError(f"{place}: no space left; make some, or let {variable} name a place that has some")
    return OSError("no space left; make some where the command writes")


def free_bytes(place: Path) -> int:
    """Of the file system that `place` is on, or will be."""
    while not place.exists():
        place = place.parent
    found = os.statvfs(place)
    return found.f_bavail * found.f_frsize
