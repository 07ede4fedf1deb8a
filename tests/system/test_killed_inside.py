# SPDX-License-Identifier: Apache-2.0
"""A client process is killed at every stop point of the engine, with the real hypervisor, server and other clients.

Its next life is served, and another client's verified I/O on the same worker goes on all the while.
"""

import signal
from pathlib import Path

import pytest
from armedlives import Lives
from runningmachine import RunningMachine
from verifiedload import load_on

from virtio_crq.hypervisor import binding_stops

BLOCKS = 256
MACHINE = """
[machine]
name = "system"
[partition.vios1]
memory = "32M"
[partition.web1]
memory = "16M"
[partition.web2]
memory = "16M"
[[adapter]]
client = "web1"
slot = 2
server = "vios1"
[[adapter]]
client = "web2"
slot = 2
server = "vios1"
[[map]]
client = "web1"
target = "root"
backing = "ram:1M"
[[map]]
client = "web2"
target = "root"
backing = "ram:1M"
"""
# Points that a client comes by in bringing up, reading, writing and leaving; the others are the server's or a test's.
FEWEST = 15


@pytest.mark.timeout(120)
def test_a_client_killed_at_any_point_harms_nobody_and_comes_back(tmp_path: Path) -> None:
    with RunningMachine(tmp_path, MACHINE) as machine, load_on(machine.state, "web2", "root", BLOCKS, 4) as load:
        lives = Lives(machine, "mortal.py", "web1", "root")
        try:
            died = []
            for point in binding_stops.stop_points():
                for skip in (0, 9):
                    ended = lives.one(f"{point} {skip}", [load])
                    assert ended in (0, signal.SIGKILL), (
                        f"life armed at {point} after {skip}: {ended}\n{machine.logs()}"
                    )
                    if ended:
                        died.append(point)
                    load.run(1, patience=10)  # the other client goes on, however busy this machine is
            assert lives.one("- 0", [load]) == 0, "an unarmed life is a good one"
            load.check_all()
            assert len(set(died)) >= FEWEST, died
            assert machine.refused("web1") == machine.refused("web2") == {}
        finally:
            lives.close()
