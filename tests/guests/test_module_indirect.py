# SPDX-License-Identifier: Apache-2.0
"""A disk whose requests are indirect tables: it lives through its server's death, and what is lost is an error."""

import os
import time
from pathlib import Path

import pytest
from guestlab import Running
from modulehouse import ONE_DISK, house_of

pytestmark = pytest.mark.guest

DISK_BYTES = 64 << 20
PATIENCE = 60.0
KILLS = 3
INDIRECT_DESC = 28
AWAY = "/sys/module/virtio_crq/parameters/away_seconds"
READY = "until [ -b /dev/vda ]; do usleep 50000; done"
# Each turn writes other bytes to eight places at once, and reads them back; the first difference or error ends it.
LOAD = """
turn=0
while [ ! -e /run/enough ]; do
    turn=$((turn + 1))
    for place in 1 2 3 4 5 6 7 8; do
        (dd if=/dev/urandom of=/run/new$place bs=64k count=1 &&
         dd if=/run/new$place of=/dev/vda bs=64k seek=$place oflag=direct &&
         dd if=/dev/vda of=/run/old$place bs=64k skip=$place count=1 iflag=direct &&
         cmp /run/new$place /run/old$place) 2>/run/said$place || cp /run/said$place /run/wrong &
    done
    wait
    echo $turn >/run/turn
done
"""


def with_indirect(running: Running) -> None:
    """The module is loaded with the parameter, and the disk's driver took what it offers."""
    running.says("rmmod virtio_crq; insmod /lib/modules/*virtio_crq.ko indirect=1")
    running.says(READY)
    taken = running.says("cat /sys/bus/virtio/devices/virtio*/features")
    assert taken[INDIRECT_DESC] == "1"


def turns(running: Running) -> int:
    return int(running.says("cat /run/turn 2>/dev/null || echo 0"))


def until_turn(running: Running, number: int) -> None:
    end = time.monotonic() + PATIENCE
    while turns(running) < number:
        assert time.monotonic() < end, f"turn {number}"
        os.sched_yield()


def test_indirect_requests_live_through_the_deaths_of_their_server(tmp_path: Path) -> None:
    with (tmp_path / "disk.img").open("wb") as file:
        file.truncate(DISK_BYTES)
    with house_of(tmp_path, ONE_DISK) as house, house.guest("6.1", 2) as running:
        with_indirect(running)
        running.says(f"cat >/run/load <<'END'\n{LOAD}\nEND\nsh /run/load >/dev/null 2>&1 &")
        for _ in range(KILLS):
            until_turn(running, turns(running) + 2)
            house.kill()
            house.start()
        until_turn(running, turns(running) + 2)
        running.says("touch /run/enough; wait")
        assert running.says("cat /run/wrong 2>/dev/null; true") == ""


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
