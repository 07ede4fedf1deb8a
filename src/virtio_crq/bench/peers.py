# SPDX-License-Identifier: Apache-2.0
"""Our rungs beside back-ends that map all of their client's memory: rounds in turn, medians, ratios round by round.

A peer is one more rung to `run.measure`: the same load, on the same file, in the same minute. It makes no calls of a
hypervisor and no copies through one, so it pays no price; that is what the comparison is about.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from virtio_crq.axes import SPLIT
from virtio_crq.bench.case import Case, Rung
from virtio_crq.bench.image import Image
from virtio_crq.bench.rounds import Sample, medians, rotated
from virtio_crq.bench.row import Row
from virtio_crq.bench.run import Plan, Setting, Stages, measure

STORAGE_DAEMON = Rung("qemu-storage-daemon", ring=SPLIT, fetch="shared", map="shared", data="shared")
ANY_BACKEND = Rung("vhost-user", ring=SPLIT, fetch="shared", map="shared", data="shared")
PEERS = (STORAGE_DAEMON.name, ANY_BACKEND.name)
RAW = "raw"

# The iothread's poll-max-ns: never polling, QEMU's default, and longer than any request takes.
POLLS = (0, 32768, 1_000_000)
DEFAULT_POLL = 32768
WARM_SECONDS = 0.2
TRIES = 2  # of each: the better counts, since whatever else runs on the machine only slows one down

PeerStages = Callable[[int], Stages]  # a peer whose back-end polls for that many nanoseconds


@dataclass(frozen=True)
class Comparison:
    """What is compared: each case `rounds` times on each rung and on the peer, in each notification mode."""

    cases: Sequence[Case]
    rungs: Sequence[Rung]
    peer: Rung
    notifies: Sequence[str]
    rounds: int
    seconds: float
    dataplane: str
    polls: Sequence[int] = POLLS  # to choose from; none for a back-end that is not ours to start
    queues: int = 1  # of each disk

    def __len__(self) -> int:
        measured = self.rounds * (len(self.rungs) + 1) * len(self.notifies)
        return len(self.cases) * (measured + self._tuned() * TRIES * len(self.polls))

    def _tuned(self) -> bool:
        return "polling" in self.notifies

    def order(self, number: int) -> Sequence[Rung]:
        return rotated([*self.rungs, self.peer], number)

    def plan(self, case: Case, number: int) -> Plan:
        return Plan([case], self.order(number), ("file",), self.notifies, self.seconds, self.dataplane, (self.queues,))

    def tune(self, case: Case, peer: PeerStages, progress: Callable[[str], None]) -> list[dict[str, Any]]:
        """The peer at each of its polling times, polled by its front-end, the best first."""
        rates: dict[int, float] = {}
        for polling in [*self.polls] * TRIES if self._tuned() else ():
            progress(f"{case.name} · {self.peer.name} · poll-max-ns {polling}")
            with peer(polling)(Setting(self.peer, "file", "polling", self.queues)) as stage:
                stage.load(case, WARM_SECONDS)
                load = stage.load(case, self.seconds)
            rates[polling] = max(rates.get(polling, 0.0), load.requests / load.seconds)
        found = [{"case": case.name, "poll_max_ns": polling, "iops": round(rate, 1)} for polling, rate in rates.items()]
        return sorted(found, key=lambda row: -row["iops"])


@dataclass(frozen=True)
class Summary:
    """One case on one rung in one mode: medians over the rounds, and of the ratios to the peer in the same round.

    `vs_peer` compares times as they are in the emulator; for `priced_vs_peer` ours has paid, and the peer has not.
    """

    case: str
    rung: str
    notify: str
    rounds: int
    medians: Mapping[str, float]
    lowest: float
    highest: float
    vs_peer: float | None
    priced_vs_peer: float | None
    vs_raw: float | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def flat(self) -> dict[str, Any]:
        """All of it under the names that a result file's rows have."""
        return {**self.to_json(), **self.medians}


def compare(
    comparison: Comparison, image: Image, own: Stages, peer: PeerStages, progress: Callable[[str], None]
) -> tuple[list[Sample], list[dict[str, Any]]]:
    """All samples, in the order of measuring, and what tuning the peer found."""
    samples: list[Sample] = []
    tuned: list[dict[str, Any]] = []
    for case in comparison.cases:
        found = comparison.tune(case, peer, progress)
        tuned += found
        best = found[0]["poll_max_ns"] if found else DEFAULT_POLL
        polled, asleep = peer(best), peer(DEFAULT_POLL)

        def stages(setting: Setting, polled: Stages = polled, asleep: Stages = asleep) -> Any:
            if setting.rung != comparison.peer:
                return own(setting)
            return polled(setting) if setting.notify == "polling" else asleep(setting)

        for number in range(comparison.rounds):

            def tell(what: str, number: int = number) -> None:
                progress(f"round {number + 1} · {what}")

            rows = measure(comparison.plan(case, number), image, stages, tell)
            samples += [Sample(number + 1, row) for row in rows]
    return samples, tuned


def summarize(samples: Sequence[Sample], peer: str) -> list[Summary]:
    """A row for each rung in each mode under each case; modes stand together, the peer comes last."""
    groups: dict[tuple[str, str, str], dict[int, Row]] = {}
    for sample in samples:
        row = sample.row
        groups.setdefault((row.case, row.notify, row.rung), {})[sample.round] = row
    cases = list(dict.fromkeys(case for case, _, _ in groups))
    notifies = list(dict.fromkeys(notify for _, notify, _ in groups))
    rungs = sorted(dict.fromkeys(rung for _, _, rung in groups), key=lambda rung: rung == peer)
    return [
        _summary(groups[case, notify, rung], groups.get((case, notify, peer), {}))
        for case in cases
        for notify in notifies
        for rung in rungs
        if (case, notify, rung) in groups
    ]


def _summary(rows: Mapping[int, Row], beside: Mapping[int, Row]) -> Summary:
    one = next(iter(rows.values()))
    common = [(row, beside[number]) for number, row in rows.items() if number in beside]
    raws = [row.raw_ratio for row in rows.values() if row.raw_ratio is not None]
    rates = [row.iops for row in rows.values()]
    return Summary(
        case=one.case,
        rung=one.rung,
        notify=one.notify,
        rounds=len(rows),
        medians={name: round(value, 4) for name, value in medians([vars(row) for row in rows.values()]).items()},
        lowest=min(rates),
        highest=max(rates),
        vs_peer=_middle([row.iops / other.iops for row, other in common]),
        priced_vs_peer=_middle([row.priced_iops / other.iops for row, other in common]),
        vs_raw=_middle(raws),
    )


def _middle(ratios: Sequence[float]) -> float | None:
    return round(median(ratios), 4) if ratios else None


def raw_rates(samples: Sequence[Sample]) -> dict[str, tuple[float, str]]:
    """By case, what one thread got from the file itself: the median of the rounds, and the engine of the best."""
    found: dict[str, dict[int, Row]] = {}
    for sample in samples:
        if sample.row.raw_iops is not None:
            found.setdefault(sample.row.case, {})[sample.round] = sample.row
    return {
        case: (
            median(row.raw_iops or 0.0 for row in rows.values()),
            max(rows.values(), key=lambda row: row.raw_iops or 0.0).raw_engine or RAW,
        )
        for case, rows in found.items()
    }
