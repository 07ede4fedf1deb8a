# SPDX-License-Identifier: Apache-2.0
"""What the far ends of console ports have in common: a descriptor that never waits, and patience with its reader.

A driver in use waits for the console with interrupts off, so a reader who stopped reading may hold port 0 up for
PATIENCE at a time and no longer: what comes then is discarded and counted, until the reader takes something again.
Other ports are for programs, which wait for each other as long as it takes.
"""

import os
import select
import time
from collections.abc import Callable

from virtio_crq.dataplane.terminal import Terminal
from virtio_crq.vios.watch import Watch

# Seconds. With a tick of the watch well below the one second after which a guest's transport gives its console up.
PATIENCE = 0.25
Knock = Callable[[], None]


class ConsoleTerminal(Terminal):
    """`read` and `write` over `descriptor`, which is -1 while nobody is there. `console`: this is port 0."""

    kind = ""
    path = ""  # where people find it

    def __init__(self, watch: Watch, *, console: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self.watch = watch
        self.console = console
        self.discarded = 0
        self.descriptor = -1
        self.knock: Knock = lambda: None
        self._clock = clock
        self._stuck: float | None = None  # since when the reader has taken nothing

    def bind(self, knock: Knock) -> None:
        """Whom to tell that there is something to look at."""
        self.knock = knock

    def resize(self, columns: int, rows: int) -> None:
        """Whoever is attached has a window of this size now."""

    def attend(self) -> None:
        """See who came and who left."""

    def look(self) -> None:
        """In the watch's thread, on every tick: knock when patience may end, which no descriptor tells."""
        if self.waiting:
            self.knock()

    def departed(self) -> None:
        """Reading or writing showed that nobody is there any more."""

    def read(self, limit: int) -> bytes:
        self.attend()
        if self.descriptor < 0 or not self.connected:
            return b""
        try:
            data = os.read(self.descriptor, limit)
        except BlockingIOError:
            self.watch.arm(self.descriptor, select.EPOLLIN, self.knock)
            return b""
        except OSError:
            self.departed()
            return b""
        if not data:
            self.departed()
        return data

    def write(self, data: bytes) -> int:
        self.attend()
        if self.descriptor < 0 or not self.connected:
            return self.discard(data)
        try:
            count = os.write(self.descriptor, data)
        except BlockingIOError:
            count = 0
        except OSError:
            self.departed()
            return self.discard(data)
        if count:
            self._stuck = None
        if count < len(data):
            return count + self._wait(data[count:])
        return count

    def _wait(self, data: bytes) -> int:
        """The reader is slow: wait for him, but not for ever where the driver waits, too."""
        now = self._clock()
        if self._stuck is None:
            self._stuck = now
        if self.console and now - self._stuck >= PATIENCE:
            return self.discard(data)
        self.watch.arm(self.descriptor, select.EPOLLOUT, self.knock)
        return 0

    @property
    def waiting(self) -> bool:
        """Somebody's patience runs out by and by: time alone makes it due."""
        return self.console and self._stuck is not None

    def discard(self, data: bytes) -> int:
        self.discarded += len(data)
        return len(data)

    def close(self) -> None:
        if self.descriptor >= 0:
            self.watch.forget(self.descriptor)
            os.close(self.descriptor)
            self.descriptor = -1
        self.connected = False
