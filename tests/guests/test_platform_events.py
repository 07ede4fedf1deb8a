# SPDX-License-Identifier: Apache-2.0
"""The platform suspends a real guest's connection (0xFF06): its driver enables the CRQ again, and no I/O is lost."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from guestlab import Running
from modulehouse import GUEST, ONE_DISK, SERVER, ModuleHouse, house_of

from virtio_crq.hypervisor.conversation import ask
from virtio_crq.papr.entry import InitializationCode, TransportEvent, initialization, to_registers

pytestmark = pytest.mark.guest

PATIENCE = 20.0
ADAPTER = "/sys/bus/vio/drivers/virtio_crq/30000002"
DISK = "/dev/vda"
CALL, _ = to_registers(initialization(InitializationCode.INITIALIZE))
# Pieces are written and read back past the page cache until there is a file `stop`; the first that differs ends it.
LOAD = f"""
dd if=/dev/urandom of=/run/piece bs=64k count=16 2>/dev/null
until [ -e /run/stop ]; do
    dd if=/run/piece of={DISK} bs=64k oflag=direct 2>/dev/null || exit 1
    dd if={DISK} bs=64k count=16 iflag=direct 2>/dev/null | cmp - /run/piece || exit 1
    echo . >>/run/rounds
done
"""


class Suspended:
    """A guest with a verified load on its disk, on a machine whose platform suspends."""

    def __init__(self, house: ModuleHouse, running: Running) -> None:
        self.house, self.running = house, running
        running.says(f"while [ ! -b {DISK} ]; do usleep 50000; done")

    def begin(self) -> None:
        self.running.says("rm -f /run/rounds /run/stop /run/end; touch /run/rounds")
        self.running.says(f"(({LOAD}); echo $? >/run/end) >/run/said 2>&1 &")
        self.progress()

    def progress(self) -> None:
        """Two rounds of the load more: what was under way has ended, and another began and ended after it."""
        before = self.rounds()
        deadline = time.monotonic() + PATIENCE
        while self.rounds() < before + 2:
            assert time.monotonic() < deadline, self.running.says("cat /run/said /run/end; dmesg | tail -n 20")

    def rounds(self) -> int:
        return int(self.running.says("wc -l </run/rounds"))

    def end(self) -> None:
        self.progress()
        assert self.running.says("touch /run/stop; while [ ! -s /run/end ]; do usleep 50000; done; cat /run/end") == "0"
        assert self.running.says("dmesg | grep -E 'I/O error|rule'; true") == ""

    def post(self, partition: str, event: int = TransportEvent.PARTNER_SUSPENDED) -> None:
        row = self.adapter()
        unit = row["unit_address"] if partition == GUEST else row["server_unit_address"]
        ask(self.house.directory, "post_event", partition=partition, unit_address=unit, event=event)

    def adapter(self) -> dict[str, Any]:
        (row,) = ask(self.house.directory, "show")["adapters"]
        return dict(row)

    def session(self) -> str:
        return self.running.says(f"cat {ADAPTER}/session")

    def calls(self, partition: str) -> list[str]:
        """The calls by which a connection is made, since tracing was turned on, in order."""
        found = []
        entries = ask(self.house.directory, "read_trace", after=self._last)
        while entries:
            found += [row["call"] for row in entries if row["partition"] == partition and _makes_connection(row)]
            self._last = entries[-1]["sequence"]
            entries = ask(self.house.directory, "read_trace", after=self._last)
        return found

    def trace(self) -> None:
        self._last = 0
        ask(self.house.directory, "trace", on=True)
        self.calls(GUEST)


def _makes_connection(row: dict[str, Any]) -> bool:
    return row["call"] in ("H_REG_CRQ", "H_FREE_CRQ", "H_ENABLE_CRQ") or row["inputs"].get("high") == CALL


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suspended]:
    work: Path = tmp_path_factory.mktemp("events")
    with (work / "disk.img").open("wb") as disk:
        disk.truncate(64 << 20)
    with house_of(work, ONE_DISK) as house, house.guest("6.1", 2) as running:
        yield Suspended(house, running)


@pytest.mark.clause("CRQ-F-30")
def test_a_guest_whose_partner_was_suspended_enables_its_queue_and_goes_on(scene: Suspended) -> None:
    scene.begin()
    before = scene.session()
    scene.trace()
    scene.post(GUEST)
    scene.end()
    assert scene.calls(GUEST) == ["H_ENABLE_CRQ", "H_SEND_CRQ"]
    assert scene.session() not in (before, "0")
    assert scene.adapter()["client_queue"] == "open"


@pytest.mark.clause("CRQ-F-30")
def test_both_halves_are_suspended_as_by_a_migration(scene: Suspended) -> None:
    scene.begin()
    before = scene.session()
    scene.trace()
    scene.post(GUEST)
    scene.post(SERVER)
    scene.end()
    enabled = [call for call in scene.calls(GUEST) if call != "H_SEND_CRQ"]
    assert enabled == ["H_ENABLE_CRQ"]
    assert scene.session() not in (before, "0")


def test_a_guest_that_is_suspended_while_it_has_no_partner_meets_the_next_one(scene: Suspended) -> None:
    scene.begin()
    scene.house.kill()
    scene.post(GUEST)
    scene.house.start()
    scene.end()


def test_what_the_platform_only_announces_changes_nothing(scene: Suspended) -> None:
    scene.begin()
    before = scene.session()
    scene.trace()
    for event in (TransportEvent.BACKING_FAILOVER, TransportEvent.PREPARE_FOR_SUSPEND, TransportEvent.CLIENT_RESUMED):
        scene.post(GUEST, event)
    scene.end()
    assert scene.calls(GUEST) == []
    assert scene.session() == before


def test_of_an_event_that_nobody_knows_the_worst_is_assumed(scene: Suspended) -> None:
    scene.begin()
    scene.trace()
    scene.post(GUEST, 0x7E)
    scene.end()
    assert scene.calls(GUEST)[:2] == ["H_FREE_CRQ", "H_REG_CRQ"]
