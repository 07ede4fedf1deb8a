# SPDX-License-Identifier: Apache-2.0
"""Real NBD tools, and rude ones, against the NBD server over a disk in memory."""

import asyncio
import errno
import json
import os
import shutil
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from virtio_crq.client import nbd
from virtio_crq.client.nbdserver import NbdServer
from virtio_crq.errors import UsageError

SIZE = 4 << 20
TIMEOUT = 60


class MemoryDisk:
    """Answers after a turn of the loop, as a disk would."""

    def __init__(self, size: int = SIZE, readonly: bool = False) -> None:
        self.content = bytearray(size)
        self.capacity = size
        self.block_size = 512
        self.readonly = readonly
        self.flushes = 0
        self.error: OSError | None = None

    async def start_read(self, offset: int, length: int) -> bytes:
        await self._check(offset, length)
        return bytes(self.content[offset : offset + length])

    async def start_write(self, offset: int, data: bytes) -> bytes:
        if self.readonly:
            raise OSError(errno.EROFS, "read-only")
        await self._check(offset, len(data))
        self.content[offset : offset + len(data)] = data
        return b""

    async def start_flush(self) -> bytes:
        self.flushes += 1
        return b""

    async def _check(self, offset: int, length: int) -> None:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        if offset % 512 or length % 512 or offset + length > self.capacity:
            raise OSError(errno.EINVAL, "outside")


def served(disk: MemoryDisk, path: Path, body: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(TIMEOUT):
            async with NbdServer({"root": disk}, path):
                await body()

    asyncio.run(run())
    assert not path.exists()


async def tool(*words: str, cwd: Path | None = None) -> str:
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed")
    process = await asyncio.create_subprocess_exec(
        *words, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _none = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def dial(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(path)
    assert await reader.readexactly(16) == nbd.GREETING
    assert await reader.readexactly(2) == b"\0\3"
    writer.write((nbd.FIXED_NEWSTYLE | nbd.NO_ZEROES).to_bytes(4, "big"))
    return reader, writer


async def chosen(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, int, int]:
    reader, writer = await dial(path)
    writer.write(nbd.OPTION.pack(nbd.OPTION_MAGIC, nbd.EXPORT_NAME, 4) + b"root")
    size, flags = struct.unpack(">QH", await reader.readexactly(10))
    return reader, writer, size, flags


def test_qemu_img_copies_in_and_compares(tmp_path: Path) -> None:
    disk, path = MemoryDisk(), tmp_path / "nbd"
    image = tmp_path / "image"
    image.write_bytes(os.urandom(1 << 20) + bytes(1 << 20) + os.urandom(SIZE - (2 << 20)))
    url = f"nbd+unix:///root?socket={path}"

    async def body() -> None:
        await tool("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", str(image), url)
        assert "identical" in await tool("qemu-img", "compare", "-f", "raw", "-F", "raw", str(image), url)

    served(disk, path, body)
    assert bytes(disk.content) == image.read_bytes()
    assert disk.flushes > 0


def test_nbdcopy_copies_both_ways(tmp_path: Path) -> None:
    disk, path = MemoryDisk(), tmp_path / "nbd"
    disk.content[:] = os.urandom(SIZE)
    before = bytes(disk.content)
    image, back = tmp_path / "image", tmp_path / "back"
    image.write_bytes(os.urandom(SIZE))

    async def body() -> None:
        await tool("nbdcopy", f"nbd+unix:///root?socket={path}", str(back))
        assert back.read_bytes() == before
        await tool("nbdcopy", "--flush", str(image), f"nbd+unix:///root?socket={path}")

    served(disk, path, body)
    assert bytes(disk.content) == image.read_bytes()


def test_nbdinfo_sees_size_flags_and_block_sizes(tmp_path: Path) -> None:
    disk, path = MemoryDisk(readonly=True), tmp_path / "nbd"

    async def body() -> None:
        found = json.loads(await tool("nbdinfo", "--list", "--json", f"nbd+unix://?socket={path}"))
        export = found["exports"][0]
        assert export["export-name"] == "root"
        assert export["export-size"] == SIZE
        assert export["is_read_only"] is True
        assert (export["block_size_minimum"], export["block_size_preferred"]) == (512, 4096)

    served(disk, path, body)


def test_fio_verifies_mixed_sizes_and_depths(tmp_path: Path) -> None:
    disk, path = MemoryDisk(), tmp_path / "nbd"

    async def body() -> None:
        # Blocks of mixed sizes overlap: fio has to keep those apart that are in flight together.
        await tool(
            "fio", "--name=verify", "--ioengine=nbd", f"--uri=nbd+unix:///root?socket={path}", "--rw=randwrite",
            "--bsrange=512-64k", "--blockalign=512", "--iodepth=16", "--verify=crc32c", "--serialize_overlap=1",
            "--size=2m", "--randseed=7",
            cwd=tmp_path,
        )  # fmt: skip

    served(disk, path, body)


def test_many_requests_are_in_flight_and_answers_name_their_request(tmp_path: Path) -> None:
    disk, path = MemoryDisk(), tmp_path / "nbd"

    async def body() -> None:
        reader, writer, size, flags = await chosen(path)
        assert size == SIZE
        assert flags & nbd.SEND_FUA
        for cookie in range(200):
            writer.write(nbd.REQUEST.pack(nbd.REQUEST_MAGIC, 1, nbd.WRITE, cookie, cookie * 512, 512))
            writer.write(bytes([cookie]) * 512)
        answers = {nbd.REPLY.unpack(await reader.readexactly(16)) for _each in range(200)}
        assert answers == {(nbd.REPLY_MAGIC, 0, cookie) for cookie in range(200)}
        writer.close()

    served(disk, path, body)
    assert [disk.content[cookie * 512] for cookie in range(200)] == list(range(200))
    assert disk.flushes == 200


@pytest.mark.parametrize(
    ("error", "code"),
    [(errno.EIO, 5), (errno.ENOSPC, 28), (errno.EROFS, 1), (errno.EOPNOTSUPP, 95), (errno.ENODEV, 5)],
)
def test_errors_of_the_disk_reach_the_tool(tmp_path: Path, error: int, code: int) -> None:
    disk, path = MemoryDisk(), tmp_path / "nbd"
    disk.error = OSError(error, "scripted")

    async def body() -> None:
        reader, writer, _size, _flags = await chosen(path)
        writer.write(nbd.REQUEST.pack(nbd.REQUEST_MAGIC, 0, nbd.READ, 9, 0, 512))
        assert nbd.REPLY.unpack(await reader.readexactly(16)) == (nbd.REPLY_MAGIC, code, 9)
        writer.close()

    served(disk, path, body)


@pytest.mark.parametrize(
    "rudeness",
    [
        b"\0" * 28,
        nbd.REQUEST.pack(nbd.REQUEST_MAGIC, 0, nbd.WRITE, 1, 0, nbd.LARGEST + 1),
        nbd.REQUEST.pack(nbd.REQUEST_MAGIC, 0, nbd.WRITE, 1, 0, 512) + b"half",
    ],
)
def test_a_rude_tool_loses_its_own_connection_only(tmp_path: Path, rudeness: bytes) -> None:
    disk, path = MemoryDisk(), tmp_path / "nbd"

    async def body() -> None:
        reader, writer, _size, _flags = await chosen(path)
        polite_reader, polite_writer, _size, _flags = await chosen(path)
        writer.write(rudeness)
        writer.write_eof()
        assert await reader.read() == b""
        polite_writer.write(nbd.REQUEST.pack(nbd.REQUEST_MAGIC, 0, nbd.READ, 1, 0, 512))
        assert len(await polite_reader.readexactly(16 + 512)) == 528
        writer.close()
        polite_writer.close()

    served(disk, path, body)


def test_the_export_ends_though_a_request_never_does(tmp_path: Path) -> None:
    disk, path = MemoryDisk(), tmp_path / "nbd"
    never, begun = asyncio.Event(), asyncio.Event()
    tools: list[asyncio.StreamWriter] = []

    async def stuck(offset: int, length: int) -> bytes:
        begun.set()
        await never.wait()
        return b""

    disk.start_read = stuck  # type: ignore[method-assign]

    async def body() -> None:
        _reader, writer, _size, _flags = await chosen(path)
        writer.write(nbd.REQUEST.pack(nbd.REQUEST_MAGIC, 0, nbd.READ, 9, 0, 512))
        await writer.drain()
        await begun.wait()
        tools.append(writer)

    async def run() -> None:
        async with asyncio.timeout(TIMEOUT):
            async with NbdServer({"root": disk}, path):
                await body()
            tools[0].close()
            await tools[0].wait_closed()

    asyncio.run(run())


def test_options_that_are_wrong_are_answered_and_negotiation_goes_on(tmp_path: Path) -> None:
    disk, path = MemoryDisk(), tmp_path / "nbd"

    async def ask(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, option: int, data: bytes
    ) -> tuple[int, int]:
        writer.write(nbd.OPTION.pack(nbd.OPTION_MAGIC, option, len(data)) + data)
        _magic, answered, kind, length = nbd.OPTION_REPLY.unpack(await reader.readexactly(20))
        await reader.readexactly(length)
        return answered, kind

    async def body() -> None:
        reader, writer = await dial(path)
        assert await ask(reader, writer, 5, b"") == (5, nbd.ERROR_UNSUPPORTED)
        assert await ask(reader, writer, nbd.GO, b"\0\0\0\x04nope\0\0") == (nbd.GO, nbd.ERROR_UNKNOWN)
        assert await ask(reader, writer, nbd.GO, b"\xff\xff\xff\xff\0\0") == (nbd.GO, nbd.ERROR_INVALID)
        assert await ask(reader, writer, nbd.INFO, b"") == (nbd.INFO, nbd.ERROR_INVALID)
        assert await ask(reader, writer, nbd.ABORT, b"") == (nbd.ABORT, nbd.ACK)
        assert await reader.read() == b""
        writer.close()

    served(disk, path, body)


def test_what_stands_at_the_socket_s_place_is_respected(tmp_path: Path) -> None:
    path = tmp_path / "nbd"
    path.write_text("precious")
    with pytest.raises(UsageError, match="not a socket"):
        served(MemoryDisk(), path, lambda: asyncio.sleep(0))
    assert path.read_text() == "precious"
    path.unlink()

    async def twice() -> None:
        with pytest.raises(UsageError, match="another process"):
            async with NbdServer({"root": MemoryDisk()}, path):
                pass

    served(MemoryDisk(), path, twice)
    with pytest.raises(UsageError, match=r"cannot serve on .*too long"):
        served(MemoryDisk(), tmp_path / ("x" * 200), lambda: asyncio.sleep(0))
