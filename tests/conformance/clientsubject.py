# SPDX-License-Identifier: Apache-2.0
"""The user-space client as the subject of hostile acts: one partition, an adapter to each of two servers."""

import os
import time
from collections import Counter
from collections.abc import Callable

from virtio_crq.cli.clientpartition import connects
from virtio_crq.client.client import Client
from virtio_crq.client.connection import State
from virtio_crq.client.device import Options
from virtio_crq.client.disk import Disk
from virtio_crq.client.entropy import Entropy
from virtio_crq.client.transfer import Transfer
from virtio_crq.conformance.hostile.trial import TrialFailed
from virtio_crq.platform.partition import Partition

PATIENCE = 8.0
BLOCK = 4096


class ClientSubject:
    """`conformance.hostile.trial.Subject`, driven by the thread that waits."""

    def __init__(self, partition: Partition, mapping: str) -> None:
        self.client = Client(connects(partition), Options(depth=8, transfer=BLOCK, ring="packed", map=mapping))
        self.faced, self.other = self.client.connections

    def connect(self) -> None:
        for connection in self.client.connections:
            connection.start()
        self.until(lambda: self.other.state is State.UP, "the well-behaved server")

    def until(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not holds():
            if time.monotonic() > deadline:
                raise TrialFailed(f"no {what}; counted {dict(self._counts())}, failure {self.faced.failure}")
            self.client.turn(0.01)

    def _counts(self) -> Counter[str]:
        total = self.faced.refusals + self.faced.endpoint.refusals + self.faced._front_end.refused
        for device in self.faced.devices.values():
            if device.front is not None:
                total += Counter(device.front.refusals)
        return total

    def up(self, device: int) -> bool:
        known = self.faced.devices.get(device)
        return self.faced.state is State.UP and known is not None and known.broken is None

    def stopped(self, device: int) -> bool:
        known = self.faced.devices.get(device)
        return device in self.faced.unusable or (known is not None and known.broken is not None)

    def counted(self, rules: tuple[str, ...]) -> int:
        counts = self._counts()
        return sum(counts[rule] for rule in rules)

    def begin(self, device: int) -> Transfer[bytes]:
        known = self.faced.devices[device]
        if isinstance(known, Entropy):
            return known.start_read(16)
        assert isinstance(known, Disk)
        return known.start_read(0, BLOCK)

    def ended(self, pending: Transfer[bytes]) -> str | None:
        if not pending.done:
            return None
        try:
            pending.result()
        except Exception as error:
            return str(error) or type(error).__name__
        return ""

    def verify(self, *devices: int) -> None:
        for device in devices:
            self.until(lambda device=device: self.up(device), f"return of device {device}")  # type: ignore[misc]
            known = self.faced.devices[device]
            if isinstance(known, Entropy):
                self._wait(known.start_read(16))
            else:
                assert isinstance(known, Disk)
                self._verify(known)
        self._verify(next(device for device in self.other.devices.values() if isinstance(device, Disk)))

    def _verify(self, disk: Disk) -> None:
        content = os.urandom(BLOCK)
        self._wait(disk.start_write(BLOCK, content))
        if self._wait(disk.start_read(BLOCK, BLOCK)) != content:
            raise TrialFailed(f"device {disk.number} does not hold what was written to it")

    def _wait(self, transfer: Transfer[bytes]) -> bytes:
        self.until(lambda: transfer.done, "end of verified I/O")
        return transfer.result()

    def close(self) -> None:
        self.client.close()
