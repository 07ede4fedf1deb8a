# SPDX-License-Identifier: Apache-2.0
"""Rounds, medians and ratios, over a guest that is not there."""

import json
from collections.abc import Callable, Mapping

import pytest

from virtio_crq.guests.comparison import BARS, Plan, compare, judged, ratios, summarize
from virtio_crq.guests.fio import chosen_loads

NAMES = ("ibmvscsi", "virtio-blk-pci", "virtio-crq")
RATES = {"/dev/sda": [100.0, 900.0, 110.0], "/dev/vda": [150.0, 140.0, 10.0], "/dev/vdb": [180.0, 170.0, 160.0]}


class Scripted:
    """A guest whose disks have given rates, one for each round. The short runs are for warming up."""

    def __init__(self) -> None:
        self.devices: Mapping[str, str] = dict(zip(NAMES, RATES, strict=True))
        self.rates = {device: iter(rates) for device, rates in RATES.items()}
        self.ran: list[str] = []
        self.warmed = 0
        self.memory = iter([1.0, 0.75] + [1.0] * 100)

    def ready(self, disk: str) -> bool:
        return False

    def run(self, command: str, seconds: float) -> str:
        device = next(device for device in RATES if f"--filename={device} " in command)
        if "--runtime=500ms" in command:
            self.warmed += 1
            return "whatever"
        assert self.warmed == 3
        self.ran.append(device)
        rate = next(self.rates[device])
        side = {"total_ios": 2 * rate, "iops": rate, "bw_bytes": 4096 * rate, "clat_ns": {"mean": 1e9 / rate}}
        idle = {**side, "total_ios": 0, "iops": 0.0}
        return json.dumps({"jobs": [{"error": 0, "read": side, "write": idle}]})

    def counting(self, disk: str) -> Callable[[int], Mapping[str, float]]:
        return lambda requests: {"calls": 8.0 + requests / 1000}

    def resident(self) -> float:
        return next(self.memory)


def plan() -> Plan:
    return Plan(chosen_loads(["randread-4k-qd16"]), NAMES, rounds=3, seconds=2.0)


def test_disks_take_turns_and_each_is_the_first_of_a_round_as_often_as_the_others() -> None:
    guest, told = Scripted(), list[str]()
    samples = compare(plan(), guest, told.append)
    sda, vda, vdb = RATES
    assert guest.ran == [sda, vda, vdb, vda, vdb, sda, vdb, sda, vda]
    assert told[0] == "randread-4k-qd16 · round 1 · ibmvscsi"
    assert len(told) == len(samples) == len(plan()) == 9
    assert samples[0].resident == 0.75  # the worse of before and after
    assert samples[0].costs == {"calls": pytest.approx(8.2)}


def test_medians_are_compared_so_that_one_wild_round_decides_nothing() -> None:
    rows = summarize(compare(plan(), Scripted(), lambda what: None))
    assert [(row.disk, row.iops) for row in rows] == [
        ("ibmvscsi", 110.0),
        ("virtio-blk-pci", 140.0),
        ("virtio-crq", 170.0),
    ]
    assert ratios(rows) == {"randread-4k-qd16": {"ibmvscsi": 1.545, "virtio-blk-pci": 1.214}}


def test_a_bar_is_met_by_its_own_load_and_its_own_partner_only() -> None:
    assert {(bar.beside, bar.least) for bar in BARS} == {("ibmvscsi", 1.5), ("virtio-blk-pci", 1.0)}
    found = {"randread-4k-qd16": {"ibmvscsi": 1.499, "virtio-blk-pci": 1.0}, "randread-4k-qd1": {"ibmvscsi": 9.0}}
    assert [(bar["beside"], bar["met"]) for bar in judged(found)] == [("ibmvscsi", False), ("virtio-blk-pci", True)]
    assert judged({"randread-4k-qd1": {"ibmvscsi": 9.0}}) == []
