# SPDX-License-Identifier: Apache-2.0
"""A virtual SCSI adapter that a management console made: the guest's transport leaves it alone, unless it is named."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from guestlab import Running
from modulehouse import DISK, SERVER, adapters, house_of

pytestmark = pytest.mark.guest

MACHINE = adapters(SERVER, "other", node="vscsi") + DISK
BYTES = 4 << 20
DRIVERS = "/sys/bus/vio/drivers"
BOUND = "for a in /sys/bus/vio/devices/3000000*; do d=$(readlink $a/driver); echo ${a##*/} ${d##*/}; done"
AGAIN = "rmmod virtio_crq && insmod /lib/modules/*-virtio_crq.ko"


@pytest.fixture(scope="module", params=["6.1", "7.2"])
def guest(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Path]]:
    work: Path = tmp_path_factory.mktemp("vscsi")
    (work / "disk.img").write_bytes(hashlib.shake_256(b"a disk").digest(BYTES))
    with house_of(work, MACHINE) as house, house.guest(request.param, 1) as running:
        yield running, work / "disk.img"


def test_a_plain_virtual_scsi_adapter_is_not_ours(guest: tuple[Running, Path]) -> None:
    running, _ = guest
    assert running.says("lsmod | grep -c '^virtio_crq '") == "1"
    assert running.says(BOUND).split() == ["30000002", "30000003"]
    assert running.says(f"ls -d {DRIVERS}/virtio_crq*") == f"{DRIVERS}/virtio_crq"
    assert running.says("ls /sys/block | grep vd; true") == ""


def test_the_one_that_is_named_is_bound_and_its_disk_is_the_servers(guest: tuple[Running, Path]) -> None:
    running, image = guest
    running.says(f"{AGAIN} vscsi=0x30000002")
    assert running.says(BOUND).split() == ["30000002", "virtio_crq_vscsi", "30000003"]
    running.says("while [ ! -b /dev/vda ]; do usleep 50000; done")
    said = running.says("dd if=/dev/vda bs=64k iflag=direct 2>/dev/null | md5sum").split()[0]
    assert said == hashlib.md5(image.read_bytes()).hexdigest()
    running.says(AGAIN)
    assert running.says(BOUND).split() == ["30000002", "30000003"]


def test_an_adapter_that_is_not_there_binds_nothing(guest: tuple[Running, Path]) -> None:
    running, _ = guest
    running.says(f"{AGAIN} vscsi=0x30000009")
    assert running.says(BOUND).split() == ["30000002", "30000003"]
