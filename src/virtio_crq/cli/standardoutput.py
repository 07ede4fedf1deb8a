# SPDX-License-Identifier: Apache-2.0
"""Standard output that was closed before the command began (`>&-`): what is printed there fails, and says so."""

import io
import os
import sys
from typing import Any

from virtio_crq.errors import VirtioCrqError


class _Shut(io.FileIO):
    """In the place of the closed descriptor, so that no file opened later has its number."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        sys.stdout = None  # nobody tries again
        raise VirtioCrqError("standard output is closed; write >/dev/null to do without it")


def open_streams() -> None:
    """Python leaves a stream out whose descriptor is closed, and prints to nowhere without a word."""
    if sys.stdout is None:
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(_Shut(os.devnull)), "utf-8")
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # or complaints would go to standard output


def finish() -> None:
    """What was printed is out, or this raises what kept it."""
    if sys.stdout is not None:
        sys.stdout.flush()
