# SPDX-License-Identifier: Apache-2.0
"""A guest that pushes its requests and lends its pages: right data, few calls, on each kernel, and through kills."""

from pathlib import Path

import pytest
from guestlab import Running
from killload import load_through_kills
from modulehouse import ONE_DISK, ModuleHouse, house_of
from test_module_indirect import READY
from test_module_pool import VERIFY

from virtio_crq.bench.row import MAPPING_CALLS
from virtio_crq.guests.cache import KERNELS
from virtio_crq.hypervisor.conversation import ask

pytestmark = pytest.mark.guest

DISK_BYTES = 64 << 20
READS = 256
PUSHING, FETCHING = (
    ONE_DISK.replace('memory = "64M"', f'memory = "64M"\nfetch = "{fetch}"', 1) for fetch in ("push", "batched")
)
NEITHER, LENT, BOTH = "push=0 lend_kib=0", "push=0", ""  # the module does both unless told otherwise
POOLED = "pool_kib=2048 pool_bytes=4096"
ADAPTER = "/sys/bus/vio/devices/30000002"
GOOD = "short-then-long\nlong-then-short"


def disk_in(work: Path) -> None:
    with (work / "disk.img").open("wb") as file:
        file.truncate(DISK_BYTES)


def load_with(running: Running, parameters: str) -> None:
    running.says(f"rmmod virtio_crq; insmod /lib/modules/*virtio_crq.ko {parameters}")
    running.says(READY)


def costs(house: ModuleHouse, running: Running, disk: str = "/dev/vda") -> dict[str, float]:
    """What one read of 4 KiB costs that has the disk for itself: all calls, those that map, copies."""

    def counted() -> tuple[int, int, int]:
        wire = ask(house.directory, "show")["adapters"][0]
        sides = [wire["client_counters"], wire["server_counters"]]
        calls = {name: sum(side.get(name, 0) for side in sides) for side in sides for name in side}
        mapping = sum(count for name, count in calls.items() if name in MAPPING_CALLS)
        return sum(count for name, count in calls.items() if name.startswith("H_")), mapping, calls["copies"]

    before = counted()
    read = f"dd if={disk} of=/dev/null bs=4k count={READS} iflag=direct"
    assert running.says(f"{read} 2>/run/said || cat /run/said") == ""
    return {
        name: (after - earlier) / READS
        for name, after, earlier in zip(("calls", "mapping", "copies"), counted(), before, strict=True)
    }


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_way_to_carry_a_disk_carries_right_data_and_the_module_goes_from_one_to_the_other(
    tmp_path: Path, kernel: str
) -> None:
    disk_in(tmp_path)
    with house_of(tmp_path, PUSHING) as house, house.guest(kernel, 2) as running:
        for parameters in (BOTH, "lend_kib=0", LENT, POOLED, "indirect=1", NEITHER, BOTH):
            load_with(running, parameters)
            assert running.says(VERIFY) == GOOD, parameters
            assert running.says(f"cat {ADAPTER}/rules") == "", parameters


def test_a_pushed_read_of_a_lent_page_is_three_copies_and_two_mapping_calls(tmp_path: Path) -> None:
    disk_in(tmp_path)
    with house_of(tmp_path, PUSHING) as house, house.guest("7.2", 1) as running:
        load_with(running, NEITHER)
        asked = costs(house, running)
        load_with(running, BOTH)
        pushed = costs(house, running)
        load_with(running, POOLED)
        pooled = costs(house, running)
    assert asked["mapping"] > 5
    assert asked["copies"] > 8
    assert 1.9 < pushed["mapping"] < 2.1
    assert 2.9 < pushed["copies"] < 3.1
    assert pushed["calls"] < asked["calls"] / 2
    assert pooled["mapping"] < 0.1
    assert pooled["calls"] < pushed["calls"] - 1.9


def test_a_server_that_does_not_take_records_has_its_rings_read(tmp_path: Path) -> None:
    disk_in(tmp_path)
    with house_of(tmp_path, FETCHING) as house, house.guest("7.2", 1) as running:
        load_with(running, BOTH)
        assert running.says(VERIFY) == GOOD
        assert costs(house, running)["copies"] > 8


@pytest.mark.parametrize("parameters", [LENT, BOTH, POOLED])
def test_requests_live_through_the_deaths_of_their_server(tmp_path: Path, parameters: str) -> None:
    disk_in(tmp_path)
    with house_of(tmp_path, PUSHING) as house, house.guest("6.1", 2) as running:
        load_with(running, parameters)
        load_through_kills(house, running)


@pytest.mark.clause("CRQ-F-69")
def test_a_disk_that_was_pushed_is_set_up_anew_by_a_server_that_does_not_take_records(tmp_path: Path) -> None:
    disk_in(tmp_path)
    with house_of(tmp_path, PUSHING) as house, house.guest("7.2", 1) as running:
        load_with(running, BOTH)
        house.kill()
        house.describe(FETCHING)
        house.start()
        running.says(f"until grep -q 'resume-push 1' {ADAPTER}/rules; do usleep 50000; done")
        running.says("until head -c 4096 /dev/vd[a-z] >/dev/null 2>&1; do usleep 50000; done")
        disk = running.says("echo /dev/vd[a-z]")
        assert running.says(VERIFY.replace("/dev/vda", disk)) == GOOD
        assert costs(house, running, disk)["copies"] > 8
