# SPDX-License-Identifier: Apache-2.0
"""One request queue of a disk, and the requests that are in it: a slot of its driver for each."""

import errno
from collections.abc import Iterator
from dataclasses import dataclass

from virtio_crq.client.transfer import Transfer
from virtio_crq.dataplane.blockdriver import BlockDriver
from virtio_crq.virtio import block


class Pieces:
    """One transfer made of several requests: ends when the last has, with the first error if there was one."""

    def __init__(self, transfer: Transfer[bytes], buffer: bytearray | None, count: int) -> None:
        self.transfer = transfer
        self.buffer = buffer
        self.left = count
        self.error: Exception | None = None

    def ended(self, error: Exception | None) -> None:
        self.error = self.error or error
        self.left -= 1
        if self.left:
            return
        if self.error is not None:
            self.transfer.fail(self.error)
        else:
            self.transfer.finish(bytes(self.buffer) if self.buffer is not None else b"")


@dataclass
class Request:
    kind: int
    sector: int
    length: int
    at: int  # where in the transfer's buffer
    data: memoryview | None
    pieces: Pieces


class RequestQueue:
    """`running`: what the device has. One more may be `held`: in its slot, and refused by a busy platform or ring."""

    def __init__(self, driver: BlockDriver) -> None:
        self.driver = driver
        self.running: dict[int, Request] = {}
        self.held: tuple[int, Request] | None = None

    @property
    def outstanding(self) -> int:
        return len(self.running) + (self.held is not None)

    def retry(self) -> bool:
        """Whether the queue takes requests now: what is held comes first."""
        return self.held is None or self._submit(*self.held)

    def start(self, request: Request) -> bool:
        """False when there is no slot for it; a request that got one is the queue's, be it held."""
        slot = self.driver.acquire(request.length) if self.held is None else -1
        if slot < 0:
            return False
        if request.data is not None:
            self.driver.port.write(self.driver.data(slot), bytes(request.data))
        self._submit(slot, request)
        return True

    def _submit(self, slot: int, request: Request) -> bool:
        if self.driver.submit(slot, request.kind, request.sector, request.length) < 0:
            self.held = slot, request
            return False
        self.held = None
        self.running[slot] = request
        return True

    def reap(self) -> Iterator[tuple[Request, OSError | None]]:
        """What has ended, its data in place."""
        while (slot := self.driver.reap()) >= 0:
            request = self.running.pop(slot)
            error = outcome(self.driver.status(slot), request)
            if error is None and request.pieces.buffer is not None:
                data = self.driver.port.read(self.driver.data(slot), request.length)
                request.pieces.buffer[request.at : request.at + request.length] = data
            self.driver.release(slot)
            yield request, error

    def abandon(self) -> list[Request]:
        """All of its requests, which nobody will answer."""
        requests = [*self.running.values(), *([self.held[1]] if self.held else [])]
        self.running.clear()
        self.held = None
        return requests

    def take_back(self) -> bool:
        """Have the memory of requests again; False when the platform was too busy for some of it."""
        if self.driver.mapping.finish():
            return False
        while (slot := self.driver.reap()) >= 0:
            self.driver.release(slot)
        return self.driver.lingering == 0


def outcome(status: int, request: Request) -> OSError | None:
    """The status byte of a request as the error a caller of an operating system would see."""
    if status == block.S_OK:
        return None
    what = {block.T_IN: "read", block.T_OUT: "write", block.T_FLUSH: "flush"}.get(request.kind, "request")
    if status == block.S_UNSUPP:
        return OSError(errno.EOPNOTSUPP, f"the device does not support this {what}")
    return OSError(errno.EIO, f"the device failed a {what} of {request.length} bytes at sector {request.sector}")
