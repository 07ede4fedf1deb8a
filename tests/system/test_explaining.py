# SPDX-License-Identifier: Apache-2.0
"""`vios explain` on a running machine: each way of carrying, as the server's own journal has it."""

import json
from pathlib import Path
from typing import Any

import pytest
from machinetext import machine_text, mapped
from runningmachine import RunningMachine, reads_without_waiting

from virtio_crq.cli.clientpartition import client_partition
from virtio_crq.client.device import Options

PAGE = 4096
STORAGE = '[[storage]]\nserver = "vios1"\nslot = 10\nwindow = "16M"'
MAPPED = (mapped("web1/root", "file:web1.img"), mapped("web1/random", "random", 'device = "entropy"'))


def prepared(directory: Path, server: str) -> RunningMachine:
    (directory / "web1.img").write_bytes(bytes(256 * PAGE))
    return RunningMachine(directory, machine_text(STORAGE, *MAPPED, server=server))


def explained(machine: RunningMachine, target: str = "web1/root", *more: str) -> dict[str, Any]:
    (queue,) = json.loads(machine.must("vios", "explain", target, "--json", "--machine", "system", *more))
    found: dict[str, Any] = queue
    return found


@pytest.mark.parametrize("ring", ["split", "packed"])
@pytest.mark.parametrize("fetch", ["naive", "batched", "push"])
def test_a_large_read_is_explained_however_it_is_fetched(tmp_path: Path, ring: str, fetch: str) -> None:
    with prepared(tmp_path, f'fetch = "{fetch}"\nring = "{ring}"\ndata = "copy"') as machine:
        with client_partition(machine.state, "web1", options=Options(ring=ring, map="pool")) as client:
            client.disk("root").read(0, 128 << 10)
            client.disk("root").read(0, PAGE)
        queue = explained(machine)
    assert queue["fetch"] == fetch
    assert (queue["ring"], queue["carrier"]) == (("", "window") if fetch == "push" else (ring, ""))
    row, small = queue["recent"][-2:]
    assert (row["kind"], row["bytes"], row["chosen"]) == ("read", 128 << 10, "copy")
    if fetch == "naive":
        assert (queue["joining"], row["joined"], row["copies"]) == (False, 0, row["pieces"])
    else:
        assert (queue["joining"], row["joined"]) == (True, 1)
    # A record holds a request of one segment whole, where the transport may read the header; of others it names a list.
    assert small["inline"] == (["header", "status"] if fetch == "push" else [])
    assert (small["copies"], row["segments"]) == (1 if fetch == "push" else 3, 4)
    assert queue["costs"]["copy"]["samples"] > 0


@pytest.mark.clause("CRQ-F-112")
def test_of_requests_that_share_a_copy_the_first_is_said_to_have_it_and_the_others_to_be_joined(tmp_path: Path) -> None:
    with prepared(tmp_path, 'data = "copy"') as machine:
        with client_partition(machine.state, "web1", options=Options(map="pool")) as client:
            disk = client.disk("root")
            transfers = [disk.start_read(PAGE * number, PAGE) for number in range(32)]
            disk.read(0, PAGE)
            assert [transfer.result() for transfer in transfers] == [bytes(PAGE)] * 32
        shared = explained(machine, "web1/root", "--last", "33")["recent"][:-1]
        text = machine.must("vios", "explain", "web1/root", "--last", "33", "--machine", "system")
    assert [(row["pieces"], row["copies"] + row["joined"]) for row in shared] == [(1, 1)] * 32
    assert shared[0]["copies"] == 1
    assert sum(row["copies"] for row in shared) < 32
    assert "0 (1 of 1 pieces joined); " in text


@pytest.mark.parametrize(("data", "chosen"), [("copy", "copy"), ("redirect", "redirect"), ("planned", None)])
def test_the_way_of_the_data_is_explained_with_its_reason(tmp_path: Path, data: str, chosen: str | None) -> None:
    if not reads_without_waiting(tmp_path):
        pytest.skip(f"{tmp_path} is on a file system without RWF_NOWAIT")
    with prepared(tmp_path, f'data = "{data}"') as machine:
        with client_partition(machine.state, "web1") as client:
            disk = client.disk("root")
            for _ in range(70):
                assert disk.read(0, PAGE) == bytes(PAGE)
            disk.read(0, 512)
        queue = explained(machine, "web1/root", "--last", "64")
        text = machine.must("vios", "explain", "web1/root", "--last", "2", "--machine", "system")
        assert len(explained(machine, "web1/root", "--last", "2")["recent"]) == 2
    assert len(queue["recent"]) == 64
    whole, piece = queue["recent"][:-1], queue["recent"][-1]
    assert {row["chosen"] for row in whole} == {chosen} if chosen else True
    assert piece["chosen"] == "copy"
    if data != "copy":
        assert "not whole pages" in piece["why"]
    if data == "planned":
        assert {row["kind"] for row in whole} == {"read"}
        assert all(row["redirecting_ns"] and row["copying_ns"] for row in whole)
        assert queue["costs"]["redirect-read"]["samples"] > 0
        assert queue["costs"]["store-read"]["samples"] > 0
        assert "Redirecting" in text
    assert "web1/root, queue 0: fetch push, carrier window, " in text
    assert "a piece that is copied takes" in text


def test_other_devices_and_wrong_names(tmp_path: Path) -> None:
    with prepared(tmp_path, "") as machine:
        assert "no queue has been open" in machine.must("vios", "explain", "web1/root", "--machine", "system")
        with client_partition(machine.state, "web1") as client:
            assert len(client.entropy().read(1000)) == 1000
        row = explained(machine, "web1/random")["recent"][-1]
        assert (row["kind"], row["why"]) == ("buffer", "this type of device has nothing to choose")
        wrong = machine.run("vios", "explain", "web1/data", "--machine", "system")
        assert wrong.returncode == 2
        assert "it has: root, random" in wrong.stderr
