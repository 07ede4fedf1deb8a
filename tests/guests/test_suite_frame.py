# SPDX-License-Identifier: Apache-2.0
"""The suite's frame with guests that are no guests: results, console lines, and a new guest after each failure."""

import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from virtio_crq.cli.application import app
from virtio_crq.errors import UsageError, VirtioCrqError
from virtio_crq.guests.complaints import TROUBLE
from virtio_crq.guests.suite import changes, consoles, disks, endurance, identity, memory
from virtio_crq.guests.suite.check import Boot, Check, CheckFailed, Result, chosen
from virtio_crq.guests.suite.run import play
from virtio_crq.guests.suite.table import TABLE

MODULES = (changes, consoles, disks, endurance, identity, memory)


class Stage:
    """Stands for a scene; says which guest was booted when."""

    def __init__(self, complaints: list[str] | None = None) -> None:
        self.boots: list[bool] = []
        self.there: bool | None = None
        self.complaints = complaints or []

    def need(self, root: bool) -> None:
        if self.there is not root:
            self.boots.append(root)
            self.there = root

    def leave(self) -> None:
        self.there = None

    def trouble(self) -> list[str]:
        return self.complaints

    def last_lines(self) -> list[str]:
        return ["the last line"]


def fine(_stage: Stage) -> str:
    return "all well"


def bad(_stage: Stage) -> str:
    raise CheckFailed("it did not")


def rows(*runs: object, boot: Boot = Boot.ROOT) -> list[Check]:
    return [Check(f"check{number}", "shows", boot, run) for number, run in enumerate(runs)]  # type: ignore[arg-type]


def confused(_stage: Stage) -> str:
    raise KeyError("jobs")


def silent(_check: Check, _result: Result | None) -> None: ...


def test_checks_share_a_guest_until_one_fails() -> None:
    stage = Stage()
    results = play(rows(fine, fine, bad, fine), stage, silent)  # type: ignore[arg-type]
    assert [result.passed for result in results] == [True, True, False, True]
    assert stage.boots == [True, True]
    assert stage.there is None
    assert (results[2].detail, results[2].console) == ("it did not", ["the last line"])
    assert results[0].console == []


def test_a_kernel_that_complains_fails_the_check_that_made_it() -> None:
    (result,) = play(rows(fine), Stage(["BUG: it did"]), silent)  # type: ignore[arg-type]
    assert not result.passed
    assert "BUG: it did" in result.detail


def test_a_check_that_ends_its_guest_is_not_asked_what_the_kernel_said() -> None:
    row = Check("last", "shows", Boot.MEMORY, fine, ends_guest=True)  # type: ignore[arg-type]
    stage = Stage(["BUG: nobody may ask"])
    (result,) = play([row], stage, silent)  # type: ignore[arg-type]
    assert result.passed
    assert stage.boots == [False]


def test_a_guest_that_does_not_boot_is_a_result_of_each_check() -> None:
    class Dead(Stage):
        def need(self, root: bool) -> None:
            raise VirtioCrqError("it did not boot")

    results = play(rows(fine, fine), Dead(), silent)  # type: ignore[arg-type]
    assert [result.detail for result in results] == ["it did not boot"] * 2


def test_a_mistake_of_the_check_itself_is_a_result_too() -> None:
    results = play(rows(confused, fine), Stage(), silent)  # type: ignore[arg-type]
    assert [result.passed for result in results] == [False, True]
    assert results[0].detail == "the check itself: KeyError('jobs')"


def test_results_are_told_as_they_come_and_become_json() -> None:
    told: list[tuple[str, bool | None]] = []
    (result,) = play(rows(bad), Stage(), lambda check, end: told.append((check.name, end and end.passed)))  # type: ignore[arg-type]
    assert told == [("check0", None), ("check0", False)]
    row = result.to_json()
    assert (row["name"], row["result"], row["console"]) == ("check0", "failed", ["the last line"])


def test_every_check_has_its_place_in_the_order() -> None:
    made = {row.name for module in MODULES for row in vars(module).values() if isinstance(row, Check)}
    assert sorted(made) == sorted(row.name for row in TABLE)
    boots = [row.boot for row in TABLE]
    assert boots == sorted(boots, key=lambda boot: boot is Boot.MEMORY), "no guest is booted twice"


def test_only_names_that_exist_can_be_chosen_and_keep_their_order() -> None:
    assert [row.name for row in chosen(TABLE, ["kills", "boot"])] == ["boot", "kills"]
    with pytest.raises(UsageError, match="no check 'fly'; there are: boot, "):
        chosen(TABLE, ["fly"])


@pytest.mark.parametrize(
    ("line", "bad"),
    [
        ("[    0.16] WARNING: nvram corruption detected: 0-length partition", False),
        ("[    9.12] ------------[ cut here ]------------", True),
        ("[    9.12] BUG: Unable to handle kernel data access", True),
        ("[    9.12] rcu: INFO: rcu_sched detected stalls on CPUs/tasks:", True),
        ("[    9.12] INFO: task fio:77 blocked for more than 120 seconds.", True),
        ("[    9.12] I/O error, dev vdc, sector 0 op 0x0:(READ)", False),
    ],
)
def test_a_kernels_complaints_are_known_from_what_it_says_in_good_health(line: str, bad: bool) -> None:
    found = subprocess.run(["grep", "-E", TROUBLE], input=line, text=True, capture_output=True)
    assert (found.returncode == 0) is bad


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--only", "fly"], "no check 'fly'"),
        (["--kernel", "5.10"], "no kernel '5.10': say 6.1, 6.12, 7.2 or all"),
        (["--firmware", "bios"], "firmware 'bios' is not one of vof, slof"),
        (["--json", "/"], "/ is a directory; name a file in it"),
        (["--json", "/no/such/place/report"], "/no/such/place/report: no such directory"),
    ],
)
def test_bad_words_are_one_line(words: list[str], said: str) -> None:
    done = CliRunner().invoke(app, ["guests", "test", *words])
    assert isinstance(done.exception, UsageError)
    assert said in str(done.exception)


def test_without_a_lab_one_line_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRTIO_CRQ_LAB", str(tmp_path))
    done = CliRunner().invoke(app, ["guests", "test"])
    assert "run ./lab once" in str(done.exception)


def test_the_list_says_what_each_check_shows() -> None:
    done = CliRunner().invoke(app, ["guests", "test", "--list"])
    assert done.exit_code == 0
    assert [line.split()[0] for line in done.output.splitlines()] == [row.name for row in TABLE]
