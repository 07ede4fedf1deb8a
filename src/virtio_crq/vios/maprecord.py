# SPDX-License-Identifier: Apache-2.0
"""What is mapped, once that was changed at run time: the next server serves the same under the same numbers.

It lies in the machine's state directory and goes with it: the next `up` begins with the machine file again.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from virtio_crq.errors import UsageError
from virtio_crq.vios.mapping import MapEntry

Numbered = tuple[int, MapEntry]  # the device number within its client's connection


class MapRecord:
    """A small file, replaced as a whole. Without a path nothing is kept."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    def read(self) -> list[Numbered] | None:
        """None when nothing was changed at run time."""
        if self._path is None:
            return None
        try:
            rows = json.loads(self._path.read_text())
            return [_entry(row) for row in rows]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UsageError(
                f"{self._path}: not a record of mappings ({error}); remove it to map as the file says"
            ) from error

    def write(self, entries: Sequence[Numbered]) -> None:
        if self._path is None:
            return
        fresh = self._path.with_suffix(".new")
        try:
            with fresh.open("w") as file:
                json.dump([{"number": number, **asdict(entry)} for number, entry in entries], file)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except OSError as error:
            raise UsageError(f"{self._path}: {error.strerror}") from error


def _entry(row: dict[str, Any]) -> Numbered:
    number = int(row.pop("number"))
    row["ports"] = tuple(row["ports"])
    return number, MapEntry(**row)
