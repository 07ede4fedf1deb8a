# SPDX-License-Identifier: Apache-2.0
"""The server's control socket: JSON lines over a Unix socket in the machine's state directory.

A request is `{"do": NAME, ...}`; the answer is `{"ok": VALUE}` or `{"error": TEXT}`, one line each, in order.
"""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from virtio_crq.errors import UsageError, VirtioCrqError
from virtio_crq.farend import await_word

LONGEST_LINE = 1 << 16
Command = Callable[[Mapping[str, Any]], Any]


def socket_path(state_directory: Path, server: str) -> Path:
    """Where the server partition `server` of this machine listens."""
    return state_directory / f"vios-{server}.sock"


class ControlSocket:
    """Answers commands on the event loop's thread. Use as `async with`."""

    def __init__(self, path: Path, commands: Mapping[str, Command]) -> None:
        self._path = path
        self._commands = commands
        self._server: asyncio.AbstractServer | None = None
        self._open: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}

    async def __aenter__(self) -> "ControlSocket":
        self._path.unlink(missing_ok=True)  # left by a killed predecessor; its partition slot is ours now
        self._server = await asyncio.start_unix_server(self._serve, path=str(self._path), limit=LONGEST_LINE)
        self._path.chmod(0o600)
        self._mine = self._path.stat()
        return self

    async def __aexit__(self, *exception: object) -> None:
        assert self._server is not None
        self._server.close()
        conversations = [task for task in self._open if task is not None]
        for writer in self._open.values():
            writer.transport.abort()  # an answer nobody reads must not keep the server
        await asyncio.gather(*conversations, return_exceptions=True)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(self._path.stat(), self._mine):  # and not of a later machine in the same place
                self._path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open[asyncio.current_task()] = writer
        try:
            with contextlib.suppress(ConnectionError):
                await self._converse(reader, writer)
        finally:
            del self._open[asyncio.current_task()]
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                line = await reader.readline()
            except ValueError:
                writer.write(_line({"error": f"a request is at most {LONGEST_LINE} bytes"}))
                await writer.drain()
                return
            if not line:
                return
            writer.write(_line(self._answer(line)))
            await writer.drain()

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return {"error": "a request is one line of JSON"}
        name = request.get("do") if isinstance(request, dict) else None
        if not isinstance(name, str) or name not in self._commands:
            return {"error": f"a request names what to do: one of {', '.join(sorted(self._commands))}"}
        try:
            return {"ok": self._commands[name](request)}
        except VirtioCrqError as error:
            return {"error": str(error)}
        except (ValueError, OSError, ArithmeticError, MemoryError) as error:
            # A path that cannot be encoded, a number of a thousand digits, a size that nothing has.
            return {"error": f"{name}: {error}"}


def ask(path: Path, do: str, *, patience: float = 10, **arguments: Any) -> Any:
    """Send one command to a running server and wait for its answer, for up to `patience` seconds."""
    name, machine = path.stem.removeprefix("vios-"), path.parent.name
    again = f"virtio-crq start {name} -m {machine}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(patience)
        try:
            connection.connect(str(path))
            connection.sendall(_line({"do": do, **arguments}))
            await_word(connection, f"{name} of machine {machine}", f"kill -9 {{pid}} && {again}", patience)
            with connection.makefile("rb") as answers:
                line = answers.readline()
        except (FileNotFoundError, ConnectionRefusedError):
            raise UsageError(f"no VIOS answers at {path}; start it again with: {again}") from None
        except (TimeoutError, ConnectionError) as error:
            raise UsageError(f"the VIOS at {path} does not answer: {error}") from None
    if not line:
        raise UsageError(f"the VIOS at {path} ended without an answer")
    answer = json.loads(line)
    if "error" in answer:
        raise UsageError(answer["error"])
    return answer["ok"]


def _line(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"
