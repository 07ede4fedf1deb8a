# SPDX-License-Identifier: Apache-2.0
"""Peers take turns with our rungs, the best tuned of them is compared, and ratios are those of one round."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console
from rows import row

from virtio_crq.bench.case import RUNGS, Case
from virtio_crq.bench.grammar import case
from virtio_crq.bench.image import fill, pinned
from virtio_crq.bench.peerreport import report
from virtio_crq.bench.peers import (
    ANY_BACKEND,
    DEFAULT_POLL,
    PEERS,
    POLLS,
    STORAGE_DAEMON,
    TRIES,
    Comparison,
    compare,
    raw_rates,
    summarize,
)
from virtio_crq.bench.rounds import Sample
from virtio_crq.bench.row import Counts, Load
from virtio_crq.bench.run import Setting, Stages

CASES = [case("randread-4k-qd8"), case("randread-4k-qd1")]
BEST = POLLS[1]
TUNED = TRIES * len(POLLS)


class Scene:
    """Stages that only write down who was measured, and with what polling."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, int | None]] = []

    def own(self, setting: Setting) -> "Stage":
        return Stage(self, setting, None)

    def peer(self, polling: int) -> Stages:
        return lambda setting: Stage(self, setting, polling)


class Stage:
    def __init__(self, scene: Scene, setting: Setting, polling: int | None) -> None:
        self.scene, self.setting, self.polling = scene, setting, polling

    def __enter__(self) -> "Stage":
        self.scene.seen.append((self.setting.rung.name, self.setting.notify, self.polling))
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def counts(self) -> Counts:
        return Counts({}, 0, 0, 0)

    def load(self, case: Case, seconds: float) -> Load:
        rate = 2000 if self.polling == BEST else 1000
        return Load(requests=rate, seconds=1.0, p50_us=9.0, p99_us=20.0, cpu_seconds=0.02, batch=4.0)


@contextmanager
def image(tmp_path: Path) -> Iterator[object]:
    path = tmp_path / "image"
    fill(path, 1 << 20, lambda done: None)
    with pytest.MonkeyPatch.context() as patch, pinned(path) as found:
        patch.setattr("virtio_crq.bench.run.RAW_SECONDS", 0.002)
        yield found


def comparison(**words: object) -> Comparison:
    plain = {"rounds": 2, "seconds": 0.1, "dataplane": "compiled", "notifies": ("polling", "sleeping")}
    return Comparison(cases=CASES, rungs=RUNGS[:2], **{"peer": STORAGE_DAEMON} | plain | words)  # type: ignore[arg-type]


def ran(tmp_path: Path, what: Comparison) -> tuple[Scene, list[Sample], list[dict[str, object]], int]:
    scene, told = Scene(), []
    with image(tmp_path) as found:
        samples, tuned = compare(what, found, scene.own, scene.peer, told.append)  # type: ignore[arg-type]
    return scene, samples, tuned, len(told)


def test_each_takes_its_turn_as_the_first_of_a_round(tmp_path: Path) -> None:
    scene, samples, _, told = ran(tmp_path, what := comparison())
    assert told == len(what)
    assert len(samples) == len(CASES) * 2 * 2 * 3
    assert {sample.round for sample in samples} == {1, 2}
    own = [name for name, _, _ in scene.seen[TUNED:]]
    assert own[:3] == ["naive", "batched", "qemu-storage-daemon"]
    assert own[6:9] == ["batched", "qemu-storage-daemon", "naive"]


def test_the_polled_daemon_is_the_best_tuned_and_the_sleeping_one_as_it_comes(tmp_path: Path) -> None:
    scene, samples, tuned, _ = ran(tmp_path, comparison())
    assert next(row["poll_max_ns"] for row in tuned if row["case"] == CASES[0].name) == BEST
    assert sorted(row["poll_max_ns"] for row in tuned) == sorted(2 * POLLS)  # type: ignore[type-var]
    measured = {(notify, polling) for name, notify, polling in scene.seen[TUNED : TUNED + 12] if polling}
    assert measured == {("polling", BEST), ("sleeping", DEFAULT_POLL)}
    assert {sample.row.fetch for sample in samples if sample.row.rung == STORAGE_DAEMON.name} == {"shared"}


def test_a_back_end_of_others_is_not_tuned(tmp_path: Path) -> None:
    _, samples, tuned, told = ran(tmp_path, what := comparison(peer=ANY_BACKEND, polls=()))
    assert tuned == []
    assert told == len(what) == len(samples)


def test_nothing_is_tuned_when_nobody_polls(tmp_path: Path) -> None:
    _, _, tuned, told = ran(tmp_path, what := comparison(notifies=("sleeping",)))
    assert tuned == []
    assert told == len(what)


def samples() -> list[Sample]:
    """Three rounds in which the machine is slower and slower: ratios stay, rates do not."""
    found = []
    for number, speed in enumerate((1.0, 0.5, 0.1), start=1):
        ours = {"iops": 3e6 * speed, "priced_iops": 1e6 * speed}
        found.append(Sample(number, row(rung=STORAGE_DAEMON.name, iops=2e6 * speed, priced_iops=2e6 * speed)))
        found.append(Sample(number, row(**ours)))
    return found


def test_ratios_are_those_of_a_round() -> None:
    ours, peer = summarize(samples(), STORAGE_DAEMON.name)
    assert (ours.rung, peer.rung) == ("batched", STORAGE_DAEMON.name)  # the peer comes last
    assert (ours.vs_peer, ours.priced_vs_peer, ours.vs_raw) == (1.5, 0.5, 0.5)
    assert (ours.rounds, ours.medians["iops"], ours.lowest, ours.highest) == (3, 1.5e6, 3e5, 3e6)
    assert peer.vs_peer == 1.0


def test_a_round_that_the_peer_lacks_has_no_ratio() -> None:
    (ours,) = summarize([Sample(1, row())], STORAGE_DAEMON.name)
    assert ours.vs_peer is None
    assert raw_rates([Sample(1, row(raw_iops=None))]) == {}


def test_the_report_prints_counts_of_ours_then_times_of_all_then_prices() -> None:
    out = io.StringIO()
    report(summarize(samples(), STORAGE_DAEMON.name), raw_rates(samples()), PEERS, Console(file=out, width=120))
    counts, rest = out.getvalue().split("Time in the emulator")
    times, priced = rest.split("Time with prices")
    ours = next(line for line in counts.splitlines() if "batched" in line).split()
    assert ours == ["randread-4k-qd32", "polling", "batched", "10.00", "6.00", "3.00", "4,096", "0.00", "0.000"]
    assert STORAGE_DAEMON.name not in counts
    assert "1.50" in next(line for line in times.splitlines() if "batched" in line).split()
    assert STORAGE_DAEMON.name in times
    assert any("raw io_uring" in line and "2,000,000" in line for line in times.splitlines())
    assert next(line for line in priced.splitlines() if "batched" in line).split()[-1] == "0.50"


def test_the_report_says_of_which_row_in_which_mode_a_goal_was_reached() -> None:
    out = io.StringIO()
    report(summarize(samples(), STORAGE_DAEMON.name), raw_rates(samples()), PEERS, Console(file=out, width=140))
    goals = out.getvalue().split("What was aimed at")[1]
    ratio = next(line for line in goals.splitlines() if "÷ the peer " in line).split()
    assert ratio == [
        "randread-4k-qd32", "polling", "copy", "÷", "the", "peer", "≥", "1.4", "2", "1.50", "met", "batched",
    ]  # fmt: skip
    assert "sleeping" not in goals
