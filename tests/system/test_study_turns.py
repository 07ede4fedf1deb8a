# SPDX-License-Identifier: Apache-2.0
"""Turns of the study on machines that are really up: a rung, the raw file, a crowd, and the peer where there is one."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from virtio_crq.bench.crowd import Crowd
from virtio_crq.bench.image import fill, pinned
from virtio_crq.bench.peers import STORAGE_DAEMON
from virtio_crq.bench.study import CrowdPart, Part, Turn
from virtio_crq.cli.storagedaemon import PROGRAM
from virtio_crq.cli.studystage import StudyMachines

PART = Part("brief", ("randread-4k-qd1", "randread-4k-qd8"), ("batched",), rounds=1, seconds=0.05)


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[StudyMachines]:
    path = tmp_path / "image"
    fill(path, 4 << 20, lambda done: None)
    with pinned(path) as image:
        yield StudyMachines(path, image, shutil.which(PROGRAM) or "")


def test_one_machine_bears_all_loads_of_its_part(machines: StudyMachines) -> None:
    record = machines.take(PART, Turn(1, "batched", "polling"))
    assert [row["case"] for row in record["rows"]] == list(PART.loads)
    alone, deep = (row["hcalls_per_io"] for row in record["rows"])
    assert deep < alone
    assert set(machines.take(PART, Turn(1, "raw"))["raw"]) == set(PART.loads)


def test_a_crowd_is_a_turn(machines: StudyMachines) -> None:
    part = CrowdPart("few", (Crowd("2-qd2", 2, "randread-4k-qd2"),), rounds=1, seconds=0.05)
    (row,) = machines.take(part, Turn(1, "2-qd2", "sleeping"))["rows"]
    assert (row["crowd"], row["clients"]) == ("2-qd2", 2)
    assert row["iops"] > 0


@pytest.mark.skipif(shutil.which(PROGRAM) is None, reason=f"{PROGRAM} is not installed")
def test_the_peer_takes_its_turn_and_calls_no_hypervisor(machines: StudyMachines) -> None:
    record = machines.take(PART, Turn(1, STORAGE_DAEMON.name, "sleeping", 32768))
    assert [row["hcalls_per_io"] for row in record["rows"]] == [0, 0]
