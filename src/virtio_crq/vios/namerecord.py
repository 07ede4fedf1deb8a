# SPDX-License-Identifier: Apache-2.0
"""A few names that outlive the server: what drivers told the last one and will not tell the next one again."""

import json
import os
from pathlib import Path

from virtio_crq.errors import DeviceFault


class NameRecord:
    """A small file, replaced as a whole. Without a path it lasts as long as the process."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._names = self._read()

    def has(self, name: str) -> bool:
        return "*" in self._names or name in self._names

    def keep(self, name: str, kept: bool) -> None:
        """Remember or forget; on disk before this returns, since the driver is answered after it.

        Where the disk is full, a name is refused, since the next server would not know it; an old one stays.
        """
        if self.has(name) == kept:
            return
        names = (self._names | {name}) if kept else (self._names - {name})
        try:
            self._save(names)
        except OSError as error:
            if kept:
                raise DeviceFault("record-unsaved", f"{self._path}: {error.strerror}") from error
            return
        self._names = names

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
