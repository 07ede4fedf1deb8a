# SPDX-License-Identifier: Apache-2.0
"""A disk of several queues in a guest: virtio_blk takes one for each processor, and all live through kills."""

from pathlib import Path

import pytest
from killload import load_through_kills
from modulehouse import ONE_DISK, SERVER, ModuleHouse, house_of
from test_module_pool import VERIFY
from test_module_push import GOOD, disk_in

from virtio_crq.vios.control import ask

pytestmark = pytest.mark.guest

QUEUES, PROCESSORS = 4, 2
HARDWARE_QUEUES = "ls /sys/block/vda/mq | wc -w"
EACH = " & ".join(
    f"taskset {1 << cpu:x} dd if=/dev/vda of=/dev/null bs=64k count=64 iflag=direct 2>/dev/null"
    for cpu in range(PROCESSORS)
)


def several(fetch: str) -> str:
    text = ONE_DISK.replace('memory = "64M"', f'memory = "64M"\nfetch = "{fetch}"', 1)
    return f"{text}queues = {QUEUES}\n"


def requests(house: ModuleHouse) -> list[int]:
    """What each queue of the disk has answered, as far as they are in use."""
    (adapter,) = ask(house.directory / f"vios-{SERVER}.sock", "lsmap")
    return [queue["requests"] for queue in adapter["targets"][0]["queues"] if queue["enabled"]]


@pytest.mark.parametrize(("kernel", "fetch"), [("6.1", "push"), ("6.12", "batched"), ("7.2", "push")])
def test_each_processor_has_a_queue_which_lives_through_the_deaths_of_its_server(
    tmp_path: Path, kernel: str, fetch: str
) -> None:
    disk_in(tmp_path)
    with house_of(tmp_path, several(fetch)) as house, house.guest(kernel, PROCESSORS) as running:
        assert f"{PROCESSORS}/0/0 default/read/poll queues" in running.says("dmesg | grep 'poll queues'")
        assert running.says(HARDWARE_QUEUES) == str(PROCESSORS)
        assert running.says(VERIFY) == GOOD
        before = requests(house)
        running.says(f"{EACH} & wait")
        grown = [after - earlier for after, earlier in zip(requests(house), before, strict=True)]
        assert len(grown) == PROCESSORS
        assert min(grown) >= 64, "each processor's reads went by its own queue"
        load_through_kills(house, running)
        assert min(requests(house)) > 0
