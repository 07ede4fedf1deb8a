# SPDX-License-Identifier: Apache-2.0
"""An entropy device of the client."""

from collections import deque
from collections.abc import Callable

from virtio_crq.client.device import Device, Site
from virtio_crq.client.transfer import Transfer
from virtio_crq.dataplane.entropydriver import EntropyDriver
from virtio_crq.dataplane.front import Front
from virtio_crq.errors import DeviceFault, VirtioCrqError
from virtio_crq.message.conversations import DeviceDescription

SLOTS = 4
REQUEST_MOST = 4096  # bytes that one request can bring


class Entropy(Device):
    """`read(n)` gives exactly `n` bytes: a device may answer each request with fewer than asked (§5.4.6)."""

    def __init__(
        self,
        site: Site,
        description: DeviceDescription,
        submitted: Callable[[Device], None],
        wait: Callable[[Transfer[bytes]], None],
    ) -> None:
        super().__init__(site, description)
        self.driver: EntropyDriver | None = None
        self._submitted = submitted
        self._wait = wait
        self._waiting: deque[tuple[int, Transfer[bytes]]] = deque()
        self._gathered = bytearray()
        self._asked = 0

    @property
    def busy(self) -> bool:
        return super().busy or (bool(self._waiting) and not self._asked)

    def read(self, length: int) -> bytes:
        transfer = self.start_read(length)
        self._wait(transfer)
        return transfer.result()

    def start_read(self, length: int) -> Transfer[bytes]:
        transfer: Transfer[bytes] = Transfer()
        if self.broken is not None:
            transfer.fail(self.broken)
        elif length <= 0:
            transfer.finish(b"")
        else:
            self._waiting.append((length, transfer))
            self._submitted(self)
        return transfer

    def build(self, front: Front) -> None:
        slots = min(SLOTS, front.ring.size)
        mapping = self.slots(front, slots, 0, REQUEST_MOST, f"entropy device {self.number}")
        self.site.devices -= 1
        self.driver = EntropyDriver(front.ring, mapping)

    def reap(self) -> None:
        while self.driver is not None:
            slot = self.driver.reap()
            if slot < 0:
                break
            self._asked -= 1
            content = self.driver.take(slot)
            if not content:
                raise DeviceFault("entropy-empty", f"device {self.number} answered a request with no byte (§5.4.6.1)")
            self._gathered += content
        while self._waiting and len(self._gathered) >= self._waiting[0][0]:
            length, transfer = self._waiting.popleft()
            content = bytes(self._gathered[:length])
            del self._gathered[:length]
            transfer.finish(content)

    def fill(self) -> None:
        missing = sum(length for length, _transfer in self._waiting) - len(self._gathered)
        while self.driver is not None and missing > self._asked * REQUEST_MOST:
            if self.driver.submit(missing) < 0:
                return
            self._asked += 1

    def abandon(self, error: VirtioCrqError) -> None:
        waiting, self._waiting = self._waiting, deque()
        for _length, transfer in waiting:
            transfer.fail(error)

    def forget(self) -> None:
        if self.driver is not None:
            self.driver.abandon()

    def take_back(self) -> bool:
        if self.driver is None:
            return True
        if self.driver.mapping.finish():
            return False
        while (slot := self.driver.reap()) >= 0:
            self.driver.take(slot)
        return self.driver.lingering == 0
