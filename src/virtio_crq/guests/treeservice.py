# SPDX-License-Identifier: Apache-2.0
"""The host's side of the plugin's control socket: the guest's device tree comes, the edited one goes back.

Frames: `tree N\\n` and N bytes, both ways; `refuse\\n` to the plugin, `error TEXT\\n` from it.
"""

import contextlib
import socket
import threading
from collections.abc import Mapping
from typing import Any

from virtio_crq.errors import VirtioCrqError
from virtio_crq.guests.tree import present

LARGEST_TREE = 1 << 22


class TreeService:
    """Serves one guest by a thread of its own. `trouble` is why the guest could not go on, in one line."""

    def __init__(self, connection: socket.socket, description: Mapping[str, Any]) -> None:
        self._connection = connection
        self._description = description
        self.trouble = ""
        self._thread = threading.Thread(target=self._serve, name="tree", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError), self._connection.makefile("rb") as frames:
            for header in frames:
                word, _, rest = header.decode("utf-8", "replace").strip().partition(" ")
                if word == "tree":
                    self._edit(frames.read(min(int(rest), LARGEST_TREE)))
                elif word == "error":
                    self.trouble = rest

    def _edit(self, blob: bytes) -> None:
        try:
            edited = present(blob, self._description)
        except VirtioCrqError as error:
            self.trouble = str(error)
            self._connection.sendall(b"refuse\n")
            return
        self._connection.sendall(f"tree {len(edited)}\n".encode() + edited)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._connection.close()
