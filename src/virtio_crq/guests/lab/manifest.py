# SPDX-License-Identifier: Apache-2.0
"""The manifest: what the lab has, written only when it is whole; and the lock under which it is changed."""

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from virtio_crq.errors import UsageError
from virtio_crq.guests.cache import MANIFEST
from virtio_crq.guests.lab.report import Report


def write_whole(path: Path, content: Any) -> None:
    """JSON that is there whole or not at all, whatever interrupts."""
    draft = path.with_suffix(".draft")
    with draft.open("w") as file:
        json.dump(content, file, indent=1, sort_keys=True)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


class Manifest:
    """Parts by name. A part stands here only after everything it names is in its place."""

    def __init__(self, root: Path) -> None:
        self._path = root / MANIFEST
        self.parts: dict[str, Any] = {}
        try:
            self.parts = json.loads(self._path.read_text())
        except FileNotFoundError:
            pass
        except ValueError:
            self._path.unlink()  # not of our writing: everything is looked at anew

    def put(self, key: str, part: Any) -> None:
        self.parts[key] = part
        write_whole(self._path, self.parts)

    def drop(self, key: str) -> None:
        if self.parts.pop(key, None) is not None:
            write_whole(self._path, self.parts)


@contextmanager
def locked(root: Path, report: Report) -> Iterator[None]:
    """One works on the lab at a time; a second one says so and waits."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        file = (root / "lock").open("a")
    except OSError as error:
        raise UsageError(
            f"the lab cannot be written in {root} ({os.strerror(error.errno or errno.EIO)}): "
            "set VIRTIO_CRQ_LAB to a folder of yours"
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report.say(f"another ./lab is at work in {root}: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
