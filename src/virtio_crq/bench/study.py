# SPDX-License-Identifier: Apache-2.0
"""The study of the copy: which loads are measured on which rungs, turn by turn, and what becomes of the turns.

A *turn* is one machine, up once, that bears all loads of its part; it takes a few seconds. Turns of a round follow each
other, each rung beginning as many rounds as the others, and medians of the rounds are kept. What a turn found is
written down at once, so that a study can be stopped and goes on where it was.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from statistics import median
from typing import Any

from virtio_crq.axes import AXES
from virtio_crq.bench.case import CROWDED, NOTIFIES, QUEUED, RUNGS, SWEPT, Case, chosen
from virtio_crq.bench.crowd import CROWDS, Crowd
from virtio_crq.bench.grammar import cases
from virtio_crq.bench.peers import DEFAULT_POLL, POLLS, RAW, STORAGE_DAEMON
from virtio_crq.bench.rounds import all_calls, medians, rotated
from virtio_crq.bench.row import spread

Record = Mapping[str, Any]  # what a turn found
WORDS = ("case", "rung", *(axis.name for axis in AXES), "asked", "backing", "notify")


@dataclass(frozen=True)
class Turn:
    """One machine in one round: a rung, a crowd, or the raw file (no machine at all)."""

    round: int
    what: str
    notify: str = ""
    poll: int | None = None
    queues: int = 1  # of the disk

    @property
    def name(self) -> str:
        poll = "" if self.poll is None else f"poll-max-ns {self.poll}"
        what = spread(self.what, self.queues)
        return " · ".join(word for word in (f"round {self.round}", what, self.notify, poll) if word)


@dataclass(frozen=True)
class Part:
    """Loads on rungs, the peer among them, on a file."""

    name: str
    loads: Sequence[str]
    rungs: Sequence[str] = ()  # none named: all
    notifies: Sequence[str] = NOTIFIES
    rounds: int = 3
    seconds: float = 0.4
    polls: Sequence[int] = POLLS  # of the peer, when it is polled; per load, that which serves it best counts
    queues: Sequence[int] = (1,)  # of the disk

    def cases(self) -> Sequence[Case]:
        return cases(self.loads)

    def turns(self, peer: bool) -> list[Turn]:
        found = []
        for number in range(self.rounds):
            found.append(Turn(number + 1, RAW))
            for rung in rotated([rung.name for rung in chosen(RUNGS, self.rungs, "rung")], number):
                modes = product(self.notifies, rotated(self.queues, number))
                found += [Turn(number + 1, rung, notify, queues=queues) for notify, queues in modes]
            for notify in self.notifies if peer else ():
                # One that is polled polls as long as serves it best; asleep it is as it comes.
                polls = self.polls if notify == "polling" else (DEFAULT_POLL,)
                found += [Turn(number + 1, STORAGE_DAEMON.name, notify, *mode) for mode in product(polls, self.queues)]
        return found

    def result(self, records: Mapping[Turn, Record]) -> dict[str, Any]:
        """Medians of the rounds, by load, mode and rung."""
        raw = _raw(records)
        groups: dict[tuple[str, str, str, int], dict[int, dict[int, Record]]] = {}
        for turn, record in records.items():
            for row in record.get("rows", ()):
                polled = groups.setdefault((row["case"], turn.notify, turn.what, turn.queues), {})
                polled.setdefault(turn.poll or 0, {})[turn.round] = row
        best = {key: max(polls.values(), key=_rate) for key, polls in groups.items()}
        polls = {key: max(found, key=lambda poll: _rate(found[poll])) for key, found in groups.items()}
        names = [STORAGE_DAEMON.name, *(rung.name for rung in reversed(RUNGS))]
        order = sorted(
            best, key=lambda key: (self.loads.index(key[0]), NOTIFIES.index(key[1]), -names.index(key[2]), key[3])
        )
        rows = []
        for case, notify, what, queues in order:
            beside = best.get((case, notify, STORAGE_DAEMON.name, queues), {})
            rows.append(_middle(best[case, notify, what, queues], beside, raw))
            if len(self.queues) > 1:
                one = best.get((case, notify, what, self.queues[0]), {})
                rows[-1] |= {"queues": queues, "vs_one": _against(best[case, notify, what, queues], one)}
        tuned = {
            spread(f"{case}, {mode}", queues): polls[case, mode, rung, queues]
            for case, mode, rung, queues in order
            if rung == names[0]
        }
        rates = {case: median(rounds.values()) for case, rounds in raw.items()}
        return {"raw": {case: round(rate, 1) for case, rate in rates.items()}, "poll_max_ns": tuned, "rows": rows}


@dataclass(frozen=True)
class CrowdPart:
    """Crowds on one rung, each against one client that has the server for itself; idle ones beside.

    `apart`: each client is a process; otherwise one thread drives them all, so that the server is what is measured.
    """

    name: str
    crowds: Sequence[Crowd]
    rung: str = CROWDED
    notifies: Sequence[str] = NOTIFIES
    rounds: int = 3
    seconds: float = 0.3
    apart: bool = False

    def turns(self, peer: bool) -> list[Turn]:
        return [
            Turn(number + 1, crowd.name, notify)
            for number in range(self.rounds)
            for notify in self.notifies
            for crowd in self.crowds
            if crowd.load or notify != "polling"  # one that asks for nothing does not poll for it
        ]

    def result(self, records: Mapping[Turn, Record]) -> dict[str, Any]:
        """Medians of the rounds; the ratio is that of ratios within a round."""
        rates = {turn: record["rows"][0]["iops"] for turn, record in records.items()}
        rows = []
        for notify, crowd in ((notify, crowd) for notify in self.notifies for crowd in self.crowds):
            found = {turn: record["rows"][0] for turn, record in records.items() if _is(turn, crowd.name, notify)}
            if not found:
                continue
            before = {turn: rates.get(replace(turn, what=crowd.against)) for turn in found}
            ratios = [rates[turn] / rate for turn, rate in before.items() if rate]
            rows.append({**_middle_crowd(list(found.values())), "ratio": _ratio(ratios)})
        return {"rung": self.rung, "apart": self.apart, "rows": rows}


def _is(turn: Turn, what: str, notify: str) -> bool:
    return (turn.what, turn.notify) == (what, notify)


def _crowds() -> Iterator[Crowd]:
    for depth in (32, 2):
        for clients in (1, 2, 4, 16):
            against = "" if (clients, depth) == (1, 32) else "1-qd32"
            yield Crowd(f"{clients}-qd{depth}", clients, f"randread-4k-qd{depth}", against)
    yield Crowd("64-idle", 64)


DEPTHS = (1, 2, 4, 8, 16, 32, 64)
SIZES = ("512", "4k", "16k", "64k", "128k")
PARTS: Sequence[Part | CrowdPart] = (
    Part("rungs", ("randread-4k-qd1", "randread-4k-qd32", "seqread-128k-qd8"), rounds=5, seconds=0.25),
    Part("writes", ("randwrite-4k-qd32",)),  # apart, since writing back goes on while the next is measured
    Part("depths", [f"randread-4k-qd{depth}" for depth in DEPTHS], SWEPT, seconds=0.2, polls=POLLS[1:]),
    Part("sizes", [f"randread-{size}-qd8" for size in SIZES], SWEPT, seconds=0.2, polls=POLLS[1:]),
    Part("queues", ("randread-4k-qd32",), QUEUED, polls=POLLS[1:], queues=(1, 2, 4)),
    CrowdPart("clients", tuple(_crowds())),
    CrowdPart("apart", tuple(CROWDS[:3]), notifies=("sleeping",), apart=True),
)


def quick(parts: Sequence[Part | CrowdPart]) -> Sequence[Part | CrowdPart]:
    """Everything once, and briefly: to see that all of it runs. Counts are as good, times are not."""
    return [replace(part, rounds=1, seconds=0.1) for part in parts]


def _rate(rounds: Mapping[int, Record]) -> float:
    return median(float(row["iops"]) for row in rounds.values())


def _raw(records: Mapping[Turn, Record]) -> dict[str, dict[int, float]]:
    """By load and round, what the better engine gets from the file itself."""
    found: dict[str, dict[int, float]] = {}
    for turn, record in records.items():
        for case, engines in record.get("raw", {}).items():
            found.setdefault(case, {})[turn.round] = max(engines.values())
    return found


def _middle(
    rounds: Mapping[int, Record], peer: Mapping[int, Record], raw: Mapping[str, Mapping[int, float]]
) -> dict[str, Any]:
    """One row of a result file: as `bench --json` has them, medians, and ratios that were taken within a round."""
    # Labelled by a round that did not run as asked, if any did not.
    one = next((row for row in rounds.values() if row.get("asked")), next(iter(rounds.values())))
    found = {name: one[name] for name in WORDS if one.get(name, {}) != {}}  # older turns have fewer
    found |= {name: _short(value) for name, value in medians(list(rounds.values())).items()}
    rates = [row["iops"] for row in rounds.values()]
    beside = raw.get(one["case"], {})
    common = {number: row for number, row in rounds.items() if number in peer}
    return found | {
        "lowest": _short(min(rates)),
        "highest": _short(max(rates)),
        "vs_raw": _ratio([row["iops"] / beside[number] for number, row in rounds.items() if number in beside]),
        "vs_peer": _against(rounds, peer),
        "priced_vs_peer": _ratio([row["priced_iops"] / peer[number]["iops"] for number, row in common.items()]),
        "calls": _by_name(list(rounds.values())),
    }


def _middle_crowd(rows: Sequence[Record]) -> dict[str, Any]:
    numbers = [name for name, value in rows[0].items() if isinstance(value, float)]
    return dict(rows[0]) | {name: _short(median(row[name] for row in rows)) for name in numbers}


def _by_name(rows: Sequence[Record]) -> dict[str, float]:
    """Calls per I/O by their names, of all rounds together."""
    calls = all_calls([row["hcalls"] for row in rows])
    total = sum(calls.values())
    per_io = sum(row["hcalls_per_io"] for row in rows) / len(rows)
    found = {name: count * per_io / total for name, count in calls.items()}
    return {name: round(count, 3) for name, count in found.items() if count >= 0.0005}


def _against(rounds: Mapping[int, Record], others: Mapping[int, Record]) -> float | None:
    """The middle of the ratios within a round."""
    return _ratio([row["iops"] / others[number]["iops"] for number, row in rounds.items() if number in others])


def _ratio(ratios: Sequence[float]) -> float | None:
    return round(median(ratios), 3) if ratios else None


def _short(number: float) -> float:
    """As many digits as a measurement has."""
    return round(number, 4) if number < 100 else round(number, 1)
