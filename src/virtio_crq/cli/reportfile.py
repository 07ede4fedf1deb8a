# SPDX-License-Identifier: Apache-2.0
"""The file of `--json`: refused before the work that it is to tell of, written after it."""

import json
from pathlib import Path
from typing import Any

from virtio_crq.errors import UsageError


def check_report_file(path: Path | None) -> None:
    """A directory that is missing is said at once, not after ten minutes."""
    if path is not None and not path.absolute().parent.is_dir():
        raise UsageError(f"{path}: no such directory")
    if path is not None and path.is_dir():
        raise UsageError(f"{path} is a directory; name a file in it")


def write_report_file(path: Path | None, report: Any) -> None:
    if path is None:
        return
    try:
        path.write_text(json.dumps(report, indent=1) + "\n")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; the report was not written") from None
