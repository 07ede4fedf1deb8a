# SPDX-License-Identifier: Apache-2.0
"""Many clients on one server: the table of crowds, and what each has to reach beside another.

What a crowd moves all together is set against one client that has the server for itself. A crowd without a load only
stands there: its clients are up and ask for nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any, Protocol

from virtio_crq.bench.case import Case
from virtio_crq.bench.grammar import case
from virtio_crq.bench.row import Counts, Load, per_request
from virtio_crq.errors import UsageError


@dataclass(frozen=True)
class Crowd:
    """`load` is what each client does, by its name; `against` is the crowd whose throughput is this one's measure."""

    name: str
    clients: int
    load: str = ""
    against: str = ""
    goal: float = 0.0

    @property
    def case(self) -> Case | None:
        return case(self.load) if self.load else None


CROWDS = (
    Crowd("1-qd32", 1, "randread-4k-qd32"),
    Crowd("16-qd32", 16, "randread-4k-qd32", against="1-qd32", goal=0.9),
    Crowd("16-qd2", 16, "randread-4k-qd2", against="1-qd32", goal=0.8),
    Crowd("64-idle", 64),
)


MEASURED = (
    "iops", "slowest", "hcalls_per_io", "copies_per_io", "interrupts_per_io", "server_cpu", "server_mib_per_client",
    "ratio",
)  # fmt: skip


@dataclass(frozen=True)
class Presence:
    """What the server takes while the crowd is there: processor time in seconds of `seconds`, memory in bytes."""

    seconds: float
    cpu_seconds: float
    memory: int


@dataclass(frozen=True)
class CrowdRow:
    """What a crowd did. Without a load there are no requests, and what is counted per request is None."""

    crowd: str
    clients: int
    load: str
    rung: str
    notify: str
    workers: int
    iops: float
    slowest: float  # the client that got least, as a share of what each would get evenly
    hcalls_per_io: float | None
    copies_per_io: float | None
    interrupts_per_io: float | None
    server_cpu: float  # processors
    server_mib_per_client: float
    ratio: float | None
    goal: float | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class CrowdStage(Protocol):
    """A running machine with as many clients as the crowd has."""

    def counts(self) -> Counts: ...
    def loads(self, case: Case, seconds: float) -> Sequence[Load]: ...
    def presence(self, seconds: float) -> Presence: ...


@dataclass(frozen=True)
class CrowdPlan:
    """All crowds on one way of carrying."""

    crowds: Sequence[Crowd]
    rung: str
    notify: str
    workers: int
    seconds: float
    rounds: int = 1


Stages = Callable[[Crowd], AbstractContextManager[CrowdStage]]


def chosen(names: Sequence[str]) -> Sequence[Crowd]:
    """The crowds that were asked for and those that they are measured against, in the table's order."""
    known = {crowd.name: crowd for crowd in CROWDS}
    for name in names:
        if name not in known:
            raise UsageError(f"crowd {name!r} is not one of {', '.join(known)}")
    wanted = {*names, *(known[name].against for name in names)}
    return [crowd for crowd in CROWDS if not names or crowd.name in wanted]


def measure(plan: CrowdPlan, stages: Stages, progress: Callable[[str], None]) -> Iterator[CrowdRow]:
    """The rows of a plan, round by round; each is set against the other of its own round."""
    for _ in range(plan.rounds):
        reached: dict[str, float] = {}
        for crowd in plan.crowds:
            progress(crowd.name)
            with stages(crowd) as stage:
                row = _row(plan, crowd, stage, reached)
            reached[crowd.name] = row.iops
            yield row


def medians(rows: Sequence[CrowdRow]) -> list[CrowdRow]:
    """One row for each crowd: each figure is the median of its rounds, the ratio that of their ratios."""
    groups: dict[str, list[CrowdRow]] = {}
    for row in rows:
        groups.setdefault(row.crowd, []).append(row)
    return [replace(group[0], **_middle(group)) for group in groups.values()]


def _middle(rows: Sequence[CrowdRow]) -> dict[str, Any]:
    found = {name: [value for row in rows if (value := getattr(row, name)) is not None] for name in MEASURED}
    return {name: median(values) if values else None for name, values in found.items()}


def _row(plan: CrowdPlan, crowd: Crowd, stage: CrowdStage, reached: dict[str, float]) -> CrowdRow:
    load = crowd.case
    shares: list[float] = []
    costs: dict[str, float] = {}
    if load is None:
        presence = stage.presence(plan.seconds)
    else:
        stage.loads(load, min(0.6, plan.seconds / 2))
        start = stage.counts()
        loads = stage.loads(load, plan.seconds)
        shares = [each.requests / each.seconds for each in loads]
        costs = per_request(stage.counts().since(start), sum(each.requests for each in loads))
        presence = stage.presence(0)
    before = reached.get(crowd.against, 0.0)
    return CrowdRow(
        crowd=crowd.name,
        clients=crowd.clients,
        load=crowd.load,
        rung=plan.rung,
        notify=plan.notify,
        workers=plan.workers,
        iops=round(sum(shares), 1),
        slowest=round(min(shares) * len(shares) / sum(shares), 3) if shares else 0.0,
        hcalls_per_io=costs.get("hcalls_per_io"),
        copies_per_io=costs.get("copies_per_io"),
        interrupts_per_io=costs.get("interrupts_per_io"),
        server_cpu=round(presence.cpu_seconds / presence.seconds, 4),
        server_mib_per_client=round(presence.memory / crowd.clients / (1 << 20), 2),
        ratio=round(sum(shares) / before, 3) if before else None,
        goal=crowd.goal or None,
    )
