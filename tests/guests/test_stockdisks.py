# SPDX-License-Identifier: Apache-2.0
"""The two disks of QEMU's own, and how the three are told apart in the guest."""

import json
from itertools import pairwise
from pathlib import Path

from virtio_crq.guests.stockdisks import DISKS, found_devices, stock_disks

LISTED = """\
loop0 /sys/block/loop0/device
sda /sys/devices/vio/71000003/host0/target0:0:0/0:0:0:0
vda /sys/devices/pci0000:00/0000:00:00.0/virtio0
vdb /sys/devices/vio/72000010/virtio1
"""


def test_both_are_on_the_same_file_in_the_same_way(tmp_path: Path) -> None:
    words = stock_disks(tmp_path / "image", "threads")
    nodes = [json.loads(after) for word, after in pairwise(words) if word == "-blockdev"]
    assert len(nodes) == 2
    assert nodes[0]["file"] == nodes[1]["file"]
    assert nodes[0]["file"] == {
        "driver": "file",
        "filename": str(tmp_path / "image"),
        "locking": "off",
        "aio": "threads",
    }
    assert [words[at + 1].partition(",")[0] for at, word in enumerate(words) if word == "-device"] == [
        "spapr-vscsi",
        "scsi-hd",
        "virtio-blk-pci",
    ]


def test_the_three_are_told_apart_by_their_place_in_sysfs() -> None:
    assert found_devices(LISTED, DISKS) == {
        "ibmvscsi": "/dev/sda",
        "virtio-blk-pci": "/dev/vda",
        "virtio-crq": "/dev/vdb",
    }
    assert "virtio-crq" not in found_devices(LISTED.replace("vdb", "loop1"), DISKS)
