# SPDX-License-Identifier: Apache-2.0
"""What a server reaches of a guest that lends its pages: those of requests in flight, and nothing before or after."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from guestlab import Running
from modulehouse import adapters, house_of

from virtio_crq.conformance.hostile.model import Chain, Disk
from virtio_crq.conformance.hostile.pushedmodel import PushedDisk
from virtio_crq.conformance.hostile.server import HostileServer
from virtio_crq.errors import PlatformError
from virtio_crq.hypervisor.attachment import attach
from virtio_crq.message.session import PUSH
from virtio_crq.virtio import block

pytestmark = pytest.mark.guest

KERNEL = "7.2"  # its dd reads past the page cache
PATIENCE = 30.0
MALLORY = "mallory"
READ = "dd if=/dev/vda of=/run/read bs=4k count=1 iflag=direct 2>/dev/null"


@dataclass(eq=False)
class Forgetful(PushedDisk):
    """Says that it wrote everything, and does not say how the request ended."""

    forgets: bool = False

    def complete(self, chain: Chain, length: int) -> None:
        if not self.forgets:
            super().complete(chain, length)
            return
        self.put_completion(self.used, chain.head, chain.room, flags=0, tail=0)
        self.used = (self.used + 1) & 0xFFFF


@contextmanager
def served(work: Path, disk: Disk, parameters: str) -> Iterator[tuple[HostileServer, Running]]:
    """A guest whose disk is served here."""
    features = 0 if "push=0" in parameters else PUSH
    words = " ".join(f"virtio_crq.{word}" for word in parameters.split())
    with (
        house_of(work, adapters(MALLORY), served=False) as house,
        attach(house.directory, MALLORY) as attached,
        HostileServer(attached, features=features) as server,
        house.guest(KERNEL, 1, words) as running,
    ):
        server.plug(disk)
        running.says("until [ -b /dev/vda ]; do usleep 50000; done")
        running.says(f"until {READ}; do usleep 50000; done")
        yield server, running


def until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, what
        os.sched_yield()


def held(server: HostileServer, disk: Disk, running: Running) -> Chain:
    """A read of the guest, in flight."""
    with server.lock:
        disk.hold = True
    running.says(f"({READ}; echo $? >/run/status) >/dev/null 2>&1 &")
    until(lambda: bool(disk.pending), "a request")
    return disk.pending[0]


@pytest.mark.clause("CRQ-F-98", "CRQ-F-99", "CRQ-F-100")
@pytest.mark.parametrize(("disk", "parameters"), [(Disk(0), "push=0 lend_kib=64"), (PushedDisk(0), "lend_kib=64")])
def test_a_server_reaches_a_lent_page_only_while_its_request_is_in_flight(
    tmp_path: Path, disk: Disk, parameters: str
) -> None:
    with served(tmp_path, disk, parameters) as (server, running):
        for _ in range(20):  # so that addresses are given again
            chain = held(server, disk, running)
            data = next(
                buffer for buffer in chain.buffers if buffer.writable and buffer.length == block.SECTOR_SIZE * 8
            )
            with server.lock:
                disk.put(data.address, bytes(data.length))  # now it may
                disk.hold = False
            running.says("until [ -s /run/status ]; do usleep 10000; done; rm /run/status")
            with server.lock, pytest.raises(PlatformError):
                disk.put(data.address, b"late")
        assert running.says("cat /sys/bus/vio/devices/30000002/rules") == ""


@pytest.mark.clause("CRQ-F-101")
def test_a_request_whose_device_does_not_say_how_it_ended_has_failed(tmp_path: Path) -> None:
    disk = Forgetful(0)
    with served(tmp_path, disk, "lend_kib=64") as (server, running):
        assert running.says(f"if {READ}; then echo good; fi") == "good"
        with server.lock:
            disk.forgets = True
        assert running.says(f"if {READ}; then echo good; else echo failed; fi") == "failed"
        with server.lock:
            disk.forgets = False
        assert running.says(f"if {READ}; then echo good; fi") == "good"
