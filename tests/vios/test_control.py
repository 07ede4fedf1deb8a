# SPDX-License-Identifier: Apache-2.0
"""The control socket answers good requests, refuses bad ones and survives both."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from virtio_crq.errors import UsageError
from virtio_crq.vios.control import LONGEST_LINE, ControlSocket, ask, socket_path


def refuse(request: Mapping[str, Any]) -> None:
    raise UsageError("no such target")


def echo(request: Mapping[str, Any]) -> Any:
    return request.get("what")


def measure(request: Mapping[str, Any]) -> Any:
    return int(str(request.get("what")).encode())


def shift(request: Mapping[str, Any]) -> Any:
    return float(1 << request["what"])


def reserve(request: Mapping[str, Any]) -> Any:
    raise MemoryError("no room")


COMMANDS = {"echo": echo, "refuse": refuse, "measure": measure, "shift": shift, "reserve": reserve}
TOO_DEEP = b"[" * 30_000
SURROGATE = b'{"do": "measure", "what": "\\udcff"}'
TOO_LARGE = b'{"do": "shift", "what": 99999}'
NO_MEMORY = b'{"do": "reserve"}'
DIGITS = b'{"do": "measure", "what": "' + b"9" * 5000 + b'"}'


def test_a_command_is_answered_and_a_refusal_reaches_the_caller(tmp_path: Path) -> None:
    path = socket_path(tmp_path, "vios1")

    async def run() -> None:
        async with ControlSocket(path, COMMANDS):
            assert await asyncio.to_thread(ask, path, "echo", what=[1, "ä"]) == [1, "ä"]
            with pytest.raises(UsageError, match="no such target"):
                await asyncio.to_thread(ask, path, "refuse")
            with pytest.raises(UsageError, match="one of echo, measure, refuse, reserve, shift"):
                await asyncio.to_thread(ask, path, "nothing")

    asyncio.run(run())
    assert not path.exists()
    with pytest.raises(UsageError, match=r"no VIOS answers at .*: virtio-crq start vios1 -m "):
        ask(path, "echo")


@pytest.mark.parametrize(
    "line", [b"{", b"[]", b"null", b'{"do": []}', b"\xff\xfe", TOO_DEEP, SURROGATE, DIGITS, TOO_LARGE, NO_MEMORY]
)
def test_malformed_requests_are_answered_and_the_next_is_served(tmp_path: Path, line: bytes) -> None:
    path = socket_path(tmp_path, "vios1")

    async def run() -> None:
        async with ControlSocket(path, COMMANDS):
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(line + b"\n" + b'{"do": "echo", "what": 7}\n')
            assert "error" in json.loads(await reader.readline())
            assert json.loads(await reader.readline()) == {"ok": 7}
            writer.close()
            await writer.wait_closed()

    asyncio.run(run())


def test_an_endless_request_ends_its_own_connection_only(tmp_path: Path) -> None:
    path = socket_path(tmp_path, "vios1")

    async def run() -> None:
        async with ControlSocket(path, COMMANDS):
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(b"x" * (LONGEST_LINE * 2))
            assert "at most" in json.loads(await reader.readline())["error"]
            assert await asyncio.to_thread(ask, path, "echo", what=1) == 1
            writer.transport.abort()
            await asyncio.sleep(0)

    asyncio.run(run())


def test_the_socket_a_killed_server_left_is_replaced(tmp_path: Path) -> None:
    path = socket_path(tmp_path, "vios1")
    path.touch()

    async def run() -> None:
        async with ControlSocket(path, COMMANDS):
            assert await asyncio.to_thread(ask, path, "echo", what=1) == 1

    asyncio.run(run())
