# SPDX-License-Identifier: Apache-2.0
"""fio's command lines and its answers."""

import json
from typing import Any

import pytest

from virtio_crq.errors import UsageError, VirtioCrqError
from virtio_crq.guests.fio import LOADS, chosen_loads, measured, the_job

IDLE = {"total_ios": 0, "iops": 0.0, "bw_bytes": 0, "clat_ns": {"mean": 0.0}}
READ = {
    "total_ios": 30000,
    "iops": 10000.5,
    "bw_bytes": 40962048,
    "clat_ns": {"mean": 1500.0, "percentile": {"99.000000": 3000}},
}


def answer(**job: Any) -> str:
    return "fio: a word before\n" + json.dumps({"jobs": [{"error": 0, "read": READ, "write": IDLE, **job}]}) + "\n"


def test_loads_differ_in_nothing_but_what_they_say() -> None:
    lines = {load.name: load.command("/dev/vda", 2.5) for load in LOADS}
    assert "--rw=randread --bs=4096 --iodepth=16 " in lines["randread-4k-qd16"]
    assert "--rw=randread --bs=4096 --iodepth=1 " in lines["randread-4k-qd1"]
    assert "--rw=read --bs=131072 --iodepth=8 " in lines["seqread-128k-qd8"]
    assert "--rw=randwrite --bs=4096 --iodepth=16 " in lines["randwrite-4k-qd16"]
    assert all("--direct=1" in line and "--runtime=2500ms" in line for line in lines.values())


def test_loads_are_chosen_by_name() -> None:
    assert chosen_loads([]) == LOADS
    assert [load.name for load in chosen_loads(["randread-4k-qd1"])] == ["randread-4k-qd1"]
    with pytest.raises(UsageError, match="case 'fast' is not one of randread-4k-qd16"):
        chosen_loads(["fast"])


def test_a_run_is_read_from_the_side_that_worked() -> None:
    found = measured(answer())
    assert (found.requests, found.iops, found.mean_us, found.p99_us) == (30000, 10000.5, 1.5, 3.0)
    assert found.mib_per_s == pytest.approx(39.06, abs=0.01)
    assert measured(answer(read=IDLE, write=READ)) == found


def test_what_fio_says_around_its_answer_is_passed_over() -> None:
    said = "\nfio: terminating on signal 2\n" + answer() + "fio: and a word after {\n"
    assert the_job(said)["read"]["total_ios"] == 30000
    with pytest.raises(VirtioCrqError, match="did not answer as expected"):
        the_job("fio: terminating on signal 2\n")


def test_an_error_of_the_disk_is_no_figure() -> None:
    with pytest.raises(VirtioCrqError, match="error 5"):
        measured(answer(error=5))
    for broken in ("", "fio: no such engine", '{"jobs": []}', '{"jobs": [{"error": 0}]}'):
        with pytest.raises(VirtioCrqError, match="did not answer as expected"):
            measured(broken)
