# SPDX-License-Identifier: Apache-2.0
"""A client process is killed at every stop point of the engine, with the real hypervisor, server and other clients.

Its next life is served, and another client's verified I/O on the same worker goes on all the while.
"""

import json
import signal
from pathlib import Path

import pytest
from armedlives import Lives, dealt
from runningmachine import RunningMachine
from verifiedload import load_on

from combinations import Combination
from virtio_crq.hypervisor import binding_stops

BLOCKS = 256
MACHINE = """
[machine]
name = "system"
{platform}
[partition.vios1]
memory = "32M"
{server}
[partition.web1]
memory = "16M"
[partition.web2]
memory = "16M"
[[adapter]]
client = "web1"
slot = 2
server = "vios1"
{adapter}
[[adapter]]
client = "web2"
slot = 2
server = "vios1"
{adapter}
[[map]]
client = "web1"
target = "root"
backing = "file:web1.img"
[[map]]
client = "web2"
target = "root"
backing = "file:web2.img"
"""
# Points that every client comes by in bringing up, reading, writing and leaving, whatever was negotiated.
PASSED = {
    *("free_closed", "free_closing", "free_drained", "free_event_sent", "free_locked", "free_unclones", "sub_closed"),
    *("register_cursor_reset", "register_locked", "register_open", "register_queue_set", "publication_written"),
    *("send_before_signal", "send_cursor_moved", "send_intent_cleared", "send_intent_filled", "send_intent_valid"),
    *("send_locked", "send_low_stored", "send_published", "send_signalled", "send_slot_marked", "send_visible"),
    *("signal_stored", "tce_settled", "tce_stored"),
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("share", "combination"), dealt())
def test_a_client_killed_at_any_point_harms_nobody_and_comes_back(
    tmp_path: Path, share: slice, combination: Combination
) -> None:
    for name in ("web1", "web2"):
        (tmp_path / f"{name}.img").write_bytes(bytes(BLOCKS * 4096))
    text = combination.described(MACHINE)
    points = binding_stops.stop_points()[share]
    with (
        RunningMachine(tmp_path, text) as machine,
        load_on(machine.state, "web2", "root", BLOCKS, 4, combination.options) as load,
    ):
        lives = Lives(machine, "mortal.py", "web1", "root", json.dumps(combination.choices))
        try:
            died = set()
            for point in points:
                for skip in (0, 9):
                    ended = lives.one(f"{point} {skip}", [load])
                    assert ended in (0, signal.SIGKILL), (
                        f"life armed at {point} after {skip}: {ended}\n{machine.logs()}"
                    )
                    if ended:
                        died.add(point)
                    load.run(1, patience=10)  # the other client goes on, however busy this machine is
            assert lives.one("- 0", [load]) == 0, "an unarmed life is a good one"
            load.check_all()
            combination.shown_by(load.disk)
            assert died >= PASSED & set(points), died
            assert machine.refused("web1") == machine.refused("web2") == {}
        finally:
            lives.close()
