# SPDX-License-Identifier: Apache-2.0
"""Disks of one guest compared in one boot: interleaved rounds, medians, ratios, and what was asked of them.

How a guest is started is not known here: a `Stage` is one that runs, with all the disks on the same file.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Protocol

from virtio_crq.guests.fio import Load, measured
from virtio_crq.guests.stockdisks import IBMVSCSI, VIRTIO_CRQ, VIRTIO_PCI

Costs = Mapping[str, float]
WARM_SECONDS = 0.5
SLACK = 60.0  # seconds that fio may take to start and to end


class Stage(Protocol):
    """A running guest. `counting` begins to count, what it returns ends it and says the costs per request.

    `ready` makes the disk the one that runs next; whether it is a new one to the guest, which is then warmed up.
    """

    devices: Mapping[str, str]

    def ready(self, disk: str) -> bool: ...
    def run(self, command: str, seconds: float) -> str: ...
    def counting(self, disk: str) -> Callable[[int], Costs]: ...
    def resident(self) -> float: ...


@dataclass(frozen=True)
class Sample:
    """One run of fio on one disk."""

    load: str
    disk: str
    round: int
    iops: float
    mib_per_s: float
    mean_us: float
    p99_us: float
    requests: int
    resident: float
    costs: Costs

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Summary:
    """One disk under one load: medians of its rounds."""

    load: str
    disk: str
    iops: float
    mib_per_s: float
    mean_us: float
    p99_us: float
    costs: Costs

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Bar:
    """How fast our disk must be beside another one."""

    load: str
    beside: str
    least: float


BARS = (
    Bar("randread-4k-qd16", IBMVSCSI.name, 1.5),
    Bar("randread-4k-qd16", VIRTIO_PCI.name, 1.0),
)


@dataclass(frozen=True)
class Plan:
    """`rounds` times each load, each time on all the disks, one after the other."""

    loads: Sequence[Load]
    disks: Sequence[str]
    rounds: int
    seconds: float

    def __len__(self) -> int:
        return len(self.loads) * len(self.disks) * self.rounds

    def order(self, number: int) -> Sequence[str]:
        """Each disk is the first of a round as often as the others."""
        shift = number % len(self.disks)
        return [*self.disks[shift:], *self.disks[:shift]]


def compare(plan: Plan, stage: Stage, progress: Callable[[str], None]) -> list[Sample]:
    """All samples, in the order of measuring. `progress` is told what runs."""
    samples = []
    for load in plan.loads:
        for disk in plan.disks:
            stage.ready(disk)
            _warm(load, disk, stage)
        for number in range(plan.rounds):
            for disk in plan.order(number):
                progress(f"{load.name} · round {number + 1} · {disk}")
                if stage.ready(disk):
                    _warm(load, disk, stage)
                samples.append(_sample(plan, load, disk, number, stage))
    return samples


def _warm(load: Load, disk: str, stage: Stage) -> None:
    stage.run(load.command(stage.devices[disk], WARM_SECONDS), WARM_SECONDS + SLACK)


def _sample(plan: Plan, load: Load, disk: str, number: int, stage: Stage) -> Sample:
    before = stage.resident()
    costs = stage.counting(disk)
    said = measured(stage.run(load.command(stage.devices[disk], plan.seconds), plan.seconds + SLACK))
    return Sample(
        load=load.name,
        disk=disk,
        round=number + 1,
        iops=round(said.iops, 1),
        mib_per_s=round(said.mib_per_s, 2),
        mean_us=round(said.mean_us, 1),
        p99_us=round(said.p99_us, 1),
        requests=said.requests,
        costs=costs(said.requests),
        resident=round(min(before, stage.resident()), 4),
    )


def summarize(samples: Sequence[Sample]) -> list[Summary]:
    """A row for each disk under each load, in the order of the samples' loads."""
    groups: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.load, sample.disk), []).append(sample)
    return [
        Summary(
            load=load,
            disk=disk,
            iops=round(median(each.iops for each in group), 1),
            mib_per_s=round(median(each.mib_per_s for each in group), 2),
            mean_us=round(median(each.mean_us for each in group), 1),
            p99_us=round(median(each.p99_us for each in group), 1),
            costs={
                name: round(median(each.costs.get(name, 0.0) for each in group), 4)
                for name in dict.fromkeys(name for each in group for name in each.costs)
            },
        )
        for (load, disk), group in groups.items()
    ]


def ratios(summaries: Sequence[Summary], disk: str = VIRTIO_CRQ.name) -> dict[str, dict[str, float]]:
    """By load, how many times as many requests a second `disk` does as each of the others: medians by medians."""
    table = {(row.load, row.disk): row.iops for row in summaries}
    return {
        load: {
            other: round(table[load, disk] / iops, 3)
            for (of, other), iops in table.items()
            if of == load and other != disk and iops
        }
        for load in dict.fromkeys(row.load for row in summaries)
        if (load, disk) in table
    }


def judged(found: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Each bar that was measured: what was asked, what was found, whether it is met."""
    return [
        {**asdict(bar), "found": found[bar.load][bar.beside], "met": found[bar.load][bar.beside] >= bar.least}
        for bar in BARS
        if bar.beside in found.get(bar.load, {})
    ]
