# SPDX-License-Identifier: Apache-2.0
"""Where commands put what is large and goes when they end."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SCRATCH = Path("/var/tmp")  # a real file system; /tmp may be memory


@contextmanager
def scratch(purpose: str) -> Iterator[Path]:
    """A directory for as long as the command takes."""
    with tempfile.TemporaryDirectory(prefix=f"virtio-crq-{purpose}-", dir=SCRATCH) as place:
        yield Path(place)
