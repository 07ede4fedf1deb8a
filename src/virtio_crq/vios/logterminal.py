# SPDX-License-Identifier: Apache-2.0
"""A file to which whatever comes is appended. Nothing ever comes back."""

import os
import stat
from pathlib import Path

from virtio_crq.errors import UsageError
from virtio_crq.vios.consoleterminal import ConsoleTerminal
from virtio_crq.vios.watch import Watch


class LogTerminal(ConsoleTerminal):
    """What the file system refuses is discarded and counted: a full disk must not stop a guest."""

    kind = "log"

    def __init__(self, path: Path, watch: Watch, *, console: bool) -> None:
        super().__init__(watch, console=console)
        self.path = str(path)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not stop us here
        try:
            self.descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            raise UsageError(f"log:{path}: {error.strerror}") from error
        if not stat.S_ISREG(os.fstat(self.descriptor).st_mode):
            os.close(self.descriptor)
            raise UsageError(f"log:{path}: not a regular file")
        self.connected = True

    def read(self, limit: int) -> bytes:
        return b""

    def write(self, data: bytes) -> int:
        try:
            count = os.write(self.descriptor, data)
        except OSError:
            count = 0
        self.discard(data[count:])
        return len(data)
