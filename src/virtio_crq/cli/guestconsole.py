# SPDX-License-Identifier: Apache-2.0
"""A guest's console in this terminal: what is typed goes to the guest raw, what it prints comes out as it is.

Without a terminal, input is a pipe or a file: a line of it is typed each time the guest shows a prompt, and its end
is Ctrl-D. What the kernel prints into or behind a prompt does not hide it. Input from a device such as /dev/null is
nothing at all.
"""

import contextlib
import os
import re
import select
import stat
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator

from virtio_crq.guests.lastlines import last_lines
from virtio_crq.guests.terminal import Terminal

LEAVE = b"\x1d"  # Ctrl-], as of telnet and virsh
END_OF_INPUT = b"\x04"
PROMPTS = "#$%>:?"
SETTLED = 0.3  # seconds without output after which a prompt is one
NUDGE = 20.0  # seconds without output after which Enter asks for another prompt, once for each line of input
PIECE = 4096
_KERNEL_MESSAGE = re.compile(rb"\[ *\d+\.\d{6}\](\[ *[CT]\d+\])? [^\n]*\n?")


class _Bell:
    """Wakes who selects on `descriptor`; rung by the terminal's thread, also after it was closed."""

    def __init__(self) -> None:
        self.descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = threading.Lock()
        self._open = True

    def ring(self, data: bytes) -> None:
        with self._lock:
            if self._open:
                os.eventfd_write(self.descriptor, 1)

    def hear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.descriptor)

    def close(self) -> None:
        with self._lock:
            self._open = False
            os.close(self.descriptor)


class GuestConsole:
    """`run` returns why it ended: `ended`, `left` by the person, or `silent` for too long. It may be repeated."""

    def __init__(
        self,
        terminal: Terminal,
        keyboard: int,
        screen: int,
        silence: float | None = None,
        waiting: bytearray | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._terminal = terminal
        self._keyboard: int | None = keyboard if _gives_input(keyboard) else None
        self._typing = os.isatty(keyboard)
        self._screen = screen
        self.silence = silence
        self._clock = clock
        self._shown = 0
        self._heard = clock()
        # Input that no prompt asked for yet; what a guest that reboots left of it is its successor's.
        self._waiting = bytearray() if waiting is None else waiting
        self._closing = False  # input is over, and the guest is to be told
        self._asked = 0  # position of the output when something was last sent
        self._nudged = False  # since the last line

    def run(self) -> str:
        self._heard = self._clock()
        bell = _Bell()
        self._terminal.listen(bell.ring)
        try:
            with _raw(self._keyboard if self._typing else None):
                return self._converse(bell)
        finally:
            bell.close()

    def _converse(self, bell: _Bell) -> str:
        while True:
            ended = self._terminal.ended  # before looking: what came before its end is seen below
            self._show()
            if ended:
                return "ended"
            if self.silence is not None and self._clock() - self._heard > self.silence:
                return "silent"
            watched = [bell.descriptor] if self._keyboard is None else [bell.descriptor, self._keyboard]
            ready = select.select(watched, [], [], SETTLED)[0]
            bell.hear()
            if self._keyboard in ready and self._take():
                return "left"
            if not ready:
                self._answer()

    def _show(self) -> None:
        output, self._shown = self._terminal.since(self._shown)
        if output:
            self._heard = self._clock()
        while output:
            output = output[os.write(self._screen, output) :]

    def _take(self) -> bool:
        """Read the keyboard; whether the person leaves."""
        assert self._keyboard is not None
        try:
            data = os.read(self._keyboard, PIECE)
        except OSError:  # a terminal that went away
            data = b""
        if not data:
            self._keyboard = None
            self._closing = True
        elif not self._typing:
            self._waiting += data
        elif LEAVE in data:
            return True
        else:
            self._terminal.send(data)
        return False

    def _answer(self) -> None:
        """Give a prompt its line; or, when something may have hidden the prompt, ask for another one."""
        if not (self._waiting or self._closing):
            return
        if not self._prompted():
            if not self._nudged and self._shown and self._clock() - self._heard > NUDGE:
                self._nudged = True
                self._send(b"\n")
            return
        self._nudged = False
        line, newline, rest = bytes(self._waiting).partition(b"\n")
        if newline or (line and self._closing):
            self._waiting[:] = rest
            self._send(line + b"\n")
        elif self._closing:
            self._closing = False
            self._send(END_OF_INPUT)

    def _send(self, data: bytes) -> None:
        self._asked = self._shown
        self._terminal.send(data)

    def _prompted(self) -> bool:
        """Whether a prompt, printed since something was last sent, is the last that came from anyone but the kernel."""
        recent = _KERNEL_MESSAGE.sub(b"", self._terminal.output(max(self._asked, self._shown - PIECE)))
        last = last_lines(recent, 1)
        return bool(last) and not recent.endswith(b"\n") and last[0].endswith(tuple(PROMPTS))


def _gives_input(keyboard: int) -> bool:
    return os.isatty(keyboard) or not stat.S_ISCHR(os.fstat(keyboard).st_mode)


@contextlib.contextmanager
def _raw(keyboard: int | None) -> Iterator[None]:
    """The terminal as the guest's own: every key is the guest's, Ctrl-C too. As it was, whatever happens."""
    if keyboard is None:
        yield
        return
    before = termios.tcgetattr(keyboard)
    try:
        tty.setraw(keyboard)
        yield
    finally:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
