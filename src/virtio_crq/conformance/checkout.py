# SPDX-License-Identifier: Apache-2.0
"""Where the specification and the tests stand: both exist in a checkout of the repository only."""

from pathlib import Path

from virtio_crq.errors import UsageError

SPECIFICATION = Path("docs/spec/virtio-over-crq.md")
TESTS = Path("tests")


def find_checkout(start: Path | None = None) -> Path:
    """The checkout around `start` (default: the working directory), or the one this package is run from."""
    here = (start or Path.cwd()).resolve()
    candidates = [here, *here.parents]
    if start is None:
        candidates += Path(__file__).resolve().parents
    for directory in candidates:
        if (directory / SPECIFICATION).is_file() and (directory / TESTS).is_dir():
            return directory
    raise UsageError(f"no checkout of the repository at {here}: {SPECIFICATION} and {TESTS}/ are needed")
