# SPDX-License-Identifier: Apache-2.0
"""A server process is killed at every stop point of the engine, under two clients' verified writes.

Each life of the server ends inside another hypercall; the next one takes over. Both clients only ever wait.
"""

import signal
from pathlib import Path

import pytest
from armedlives import Lives, dealt
from runningmachine import RunningMachine
from verifiedload import load_on

from combinations import Combination
from virtio_crq.hypervisor import binding_stops

BLOCKS = 128
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
# Points that a server comes by in registering, serving and being reset, whatever was negotiated.
LEAVING = (
    "free_closed",
    "free_closing",
    "free_drained",
    "free_event_sent",
    "free_locked",
    "free_unclones",
    "sub_closed",
)
PASSED = {
    *LEAVING,
    *("copy_done", "copy_piece", "copy_published", "publication_written", "signal_stored", "tce_settled", "tce_stored"),
    *("register_cursor_reset", "register_locked", "register_open", "register_queue_set"),
    *("send_before_signal", "send_cursor_moved", "send_intent_cleared", "send_intent_filled", "send_intent_valid"),
    *("send_locked", "send_low_stored", "send_published", "send_signalled", "send_slot_marked", "send_visible"),
}


@pytest.mark.timeout(180)
@pytest.mark.clause("CRQ-H-15", "CRQ-D-88", "CRQ-F-29", "CRQ-F-32")
@pytest.mark.parametrize(("share", "combination"), dealt())
def test_a_server_killed_at_any_point_loses_nothing_of_anybody(
    tmp_path: Path, share: slice, combination: Combination
) -> None:
    points = binding_stops.stop_points()[share]
    text = combination.described(MACHINE)
    for name in ("web1", "web2"):
        (tmp_path / f"{name}.img").write_bytes(bytes(BLOCKS * 4096))
    with (
        RunningMachine(tmp_path, text) as machine,
        load_on(machine.state, "web1", "root", BLOCKS, 8, combination.options) as first,
        load_on(machine.state, "web2", "root", BLOCKS, 8, combination.options) as second,
    ):
        loads = [first, second]
        machine.kill("vios1")
        lives = Lives(machine, "mortalserver.py", "vios1", machine.file)
        try:
            died = set()
            for point in points:
                for skip in (0, 40):  # while it comes up, and under load
                    surely = point in PASSED and point not in LEAVING and not skip
                    seconds = 10 if surely else 0.4  # it dies sooner than that, however busy this machine is
                    ended = lives.one(f"{point} {skip} {seconds}", loads)
                    assert ended in (0, signal.SIGKILL), f"life armed at {point} after {skip}: {ended}"
                    if ended:
                        died.add(point)
        finally:
            lives.close()
        machine.start("vios1")
        for load in loads:
            load.forgive()
            load.run(200)
            load.check_all()
            combination.shown_by(load.disk)
        assert died >= PASSED & set(points), died
        assert machine.refused("web1") == machine.refused("web2") == {}
    for load, name in zip(loads, ("web1", "web2"), strict=True):
        final = (tmp_path / f"{name}.img").read_bytes()
        for number in range(BLOCKS):
            load.ledger.check(number, final[number * 4096 : (number + 1) * 4096])
