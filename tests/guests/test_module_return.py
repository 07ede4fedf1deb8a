# SPDX-License-Identifier: Apache-2.0
"""Servers that come and go faster than a guest carries on: what each said counts only as long as it is there."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from guestlab import Running
from modulehouse import ONE_ADAPTER, SERVER, ModuleHouse, house_of
from test_module_lend import READ, held, until

from virtio_crq.conformance.hostile.pushedmodel import PushedDisk
from virtio_crq.conformance.hostile.server import Bodies, HostileServer
from virtio_crq.hypervisor.attachment import attach
from virtio_crq.message import codec
from virtio_crq.message.device import QueueResume, QueueSetup
from virtio_crq.message.layout import Body
from virtio_crq.message.message import Message
from virtio_crq.message.session import PUSH
from virtio_crq.virtio.splitring import QueueIndex

pytestmark = pytest.mark.guest

KERNEL = "6.12"
MOST_SECONDS = 20  # of waiting for an answer; an unanswered request of the transport's own takes it 30
RULES = "cat /sys/bus/vio/devices/30000002/rules"
READY = "until [ -b /dev/vda ]; do usleep 50000; done"
ENDED = "until [ -s /run/status ]; do usleep 10000; done; cat /run/status"


@dataclass(eq=False)
class Leaver(PushedDisk):
    """Its server leaves as soon as it has answered HELLO, so many times, and comes back at once."""

    server: HostileServer | None = None
    leaves: int = 0

    def serve(self) -> None:
        if self.leaves and self.server is not None and self.server.end.session:
            self.leaves -= 1
            self.server.bounce()
        super().serve()


@contextmanager
def one_life(house: ModuleHouse, disk: PushedDisk, twist: Bodies | None = None) -> Iterator[HostileServer]:
    """A server that knows nothing of any before it, for as long as this lasts."""
    with attach(house.directory, SERVER) as attached:
        server = HostileServer(attached, features=PUSH)
        server.twist_body = twist
        server.plug(disk)
        with server:
            yield server


@contextmanager
def guest_of(work: Path) -> Iterator[tuple[ModuleHouse, Running]]:
    with house_of(work, ONE_ADAPTER, served=False) as house, house.guest(KERNEL, 1) as running:
        yield house, running


@dataclass(eq=False)
class Recorder(PushedDisk):
    """Knows what it was said to have had in flight."""

    listed: tuple[int, ...] = ()

    def enable_queue(self, index: QueueIndex, setup: QueueSetup, resume: QueueResume | None) -> None:
        super().enable_queue(index, setup, resume)
        self.listed = resume.heads if resume else ()


@pytest.mark.clause("CRQ-F-110", "CRQ-F-32", "CRQ-F-33")
@pytest.mark.parametrize("unsaid", [codec.Devices, codec.VqueueResumed])
def test_a_session_that_has_the_number_of_an_earlier_one_is_another(tmp_path: Path, unsaid: type[Body]) -> None:
    """Servers count from 1 and go round the session that was lost: 1, 2, 1. The second leaves something unsaid."""

    said = []

    def silent(_message: Message, body: Body) -> Body | None:
        said.append(type(body))
        return None if isinstance(body, unsaid) else body

    disk = Recorder(0)
    numbers = []
    with guest_of(tmp_path) as (house, running):
        with one_life(house, disk) as server:
            running.says(READY)
            running.says(f"until {READ}; do usleep 50000; done")
            chain = held(server, disk, running)
            numbers.append(server.end.session)
        with one_life(house, Recorder(0), silent) as server:
            until(lambda: unsaid in said, "the guest's return")
            numbers.append(server.end.session)
        disk.hold = False
        with one_life(house, disk) as server:
            assert running.says(ENDED, MOST_SECONDS) == "0"
            numbers.append(server.end.session)
            assert running.says(RULES) == ""
    assert disk.listed == (chain.head,)
    assert numbers[0] == numbers[2] != numbers[1]


@pytest.mark.clause("CRQ-F-111")
def test_an_answer_to_hello_of_a_server_that_has_left_opens_no_session(tmp_path: Path) -> None:
    disk = Leaver(0)
    with guest_of(tmp_path) as (house, running), one_life(house, disk) as server:
        disk.server = server
        running.says(READY)
        for _ in range(5):
            with server.lock:
                disk.leaves = 1
                server.bounce()
            running.says(f"{READ}", MOST_SECONDS)
            until(lambda: not disk.leaves, "a server that left")
        assert running.says(RULES) == ""
