# SPDX-License-Identifier: Apache-2.0
"""A Unix socket: one program at a time connects, leaves, and connects again."""

import os
import select
import socket
import stat
from contextlib import suppress
from pathlib import Path

from virtio_crq.errors import UsageError
from virtio_crq.vios.consoleterminal import ConsoleTerminal
from virtio_crq.vios.watch import Watch

LONGEST_PATH = 107
BUSY = b"this console has another user\r\n"


class SocketTerminal(ConsoleTerminal):
    """Whoever comes while somebody is connected is told so and sent away. `resize` says how large the window is, since
    a socket has none."""

    kind = "socket"

    def __init__(self, path: Path, watch: Watch, *, console: bool) -> None:
        super().__init__(watch, console=console)
        self.path = str(path)
        self._window = (0, 0)
        self._client: socket.socket | None = None
        _clear(path)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            self._listener.bind(self.path)
            os.chmod(self.path, 0o600)
            self._listener.listen(4)
        except OSError as error:
            self._listener.close()
            raise UsageError(f"socket:{path}: {error.strerror}") from error
        if console:
            watch.every_tick(self.look)

    def bind(self, knock: "object") -> None:
        super().bind(knock)  # type: ignore[arg-type]
        self.watch.arm(self._listener.fileno(), select.EPOLLIN, self.knock)

    @property
    def size(self) -> tuple[int, int]:
        return self._window

    def resize(self, columns: int, rows: int) -> None:
        self._window = (columns, rows)
        self.knock()

    def attend(self) -> None:
        if self._listener.fileno() < 0:
            return
        with suppress(OSError):  # nobody waits, or nobody can be let in now
            while True:
                caller, _ = self._listener.accept()
                if self._client is None:
                    self._welcome(caller)
                else:
                    self._turn_away(caller)
        self.watch.arm(self._listener.fileno(), select.EPOLLIN, self.knock)
        if self._client is not None:
            self._see_whether_he_stays(self._client)

    def _see_whether_he_stays(self, client: socket.socket) -> None:
        """Also while nobody reads what he says, which may be for ever."""
        try:
            gone = not client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            self.watch.arm(self.descriptor, select.EPOLLRDHUP, self.knock)
            return
        except OSError:
            gone = True
        if gone:
            self.departed()

    def _welcome(self, caller: socket.socket) -> None:
        caller.setblocking(False)
        self._client, self.descriptor, self.connected = caller, caller.fileno(), True
        self._stuck = None

    def _turn_away(self, caller: socket.socket) -> None:
        with suppress(OSError):
            caller.send(BUSY, socket.MSG_DONTWAIT)
        caller.close()

    def departed(self) -> None:
        if self._client is not None:
            self.watch.forget(self.descriptor)
            self._client.close()
        self._client, self.descriptor, self.connected = None, -1, False
        self._window = (0, 0)
        self.knock()  # another may be waiting

    def close(self) -> None:
        self.watch.no_tick(self.look)
        self.departed()
        if self._listener.fileno() >= 0:
            self.watch.forget(self._listener.fileno())
            self._listener.close()
            Path(self.path).unlink(missing_ok=True)


def _clear(path: Path) -> None:
    """Make room for the socket: what a killed server left goes, what somebody serves stays."""
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise UsageError(f"socket:{path}: the path has more than {LONGEST_PATH} bytes")
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"socket:{path}: {error.strerror}") from error
    if not stat.S_ISSOCK(mode):
        raise UsageError(f"socket:{path}: there is something else of that name")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise UsageError(f"socket:{path}: another process serves it")
