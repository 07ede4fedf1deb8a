# SPDX-License-Identifier: Apache-2.0
"""QEMU's monitor (QMP): enough of it to know why a guest ended. JSON lines; see QEMU's docs/interop/qmp-spec."""

import contextlib
import json
import socket
import threading
from typing import Any

REASONS = {  # of QEMU's SHUTDOWN event, as a guest's ending
    "guest-shutdown": "off",
    "guest-reset": "reboot",
    "guest-panic": "panic",
    "subsystem-reset": "reboot",
}


class Monitor:
    """Takes events by a thread of its own. `reason` is the ending that QEMU announced, if it did."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.reason: str | None = None
        self.execute("qmp_capabilities")
        self._thread = threading.Thread(target=self._take, name="monitor", daemon=True)
        self._thread.start()

    def _take(self) -> None:
        with contextlib.suppress(OSError), self._connection.makefile("rb") as lines:
            for line in lines:
                with contextlib.suppress(ValueError):
                    self._event(json.loads(line))

    def _event(self, message: dict[str, Any]) -> None:
        if message.get("event") == "GUEST_PANICKED":
            self.reason = "panic"
        elif message.get("event") == "SHUTDOWN" and self.reason is None:
            self.reason = REASONS.get(message["data"].get("reason", ""))

    def execute(self, command: str) -> None:
        """Ask for a command without arguments; its answer is not waited for. A QEMU that has ended does nothing."""
        with contextlib.suppress(OSError):
            self._connection.sendall(json.dumps({"execute": command}).encode() + b"\n")

    def join(self) -> None:
        """Wait until QEMU has said all: its end is closed."""
        self._thread.join()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._connection.close()
