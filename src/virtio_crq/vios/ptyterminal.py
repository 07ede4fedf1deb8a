# SPDX-License-Identifier: Apache-2.0
"""A pty: any terminal program opens its other end, which has a name that stays."""

import fcntl
import os
import select
import struct
import termios
import tty
from pathlib import Path

from virtio_crq.errors import UsageError
from virtio_crq.vios.consoleterminal import ConsoleTerminal
from virtio_crq.vios.watch import Watch

WINDOW = struct.Struct("HHHH")  # struct winsize: rows, columns, and two of pixels


class PtyTerminal(ConsoleTerminal):
    """`link` is the stable name, a symbolic link. A pty tells nobody of who opens it, nor of a new window size, so
    both are looked at on every tick."""

    kind = "pty"

    def __init__(self, link: Path | None, watch: Watch, *, console: bool) -> None:
        super().__init__(watch, console=console)
        self._link = link
        try:
            self.descriptor, other = os.openpty()
        except OSError as error:
            raise UsageError(f"no pty is to be had: {error.strerror}") from error
        try:
            tty.setraw(other)  # stays so for whoever opens it
            self.device = os.ttyname(other)
            os.set_blocking(self.descriptor, False)
            self.path = self._named()
        except BaseException:
            os.close(self.descriptor)
            raise
        finally:
            os.close(other)
        self._poll = select.poll()
        self._poll.register(self.descriptor, 0)
        self._seen = (0, 0)
        watch.every_tick(self.look)

    def _named(self) -> str:
        if self._link is None:
            return self.device
        fresh = self._link.with_name(f"{self._link.name}.new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(self.device)
        fresh.replace(self._link)
        return str(self._link)

    @property
    def size(self) -> tuple[int, int]:
        if self.descriptor < 0:
            return 0, 0
        rows, columns, _, _ = WINDOW.unpack(fcntl.ioctl(self.descriptor, termios.TIOCGWINSZ, bytes(WINDOW.size)))
        return columns, rows

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, WINDOW.pack(rows, columns, 0, 0))

    def attend(self) -> None:
        # Hang-up is the state of a pty whose other end nobody has open.
        self.connected = self.descriptor >= 0 and not any(events & select.POLLHUP for _, events in self._poll.poll(0))
        if not self.connected:
            self._stuck = None

    def look(self) -> None:
        """In the watch's thread: knock when somebody came, left or changed the window, or patience may end."""
        try:
            hung_up = any(events & select.POLLHUP for _, events in self._poll_again().poll(0))
            size = self.size
        except (OSError, ValueError):
            return  # closed meanwhile, in the worker's thread: poll takes no -1
        # What the worker believes is what counts: somebody may have left and come again between two ticks.
        if self.connected is hung_up or size != self._seen or self.waiting:
            self._seen = size
            self.knock()

    def _poll_again(self) -> "select.poll":
        """Of the watch's own: one object cannot be polled by two threads at a time."""
        poll = select.poll()
        poll.register(self.descriptor, 0)
        return poll

    def close(self) -> None:
        self.watch.no_tick(self.look)
        super().close()
        if self._link is not None and self._link.is_symlink() and os.readlink(self._link) == self.device:
            self._link.unlink()
