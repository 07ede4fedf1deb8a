# SPDX-License-Identifier: Apache-2.0
"""Serves disks to ordinary tools (qemu-img, nbdcopy, fio) over NBD on a Unix socket."""

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Protocol

from virtio_crq.client import nbd
from virtio_crq.errors import UsageError, VirtioCrqError

IN_FLIGHT = 64  # requests that one NBD connection may have in work; further ones wait in its socket


class Exported(Protocol):
    """What can be served; `client.Disk` is one."""

    @property
    def capacity(self) -> int: ...
    @property
    def block_size(self) -> int: ...
    @property
    def readonly(self) -> bool: ...
    def start_read(self, offset: int, length: int) -> Awaitable[bytes]: ...
    def start_write(self, offset: int, data: bytes) -> Awaitable[bytes]: ...
    def start_flush(self) -> Awaitable[bytes]: ...


class NbdServer:
    """Use as an async context manager: the socket is there inside, and gone after. The first export is the default."""

    def __init__(self, exports: Mapping[str, Exported], path: Path) -> None:
        self.exports = dict(exports)
        self.path = path
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "NbdServer":
        _clear_stale(self.path)
        before = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._accept, self.path)
        except OSError as error:
            raise UsageError(f"cannot serve on {self.path}: {error.strerror or error}") from error
        finally:
            os.umask(before)
        return self

    async def __aexit__(self, *_exception: object) -> None:
        assert self._server is not None
        self._server.close()
        self.path.unlink(missing_ok=True)
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            export = await Negotiation(self.exports, reader, writer).run()
            if export is not None:
                await Transmission(export, reader, writer).run()
        except (nbd.NbdFault, asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the tool went away or talks nonsense: only its own connection ends
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()


class Negotiation:
    """Fixed newstyle, up to the choice of an export."""

    def __init__(
        self, exports: Mapping[str, Exported], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.exports = exports
        self.reader = reader
        self.writer = writer

    async def run(self) -> Exported | None:
        """The export chosen, or None when the tool left in good order."""
        self.writer.write(nbd.GREETING + (nbd.FIXED_NEWSTYLE | nbd.NO_ZEROES).to_bytes(2, "big"))
        flags = int.from_bytes(await self.reader.readexactly(4), "big")
        if not flags & nbd.FIXED_NEWSTYLE or flags & ~(nbd.FIXED_NEWSTYLE | nbd.NO_ZEROES):
            raise nbd.NbdFault(f"handshake flags {flags:#x}")
        while True:
            magic, option, length = nbd.OPTION.unpack(await self.reader.readexactly(nbd.OPTION.size))
            if magic != nbd.OPTION_MAGIC or length > nbd.OPTION_LIMIT:
                raise nbd.NbdFault(f"option {option} of {length} bytes")
            data = await self.reader.readexactly(length)
            if option == nbd.EXPORT_NAME:
                return self._export_name(data, not flags & nbd.NO_ZEROES)
            if option == nbd.ABORT:
                self.writer.write(nbd.option_reply(option, nbd.ACK))
                return None
            export = self._answer(option, data)
            await self.writer.drain()
            if export is not None:
                return export

    def _answer(self, option: int, data: bytes) -> Exported | None:
        if option == nbd.LIST:
            self._list(data)
            return None
        if option not in (nbd.INFO, nbd.GO):
            self.writer.write(nbd.option_reply(option, nbd.ERROR_UNSUPPORTED))
            return None
        try:
            name = nbd.decode_choice(data)
        except ValueError as error:
            self.writer.write(nbd.option_reply(option, nbd.ERROR_INVALID, str(error).encode()))
            return None
        export = self._find(name)
        if export is None:
            self.writer.write(nbd.option_reply(option, nbd.ERROR_UNKNOWN, f"no export {name!r}".encode()))
            return None
        size = nbd.INFO_EXPORT.pack(0, export.capacity, transmission_flags(export))
        blocks = nbd.INFO_BLOCK_SIZE.pack(3, export.block_size, max(nbd.PREFERRED, export.block_size), nbd.LARGEST)
        self.writer.write(nbd.option_reply(option, nbd.INFORMATION, size))
        self.writer.write(nbd.option_reply(option, nbd.INFORMATION, blocks))
        self.writer.write(nbd.option_reply(option, nbd.ACK))
        return export if option == nbd.GO else None

    def _list(self, data: bytes) -> None:
        if data:
            self.writer.write(nbd.option_reply(nbd.LIST, nbd.ERROR_INVALID))
            return
        for name in self.exports:
            encoded = name.encode()
            self.writer.write(nbd.option_reply(nbd.LIST, nbd.SERVER, len(encoded).to_bytes(4, "big") + encoded))
        self.writer.write(nbd.option_reply(nbd.LIST, nbd.ACK))

    def _export_name(self, data: bytes, zeroes: bool) -> Exported:
        export = self._find(data.decode(errors="replace"))
        if export is None:
            raise nbd.NbdFault("an unknown export, and this option has no way to say so")
        flags = transmission_flags(export).to_bytes(2, "big")
        self.writer.write(export.capacity.to_bytes(8, "big") + flags + (bytes(124) if zeroes else b""))
        return export

    def _find(self, name: str) -> Exported | None:
        return next(iter(self.exports.values())) if name == "" else self.exports.get(name)


class Transmission:
    """Requests are served side by side and answered as they end."""

    def __init__(self, export: Exported, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.export = export
        self.reader = reader
        self.writer = writer
        self.room = asyncio.Semaphore(IN_FLIGHT)
        self.work: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        try:
            while True:
                request = nbd.decode_request(await self.reader.readexactly(nbd.REQUEST.size))
                data = await self.reader.readexactly(request.length) if request.command == nbd.WRITE else b""
                if request.command == nbd.DISCONNECT:
                    return
                await self.room.acquire()
                task = asyncio.get_running_loop().create_task(self._serve(request, data))
                self.work.add(task)
                task.add_done_callback(self.work.discard)
        except asyncio.CancelledError:
            for task in self.work:  # the export ends: nobody waits for a disk whose server is away
                task.cancel()
            raise
        finally:
            # What a tool asked for before it left is still done: the protocol lets it rely on that.
            await asyncio.gather(*self.work, return_exceptions=True)

    async def _serve(self, request: nbd.Request, data: bytes) -> None:
        try:
            content = await self._perform(request, data)
            answer = nbd.reply(request.cookie, 0, content)
        except (OSError, VirtioCrqError) as error:
            answer = nbd.reply(request.cookie, nbd.error_code(error))
        finally:
            self.room.release()
        self.writer.write(answer)
        with contextlib.suppress(ConnectionError):
            await self.writer.drain()

    async def _perform(self, request: nbd.Request, data: bytes) -> bytes:
        if request.command == nbd.READ:
            return await self.export.start_read(request.offset, request.length)
        if request.command == nbd.WRITE:
            await self.export.start_write(request.offset, data)
            if request.flags & nbd.COMMAND_FUA:
                await self.export.start_flush()
        elif request.command == nbd.FLUSH:
            await self.export.start_flush()
        else:
            raise OSError(22, f"command {request.command}")
        return b""


def transmission_flags(export: Exported) -> int:
    flags = nbd.HAS_FLAGS | nbd.SEND_FLUSH | nbd.SEND_FUA | nbd.CAN_MULTI_CONN
    return flags | nbd.READ_ONLY if export.readonly else flags


def _clear_stale(path: Path) -> None:
    """Remove a socket that nobody serves any more; anything else in the way is the user's."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise UsageError(f"{path} exists and is not a socket")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise UsageError(f"{path} is served by another process")
