# SPDX-License-Identifier: Apache-2.0
"""Rounds begin with another rung each time, and one row of medians stands for them."""

from collections.abc import Iterator
from contextlib import contextmanager

from rows import row

from virtio_crq.bench.case import RUNGS, Case
from virtio_crq.bench.grammar import case
from virtio_crq.bench.rounds import Sample, in_rounds, middle, middles, rotated
from virtio_crq.bench.row import Counts, Load
from virtio_crq.bench.run import Plan, Setting


class IdleStage:
    def counts(self) -> Counts:
        return Counts({}, 0, 0, 0)

    def load(self, case: Case, seconds: float) -> Load:
        return Load(1000, 1.0, 9.0, 20.0, 0.02, 4.0)


def test_each_rung_is_the_first_of_a_round() -> None:
    begun: list[str] = []

    @contextmanager
    def stages(setting: Setting) -> Iterator[IdleStage]:
        begun.append(setting.rung.name)
        yield IdleStage()

    told: list[str] = []
    plan = Plan([case("randread-4k-qd1")], RUNGS[:2], ("null",), ("polling",), 0.1, "compiled")
    samples = list(in_rounds(plan, 3, None, stages, told.append))
    first, second = RUNGS[0].name, RUNGS[1].name
    assert begun == [first, second, second, first, first, second]
    assert [sample.round for sample in samples] == [1, 1, 2, 2, 3, 3]
    assert told[0].startswith("round 1 · randread-4k-qd1")
    assert [row.rung for row in middles(samples)] == [first, second]


def test_turning_leaves_nobody_out() -> None:
    assert [rotated("abc", number)[0] for number in range(4)] == ["a", "b", "c", "a"]


def test_the_middle_row_has_medians_and_the_calls_of_all_rounds() -> None:
    rates = (1e6, 3e6, 2e6)
    found = middle([row(iops=rate, raw_ratio=None, hcalls={"H_SEND_CRQ": 2}) for rate in rates])
    assert (found.iops, found.raw_ratio, found.raw_iops) == (2e6, None, 2e6)
    assert found.hcalls == {"H_SEND_CRQ": 6}
    assert (found.case, found.rung, found.dataplane) == ("randread-4k-qd32", "batched", "compiled")


def test_rounds_that_were_carried_differently_are_not_mixed() -> None:
    samples = [Sample(number, row(rung="push-sub", carrier=got)) for number, got in enumerate(("sub-crq", "window"))]
    assert [(each.rung, each.carrier) for each in middles(samples)] == [("push-sub", "sub-crq"), ("push-sub", "window")]


def test_a_sample_says_its_round() -> None:
    assert Sample(2, row()).to_json()["round"] == 2
