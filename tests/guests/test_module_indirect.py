# SPDX-License-Identifier: Apache-2.0
"""A disk whose requests are indirect tables: it lives through its server's death, and what is lost is an error."""

from pathlib import Path

import pytest
from guestlab import Running
from killload import load_through_kills
from modulehouse import ONE_DISK, house_of

pytestmark = pytest.mark.guest

DISK_BYTES = 64 << 20
INDIRECT_DESC = 28
AWAY = "/sys/module/virtio_crq/parameters/away_seconds"
READY = "until [ -b /dev/vda ]; do usleep 50000; done"


def with_indirect(running: Running) -> None:
    """The module is loaded with the parameter, and the disk's driver took what it offers."""
    running.says("rmmod virtio_crq; insmod /lib/modules/*virtio_crq.ko indirect=1")
    running.says(READY)
    taken = running.says("cat /sys/bus/virtio/devices/virtio*/features")
    assert taken[INDIRECT_DESC] == "1"


def test_indirect_requests_live_through_the_deaths_of_their_server(tmp_path: Path) -> None:
    with (tmp_path / "disk.img").open("wb") as file:
        file.truncate(DISK_BYTES)
    with house_of(tmp_path, ONE_DISK) as house, house.guest("6.1", 2) as running:
        with_indirect(running)
        load_through_kills(house, running)


def test_indirect_requests_of_a_server_that_stays_away_fail(tmp_path: Path) -> None:
    with (tmp_path / "disk.img").open("wb") as file:
        file.truncate(DISK_BYTES)
    with house_of(tmp_path, ONE_DISK) as house, house.guest("6.1", 1) as running:
        with_indirect(running)
        read = "dd if=/dev/vda of=/dev/null bs=64k count=16 iflag=direct"
        assert running.says(f"{read} 2>/dev/null && echo good") == "good"
        running.says(f"echo 1 >{AWAY}")
        house.kill()
        write = "dd if=/dev/zero of=/dev/vda bs=64k count=1 seek=1 oflag=direct"
        assert running.says(f"if {write} 2>/dev/null; then echo good; else echo failed; fi", 60) == "failed"
