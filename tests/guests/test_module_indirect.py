# SPDX-License-Identifier: Apache-2.0
"""A disk whose requests are indirect tables: what its server never did is not told as success."""

from pathlib import Path

import pytest
from modulehouse import GUEST, SERVER, house_of

pytestmark = pytest.mark.guest

MACHINE = f"""
[partition.{SERVER}]
memory = "64M"
[partition.{GUEST}]
memory = "512M"
guest = true
[[adapter]]
client = "{GUEST}"
slot = 2
server = "{SERVER}"
[[map]]
client = "{GUEST}"
target = "disk"
backing = "ram:64M"
"""
AWAY = "/sys/module/virtio_crq/parameters/away_seconds"
READY = "until [ -b /dev/vda ]; do usleep 50000; done"


def test_indirect_requests_of_a_server_that_stays_away_fail(tmp_path: Path) -> None:
    with house_of(tmp_path, MACHINE) as house, house.guest("6.1", 1) as running:
        running.says("rmmod virtio_crq; insmod /lib/modules/*virtio_crq.ko indirect=1")
        running.says(READY)
        assert (
            running.says("dd if=/dev/vda of=/dev/null bs=64k count=16 iflag=direct 2>/dev/null && echo good") == "good"
        )
        running.says(f"echo 1 >{AWAY}")
        house.kill()
        write = "dd if=/dev/zero of=/dev/vda bs=64k count=1 seek=1 oflag=direct"
        assert running.says(f"if {write} 2>/dev/null; then echo good; else echo failed; fi", 60) == "failed"
