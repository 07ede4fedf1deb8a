# SPDX-License-Identifier: Apache-2.0
"""The control messages of a console with several ports (virtio 1.4 §5.3.6.2): what the driver is still to be told.

What is due is kept as a set, not as a list: a driver that asks again and again has each message once. Sizes and
states are looked up when a message leaves, so what it says is true then.
"""

from collections.abc import Sequence

from virtio_crq.dataplane.terminal import Terminal
from virtio_crq.virtio.console import RESIZE_SIZE, Control, Event


class ConsoleControl(Terminal):
    """Control messages as the queue takes them: each `read` is one message, or nothing."""

    def __init__(self, names: Sequence[str], terminals: Sequence[Terminal]) -> None:
        self._names = names
        self._terminals = terminals
        self._due: dict[tuple[int, Event], None] = {}
        self._ready: set[int] = set()

    def reset(self) -> None:
        """A driver that knows nothing yet."""
        self._due.clear()
        self._ready.clear()

    def announce(self) -> None:
        """All ports, to a driver that is ready or whose ports a lost server had announced: it knows those already."""
        for port in range(len(self._names)):
            self._due[port, Event.PORT_ADD] = None

    def port_ready(self, port: int) -> None:
        """The driver has the port: what there is to say of it."""
        self._ready.add(port)
        if port == 0:
            self._due[port, Event.CONSOLE_PORT] = None
            self.resized(port)
        if self._names[port]:
            self._due[port, Event.PORT_NAME] = None
        self.opened(port)

    def resized(self, port: int) -> None:
        if port in self._ready and self._terminals[port].size != (0, 0):
            self._due[port, Event.RESIZE] = None

    def opened(self, port: int) -> None:
        """The far end was opened or closed."""
        if port in self._ready:
            self._due[port, Event.PORT_OPEN] = None

    def read(self, limit: int) -> bytes:
        if not self._due:
            return b""
        port, event = next(iter(self._due))
        del self._due[port, event]
        return self._message(port, event).encode()

    def _message(self, port: int, event: Event) -> Control:
        if event == Event.PORT_OPEN:
            # The console's own port is there even while nobody looks at it: a kernel may always print.
            return Control(port, event, int(port == 0 or self._terminals[port].connected))
        if event == Event.PORT_NAME:
            return Control(port, event, 1, self._names[port].encode())
        if event == Event.RESIZE:
            return Control(port, event, 0, RESIZE_SIZE.pack(*self._terminals[port].size))
        return Control(port, event, 1)
