# SPDX-License-Identifier: Apache-2.0
"""A disk whose short buffers are copied through memory that stays mapped: no TCE call for a request, and right data."""

from pathlib import Path

import pytest
from guestlab import Running
from modulehouse import ONE_DISK, ModuleHouse, house_of

from virtio_crq.hypervisor.conversation import ask

pytestmark = pytest.mark.guest

DISK_BYTES = 16 << 20
READS = 512
READY = "until [ -b /dev/vda ]; do usleep 50000; done"
POOL = "/sys/bus/vio/devices/30000002/pool"
READ = f"dd if=/dev/vda of=/dev/null bs=4k count={READS} iflag=direct 2>/run/said || cat /run/said"
# A random file written and read back by pieces of 4 KiB (through the pool) and of 1 MiB (past it), and cut short.
VERIFY = """
dd if=/dev/urandom of=/run/new bs=64k count=64 2>/dev/null
dd if=/run/new of=/dev/vda bs=4k oflag=direct 2>/dev/null
dd if=/dev/vda bs=1M count=4 iflag=direct 2>/dev/null | cmp - /run/new && echo short-then-long
dd if=/run/new of=/dev/vda bs=1M oflag=direct 2>/dev/null
dd if=/dev/vda bs=4k count=1024 iflag=direct 2>/dev/null | cmp - /run/new && echo long-then-short
"""


def load_with(running: Running, kib: int) -> None:
    running.says(f"rmmod virtio_crq; insmod /lib/modules/*virtio_crq.ko lend_kib=0 pool_kib={kib}")
    running.says(READY)


def tce_calls(house: ModuleHouse) -> int:
    counted = ask(house.directory, "show")["adapters"][0]["client_counters"]
    return sum(counted.get(name, 0) for name in ("H_PUT_TCE", "H_PUT_TCE_INDIRECT", "H_STUFF_TCE"))


def mapping_calls(house: ModuleHouse, running: Running) -> float:
    """TCE calls of the guest for each of some reads of 4 KiB."""
    before = tce_calls(house)
    assert running.says(READ) == ""
    return (tce_calls(house) - before) / READS


# On 6.1 a buffer of dd's is not aligned for direct reads: it reads through the page cache, by more at once.
@pytest.mark.parametrize(("kernel", "direct"), [("6.1", False), ("7.2", True)])
def test_a_pool_saves_the_tce_calls_of_short_requests(tmp_path: Path, kernel: str, direct: bool) -> None:
    with (tmp_path / "disk.img").open("wb") as file:
        file.truncate(DISK_BYTES)
    with house_of(tmp_path, ONE_DISK) as house, house.guest(kernel, 1) as running:
        load_with(running, 0)
        assert running.says(f"cat {POOL}") == "none"
        mapped = mapping_calls(house, running)
        load_with(running, 2048)
        pooled = mapping_calls(house, running)
        assert pooled < mapped
        if direct:
            assert mapped > 5
            assert pooled < 0.1
        before = tce_calls(house)
        assert running.says(VERIFY) == "short-then-long\nlong-then-short"
        assert tce_calls(house) > before  # what is longer than `pool_bytes` is mapped
        counted = {
            name: int(count) for name, count in (row.split() for row in running.says(f"cat {POOL}").splitlines())
        }
        assert counted["size"] == 2048 << 10
        assert counted["copies"] > 0
        running.says("rmmod virtio_crq; insmod /lib/modules/*virtio_crq.ko")  # it is taken back, nothing hangs
        running.says(READY)
