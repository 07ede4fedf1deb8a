# SPDX-License-Identifier: Apache-2.0
"""A client partition's process under orders: each order a line of JSON on its stdin, each answer one on its stdout."""

import json
import subprocess
import sys
from contextlib import suppress
from threading import Timer
from typing import Any

from virtio_crq.errors import VirtioCrqError

PATIENCE = 60.0  # seconds; whatever takes longer hangs


class ClientProcess:
    """Runs `virtio_crq.cli.MODULE`. With `lifetime`, one that lives longer is ended, and who waits for it is told."""

    def __init__(self, module: str, *arguments: str, lifetime: float | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"virtio_crq.cli.{module}", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the command, which ends it
        )
        self.pid = self._process.pid
        self._watch: Timer | None = None
        if lifetime is not None:
            self._watch = Timer(lifetime, self._process.kill)
            self._watch.daemon = True
            self._watch.start()

    def order(self, **words: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        words: dict[str, Any] = json.loads(line) if line else {"error": "it ended without a word"}
        if "error" in words:
            raise VirtioCrqError(f"the client: {words['error']}")
        return words

    def end(self) -> None:
        """Let it leave its partition in peace."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)

    def close(self) -> None:
        """It is gone when this returns."""
        if self._watch is not None:
            self._watch.cancel()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):  # an order that nobody reads any more
                if pipe is not None:
                    pipe.close()
