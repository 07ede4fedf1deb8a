# SPDX-License-Identifier: Apache-2.0
"""A disk with several request queues: each is used, carried, resumed and shown by itself."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from test_kill import FEW_KILLS, prepared, restart_under, survives
from verifiedload import load_on

from combinations import Combination
from virtio_crq.cli.clientpartition import client_partition
from virtio_crq.client.device import Options

PAIRED = Combination("split", "push", "paired", "pool", "copy")
POWER8 = replace(PAIRED, profile="power8")


@pytest.mark.timeout(60)
@pytest.mark.clause("CRQ-D-160", "CRQ-F-80")
@pytest.mark.parametrize(("profile", "paired"), [("power9", 4), ("lopar-minimum", 0)])
def test_each_queue_has_a_pair_of_sub_crqs_where_the_platform_has_some(
    tmp_path: Path, profile: str, paired: int
) -> None:
    machine = prepared(tmp_path, replace(PAIRED, profile=profile), queues=4)
    with machine, load_on(machine.state, "web1", "root", 256) as load:
        load.run(200)
        load.check_all()
        queues = machine.adapter("web1")["targets"][0]["queues"]
        assert [queue["carrier"] for queue in queues] == ["sub-crq"] * paired + ["window"] * (4 - paired)
        assert load.disk.carrier == ("sub-crq" if paired else "window")
        assert all(queue["requests"] > 10 for queue in queues), "the load is spread"


@pytest.mark.timeout(120)
@pytest.mark.clause("CRQ-F-80", "CRQ-F-85")
def test_queues_beyond_what_the_platform_pairs_go_by_the_window_also_after_a_kill(tmp_path: Path) -> None:
    """power8 has 8 sub-CRQs for an adapter: two of ten queues find none."""
    survives(prepared(tmp_path, POWER8, queues=10), FEW_KILLS, 200, POWER8)
    machine = prepared(tmp_path, POWER8, queues=10)
    with machine, load_on(machine.state, "web1", "root", 256, depth=20) as load:
        load.run(100)
        restart_under(load, machine)
        load.run(100)
        queues = machine.adapter("web1")["targets"][0]["queues"]
        assert [queue["carrier"] for queue in queues] == ["sub-crq"] * 8 + ["window"] * 2
        assert load.disk.carrier == "window+sub-crq"


@pytest.mark.timeout(60)
def test_a_client_uses_no_more_queues_than_it_wants_or_has_requests(tmp_path: Path) -> None:
    with prepared(tmp_path, queues=8) as machine:
        for options, used in ((Options(queues=2), 2), (Options(depth=3), 3), (Options(depth=1), 1)):
            with client_partition(machine.state, "web1", options) as client:
                disk = client.disk("root")
                disk.write(0, b"\1" * 8192)
                assert disk.read(0, 8192) == b"\1" * 8192
                queues = machine.adapter("web1")["targets"][0]["queues"]
                assert [queue["enabled"] for queue in queues] == [number < used for number in range(8)]


@pytest.mark.timeout(60)
def test_idle_queues_cost_a_read_alone_no_call(tmp_path: Path) -> None:
    """Each has an interrupt; to have them all on for a sleep and off after it would be most of what is called."""
    with prepared(tmp_path, PAIRED, queues=4) as machine:
        text = machine.must("trace", "web1/root", "--one", "--json", "--machine", machine.name)
    calls = [json.loads(line)["call"] for line in text.splitlines()]
    assert calls.count("H_SEND_SUB_CRQ") == 2
    assert calls.count("H_VIOCTL") <= 3, "of the adapter, and of the queue in use at both ends"


@pytest.mark.timeout(60)
def test_views_name_the_queue(tmp_path: Path) -> None:
    machine = prepared(tmp_path, queues=2)
    options = replace(Options(), depth=8)
    with machine, client_partition(machine.state, "web1", options) as client:
        disk = client.disk("root")
        for number in range(8):
            disk.write(4096 * number, bytes([number]) * 4096)
        shown = machine.must("vios", "lsmap", "--machine", machine.name)
        assert "\nQueue 0 " in shown
        assert "\nQueue 1 " in shown
        assert "VERSION_1" in shown
        assert " MQ " in shown
        explained = machine.must("vios", "explain", "web1/root", "--machine", machine.name)
        assert "web1/root, queue 0: " in explained
        assert "web1/root, queue 1: " in explained
        assert "queues 2" in machine.must("show", "--machine", machine.name)
        counted = ("vios", "stat", "--machine", machine.name, "--interval", "0.1")
        table = machine.must(*counted)
        assert "  queue 0 " in table
        assert "  queue 1 " in table
        (row,) = json.loads(machine.must(*counted, "--json"))
        assert [queue["index"] for queue in row["queues"]] == [0, 1]
