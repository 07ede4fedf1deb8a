# SPDX-License-Identifier: Apache-2.0
"""Runs the cases on the rungs, interleaved, and makes rows of what was counted.

How a machine is started is not known here: a `Stage` is one that is up, with one client and one disk.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import product
from typing import Protocol

from virtio_crq.axes import AXES, BATCHED, CARRIER, FETCH, PUSH
from virtio_crq.bench.case import Case, Rung
from virtio_crq.bench.image import Image
from virtio_crq.bench.row import Counts, Load, Row, bounced, per_request, priced, spread

RAW_SECONDS = 0.5  # each engine, before and after the rows of a case: raw is taken in the same minute as they are
# Before a row is taken: queues are set up, caches and page tables filled. What is noted of a file in memory
# (`dataplane/residentpages.h`) is there by then, for one client and a file of 1 GiB.
WARM_SECONDS = 0.6


class Stage(Protocol):
    """A running machine: a client partition with one disk, its server, their hypervisor."""

    def counts(self) -> Counts: ...
    def load(self, case: Case, seconds: float) -> Load: ...


@dataclass(frozen=True)
class Setting:
    """What a stage is set up for."""

    rung: Rung
    backing: str
    notify: str
    queues: int = 1  # that the disk has


Stages = Callable[[Setting], AbstractContextManager[Stage]]


@dataclass(frozen=True)
class Plan:
    """Everything one run measures."""

    cases: Sequence[Case]
    rungs: Sequence[Rung]
    backings: Sequence[str]
    notifies: Sequence[str]
    seconds: float
    dataplane: str
    queues: Sequence[int] = (1,)  # of the disk

    def steps(self) -> Iterator[tuple[Case, Sequence[Setting]]]:
        """One case on one backing at a time, all that is compared with each other side by side."""
        for backing in self.backings:
            for case in self.cases:
                settings = product(self.notifies, self.rungs, self.queues)
                yield case, [Setting(rung, backing, notify, queues) for notify, rung, queues in settings]

    def __len__(self) -> int:
        return len(self.cases) * len(self.rungs) * len(self.backings) * len(self.notifies) * len(self.queues)


def measure(plan: Plan, image: Image | None, stages: Stages, progress: Callable[[str], None]) -> Iterator[Row]:
    """The rows of a plan, case by case. `progress` is told what runs."""
    for case, settings in plan.steps():
        watched = image if settings[0].backing == "file" else None
        raw: dict[str, float] = {}
        _raw(raw, watched, case)
        rows = []
        for setting in settings:
            rung = spread(setting.rung.name, setting.queues)
            progress(f"{case.name} · {setting.backing} · {rung} · {setting.notify}")
            with stages(setting) as stage:
                rows.append(counted(stage, setting, case, plan.seconds, plan.dataplane, watched))
        _raw(raw, watched, case)
        # Raw is the best seen beside the rows of this case: the harder yardstick.
        yield from (_beside(row, raw) for row in rows)


def _raw(best: dict[str, float], image: Image | None, case: Case) -> None:
    for engine, iops in image.raw(case, RAW_SECONDS).items() if image else ():
        best[engine] = max(iops, best.get(engine, 0.0))


def counted(
    stage: Stage, setting: Setting, case: Case, seconds: float, dataplane: str, image: Image | None = None
) -> Row:
    """One load on a machine that is up. A machine may bear several, one after the other."""
    before = image.resident() if image else None
    stage.load(case, min(WARM_SECONDS, 2 * seconds))
    start = stage.counts()
    load = stage.load(case, seconds)
    counts = stage.counts().since(start)
    after = image.resident() if image else None
    iops = load.requests / load.seconds
    costs = per_request(counts, load.requests) | bounced(load)
    asked = asked_for(setting.rung)
    ran = asked | _ran(setting.rung, load)
    return Row(
        case=case.name,
        rung=setting.rung.name,
        ring=ran["ring"],
        fetch=ran["fetch"],
        map=ran["map"],
        data=ran["data"],
        carrier=ran["carrier"],
        backing=setting.backing,
        dataplane=dataplane,
        notify=setting.notify,
        batch=round(load.batch, 2),
        resident=None if before is None or after is None else round(min(before, after), 4),
        iops=round(iops, 1),
        mib_per_s=round(iops * case.size / (1 << 20), 1),
        hcalls=counts.hcalls,
        p50_us=round(load.p50_us, 1),
        p99_us=round(load.p99_us, 1),
        cpu_us_per_io=round(load.cpu_seconds * 1e6 / load.requests, 2),
        raw_iops=None,
        raw_engine=None,
        raw_ratio=None,
        priced_iops=round(priced(iops, costs["hcalls_per_io"], costs["bytes_copied_per_io"]), 1),
        queues=load.queues,
        asked={axis: value for axis, value in asked.items() if value != ran[axis]},
        **costs,
    )


def asked_for(rung: Rung) -> dict[str, str]:
    """The axes of a rung; nothing carries what is not pushed."""
    asked = {axis.name: getattr(rung, axis.name) for axis in AXES}
    return asked if rung.fetch == PUSH else asked | {CARRIER.name: ""}


def _ran(rung: Rung, load: Load) -> dict[str, str]:
    """What the client saw. A server that nobody pushes to reads rings, batched."""
    unpushed = {FETCH.name: BATCHED, CARRIER.name: ""} if rung.fetch == PUSH else {}
    return {**unpushed, **load.ran}


def _beside(row: Row, raw: dict[str, float]) -> Row:
    if not raw:
        return row
    engine = max(raw, key=lambda name: raw[name])
    return replace(row, raw_iops=round(raw[engine], 1), raw_engine=engine, raw_ratio=round(row.iops / raw[engine], 4))
