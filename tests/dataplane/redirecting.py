# SPDX-License-Identifier: Apache-2.0
"""A disk over a file on a platform that transfers between files and the guest's pages, as it was told to."""

import os
import tempfile

from disk import IN, Disk
from rig import WINDOW, WRITE, Platform, Rig

from virtio_crq.dataplane.filestore import FileStore
from virtio_crq.dataplane.redirected import RedirectedBlockService

PAGE = 4096
SECTORS = 2048
HEADERS, PAGES = 0x10000, 0x40000  # of guest memory
CONTENT = b"".join(bytes([index % 251 + 1]) * 512 for index in range(SECTORS))


class RedirectingPlatform(Platform):
    """Transfers as it was told to answer: a number for one, otherwise it moves the bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.files: list[int] = []
        self.reclaimed: list[int] = []
        self.asked: list[tuple[int, int, int, bool]] = []  # remote, length, position, write
        self.answers: list[int | None] = []

    def lend(self, descriptor: int) -> int:
        self.files.append(os.dup(descriptor))
        return len(self.files) - 1

    def reclaim(self, file: int) -> None:
        os.close(self.files[file])
        self.reclaimed.append(file)

    def transfer(self, file: int, remote: int, length: int, position: int, write: bool) -> int:
        self.asked.append((remote - WINDOW, length, position, write))
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            return answer
        there = remote - WINDOW
        if write:
            return os.pwrite(self.files[file], self.guest[there : there + length], position)
        data = os.pread(self.files[file], length, position)
        self.guest[there : there + len(data)] = data
        return len(data)


class Scene:
    def __init__(
        self,
        service: type[RedirectedBlockService] = RedirectedBlockService,
        platform: RedirectingPlatform | None = None,
        **options: object,
    ) -> None:
        self.platform = platform or RedirectingPlatform()
        self.rig = Rig(platform=self.platform)
        self.file = tempfile.TemporaryFile()  # noqa: SIM115 — closed below
        self.file.write(CONTENT)
        self.file.flush()
        self.store = FileStore(self.file.fileno(), SECTORS * 512, "threads")
        self.disk = Disk(self.rig, store=self.store, sectors=SECTORS, service=service, **options)
        self.service = self.disk.service
        self.made = 0
        self.written: list[int] = []

    def request(self, kind: int, sector: int, parts: list[tuple[int, int]], data: bytes = b"") -> int:
        """One request whose data lies in these pieces (guest address, length); its head."""
        at = HEADERS + 64 * self.made
        self.made += 1
        memory = self.platform.guest
        memory[at : at + 17] = kind.to_bytes(8, "little") + sector.to_bytes(8, "little") + b"\xee"
        flags = WRITE if kind == IN else 0
        for address, length in parts:
            memory[address : address + length], data = data[:length].ljust(length, b"\0"), data[length:]
        head = self.disk.ring.chain([(at, 16, 0), *((a, n, flags) for a, n in parts), (at + 16, 1, WRITE)])
        self.disk.ring.make_available(head)
        return at + 16

    def go(self) -> None:
        self.disk.announce()
        self.rig.run()
        while self.store.pending:
            self.rig.run()
        self.written = [written for _, written in self.disk.ring.collect()]

    def status(self, at: int) -> int:
        return self.platform.guest[at]

    def guest(self, at: int, length: int) -> bytes:
        return bytes(self.platform.guest[at : at + length])

    def data_copies(self) -> list[tuple[int, int, int]]:
        return [copy for copy in self.platform.log if PAGES <= copy[0] < PAGES + 0x40000]

    def close(self) -> None:
        self.rig.link.close()
        self.store.close()
        self.file.close()
