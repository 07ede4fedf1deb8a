# SPDX-License-Identifier: Apache-2.0
"""Which drivers turned their disk's write cache off: remembered beyond the server's death.

A driver that turned the cache off (CONFIG_WCE) relies on every completed write being stable. It does not say so again
when it resumes with a server that was restarted, so the next server must know.
"""

import json
import os
from pathlib import Path

from virtio_crq.errors import DeviceFault


class CacheRecord:
    """A small file, replaced as a whole. Without a path it lasts as long as the process."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._off = self._read()

    def is_off(self, target: str) -> bool:
        return "*" in self._off or target in self._off

    def put(self, target: str, *, off: bool) -> None:
        """Remember; on disk before this returns, since the driver is answered after it.

        Where the disk is full, "off" is refused, since the next server would not know; "on" is not believed.
        """
        if self.is_off(target) == off:
            return
        names = (self._off | {target}) if off else (self._off - {target})
        try:
            self._save(names)
        except OSError as error:
            if off:
                raise DeviceFault("record-unsaved", f"{self._path}: {error.strerror}") from error
            return
        self._off = names

    def _save(self, names: frozenset[str]) -> None:
        if self._path is None:
            return
        fresh = self._path.with_suffix(".new")
        with fresh.open("w") as file:
            json.dump(sorted(names), file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)

    def _read(self) -> frozenset[str]:
        if self._path is None:
            return frozenset()
        try:
            names = json.loads(self._path.read_text())
        except FileNotFoundError:
            return frozenset()
        except (OSError, ValueError):
            return frozenset("*")  # unreadable: be as safe as the strictest driver expects
        return frozenset(names) if isinstance(names, list) else frozenset("*")
