# SPDX-License-Identifier: Apache-2.0
"""A console whose server takes output and never gives back the right to announce more: no processor waits for ever."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from modulehouse import adapters, house_of

from virtio_crq.conformance.hostile.model import COMMON, Chain
from virtio_crq.conformance.hostile.pushedmodel import PushedDisk
from virtio_crq.conformance.hostile.server import HostileServer
from virtio_crq.hypervisor.attachment import attach
from virtio_crq.message.device import QueueResume, QueueSetup
from virtio_crq.message.session import PUSH
from virtio_crq.platform.channel import AVAIL, CREDIT, USED
from virtio_crq.virtio import console
from virtio_crq.virtio.deviceid import DeviceId
from virtio_crq.virtio.features import Features
from virtio_crq.virtio.splitring import QueueIndex, advance

pytestmark = pytest.mark.guest

MALLORY = "mallory"
PATIENCE = 20.0


@dataclass(eq=False)
class Stingy(PushedDisk):
    """A console of one port: its transmit queue is the one that is modelled."""

    device_id: int = int(DeviceId.CONSOLE)
    features: Features = COMMON
    queue_sizes: tuple[int, ...] = (16, 64)
    stingy: bool = False
    heard: bytes = b""

    def __post_init__(self) -> None:
        self.config = bytes(console.CONFIG_SIZE)

    def enable_queue(self, index: QueueIndex, setup: QueueSetup, resume: QueueResume | None) -> None:
        if index == console.TRANSMIT:
            super().enable_queue(index, setup, resume)

    def perform(self, chain: Chain) -> int:
        self.heard += b"".join(self.look(buffer.address, buffer.length) for buffer in chain.buffers)
        return 0

    def complete(self, chain: Chain, length: int) -> None:
        self.put_completion(self.used, chain.head, length, queue=console.TRANSMIT)
        self.used = advance(self.used, 1)

    def tell(self) -> None:
        credit = 0 if self.stingy else self.owed
        if self.used != self.told and self.may_tell:
            self.told, self.may_tell = self.used, False
            self.channel.announce(USED, self.number, console.TRANSMIT, self.used, credit)
        elif credit:
            self.channel.announce(CREDIT, self.number, console.TRANSMIT, 0, 1)
        self.owed -= credit


def until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, what
        os.sched_yield()


@pytest.mark.clause("CRQ-F-17")
def test_output_ends_without_the_right_to_announce_it(tmp_path: Path) -> None:
    model = Stingy(0)

    def announced(kind: int, _device: int, queue: int, position: int, credit: int) -> None:
        if queue == console.TRANSMIT and kind in (AVAIL, CREDIT):
            model.announced(kind, position, credit)

    with (
        house_of(tmp_path, adapters(MALLORY), served=False) as house,
        attach(house.directory, MALLORY) as attached,
        HostileServer(attached, features=PUSH) as server,
        house.guest("6.1", 1) as running,
    ):
        server.end.on_announced = announced
        server.plug(model)
        running.says(
            "until true </dev/hvc2; do usleep 50000; done 2>/dev/null; sleep 1000 <>/dev/hvc2 >/dev/null 2>&1 &"
        )
        running.says("echo kind >/dev/hvc2")
        until(lambda: b"kind" in model.heard, "what was written")
        with server.lock:
            model.stingy = True
        for word in ("one", "two", "three"):
            running.says(f"echo {word} >/dev/hvc2")
        assert running.says("grep partner-stalled /sys/bus/vio/devices/30000002/rules") == "partner-stalled 1"
        with server.lock:
            model.stingy = False
