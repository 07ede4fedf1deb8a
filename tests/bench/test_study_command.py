# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq bench study`: pieces, resumption, and results that appear when a part is whole."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress
from rows import fields
from typer.testing import CliRunner, Result

from virtio_crq.bench.case import Case
from virtio_crq.bench.image import fill, written_by
from virtio_crq.bench.study import PARTS, CrowdPart, Part, Turn
from virtio_crq.cli import benchstudy
from virtio_crq.cli.application import app
from virtio_crq.cli.studystage import StudyMachines
from virtio_crq.errors import VirtioCrqError

SMALL = Part("rungs", ("randread-4k-qd32",), ("naive", "batched"), rounds=1)
TURNS = len(SMALL.turns(peer=False))


class Clock:
    """A second passes whenever somebody looks."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 1.0
        return self.now


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []

    def take(machines: StudyMachines, part: Part | CrowdPart, turn: Turn) -> dict[str, Any]:
        names.append(turn.name)
        if turn.what == "raw":
            return {"raw": {"randread-4k-qd32": {"pread": 1e6}}}
        return {"rows": [fields(rung=turn.what, notify=turn.notify, hcalls={"H_SEND_CRQ": 1})]}

    monkeypatch.setattr(StudyMachines, "take", take)
    monkeypatch.setattr(benchstudy, "PARTS", [SMALL])
    monkeypatch.setattr(benchstudy, "dataplane", lambda: "compiled")
    monkeypatch.setattr(benchstudy, "pictures", lambda out: [])
    monkeypatch.setattr(benchstudy, "find_peer", lambda console: "")
    return names


def study(tmp_path: Path, *words: str) -> Result:
    image = tmp_path / "image"
    if not image.exists():
        fill(image, 1 << 20, lambda done: None)
    command = ["bench", "study", "--out", str(tmp_path / "out"), "--file", str(image), *words]
    return CliRunner().invoke(app, command)


def test_a_part_that_is_whole_is_a_file_and_is_not_measured_again(tmp_path: Path, taken: list[str]) -> None:
    assert study(tmp_path).exit_code == 0
    assert len(taken) == TURNS
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["rungs.json"]
    assert study(tmp_path).exit_code == 0
    assert len(taken) == TURNS


def test_a_piece_ends_when_its_time_is_over_and_the_next_goes_on(
    tmp_path: Path, taken: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchstudy, "time", Clock())
    done = study(tmp_path, "--for", "3")
    assert (done.exit_code, len(taken)) == (75, 2)
    assert f"{TURNS - 2} turns are left; call it again to go on" in done.output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["rungs.turns"]
    assert study(tmp_path).exit_code == 0
    assert len(taken) == len(set(taken)) == TURNS


def test_interrupted_it_keeps_what_it_has(tmp_path: Path, taken: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    take = StudyMachines.take

    def interrupted(machines: StudyMachines, part: Part, turn: Turn) -> Any:
        if len(taken) == 3:
            raise KeyboardInterrupt
        return take(machines, part, turn)

    with monkeypatch.context() as patch:
        patch.setattr(StudyMachines, "take", interrupted)
        done = study(tmp_path)
    assert (done.exit_code, len(taken)) == (130, 3)
    assert "stopped; call it again to go on" in done.output
    assert study(tmp_path).exit_code == 0
    assert len(taken) == TURNS


def test_a_machine_that_fails_is_told_and_the_next_turn_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Any:
        raise VirtioCrqError("the client: it ended without a word")

    machines = StudyMachines(tmp_path, None, "")  # type: ignore[arg-type]
    monkeypatch.setattr(StudyMachines, "_rung", broken)
    turn = SMALL.turns(peer=False)[1]
    assert machines.take(SMALL, turn) == {"error": "the client: it ended without a word"}


def test_without_a_place_or_with_a_part_that_is_none_nothing_is_measured(tmp_path: Path, taken: list[str]) -> None:
    assert CliRunner().invoke(app, ["bench", "study"]).exit_code != 0
    assert study(tmp_path, "--part", "colours").exit_code != 0
    assert taken == []


def test_every_part_asks_for_rungs_and_loads_that_there_are() -> None:
    for part in PARTS:
        assert part.turns(peer=True)


def test_random_writes_are_measured_on_a_file_that_was_written_by_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written in large pieces is cached in large folios, and each small write walks all of one."""
    made: list[int] = []

    def small(_stack: ExitStack, _progress: Progress, cases: Sequence[Case]) -> Path:
        made.append(written_by(cases))
        path = tmp_path / str(len(made))
        fill(path, 4 << 20, lambda _done: None)
        return path

    monkeypatch.setattr(benchstudy, "made_image", small)
    parts = {part.name: part for part in PARTS}
    with ExitStack() as stack:
        files = benchstudy.Files(stack, Progress(), Console(), None, "")
        places = {name: files.machines(part).path for name, part in parts.items()}
        assert made == [written_by(()), 4096]
    assert {name for name, path in places.items() if path.name == "2"} == {"writes"}
