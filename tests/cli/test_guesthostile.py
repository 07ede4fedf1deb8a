# SPDX-License-Identifier: Apache-2.0
"""What the hostile acts ask of a guest's shell, asked of this one: files are its disks."""

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from virtio_crq.cli import guesthostile
from virtio_crq.cli.guesthostile import GuestSubject, acts, play_hostile
from virtio_crq.conformance.hostile.act import Act
from virtio_crq.conformance.hostile.trial import Trial, TrialFailed
from virtio_crq.guests.suite.check import CheckFailed

SIZE = 64 << 10


class Shell:
    """Stands for a scene."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.facts: dict[str, Any] = {}
        for tool, script in {"dmesg": f"cat {place}/log", "usleep": "sleep 0.02"}.items():
            (place / tool).write_text(f"#!/bin/sh\n{script}\n")
            (place / tool).chmod(0o755)
        (place / "log").write_text("virtio_crq: all is well\n")

    def run(self, command: str, seconds: float = 0) -> str:
        script = command.replace("/sys/block", str(self.place / "block"))
        environment = {**os.environ, "PATH": f"{self.place}:{os.environ['PATH']}"}
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, env=environment)
        return done.stdout

    def lines(self, command: str) -> list[str]:
        return self.run(command).split("\n")[:-1]

    def disk(self, name: str) -> str:
        return str(self.place / name)


@pytest.fixture
def subject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GuestSubject:
    """With a disk 1, which is a file; its adapter has counted two frames."""
    monkeypatch.setattr(guesthostile, "PLACE", str(tmp_path / "place"))
    monkeypatch.setattr(
        guesthostile, "COMPLAINTS", guesthostile.COMPLAINTS.replace("/run/hostile", str(tmp_path / "place"))
    )
    monkeypatch.setattr(guesthostile, "PATIENCE", 0.0)
    for name in ("data", "vdx"):
        (tmp_path / name).write_bytes(bytes(SIZE))
    (tmp_path / "block/vdx").mkdir(parents=True)
    (tmp_path / "block/vdx/diskseq").write_text("5\n")
    (tmp_path / "rules").write_text("frame 2\nused-ahead 0\n")
    made = GuestSubject(Shell(tmp_path), 3)  # type: ignore[arg-type]
    made.adapter = str(tmp_path)
    made._disks[1] = str(tmp_path / "vdx"), "5"
    monkeypatch.setattr(made, "_there", lambda path, number: f'[ "$(cat /sys/block/vdx/diskseq)" = {number} ]')
    return made


def test_a_read_ends_well_or_says_why(subject: GuestSubject, tmp_path: Path) -> None:
    assert subject.ended(subject.begin(1)) == ""
    assert not subject.stopped(1)
    (tmp_path / "vdx").unlink()
    assert "vdx" in str(subject.ended(subject.begin(1)))
    assert subject.stopped(1)


def test_a_disk_that_has_come_to_its_end_brings_no_error_and_is_no_good(subject: GuestSubject, tmp_path: Path) -> None:
    (tmp_path / "vdx").write_bytes(b"")
    assert "0 bytes copied" in str(subject.ended(subject.begin(1)))
    assert subject.stopped(1)


def test_another_disk_of_the_same_letter_is_another_disk(subject: GuestSubject, tmp_path: Path) -> None:
    (tmp_path / "block/vdx/diskseq").write_text("6\n")
    assert subject.stopped(1)


def test_a_read_that_hangs_has_not_ended(subject: GuestSubject, tmp_path: Path) -> None:
    (tmp_path / "vdx").unlink()
    os.mkfifo(tmp_path / "vdx")
    pending = subject.begin(1)
    assert subject.ended(pending) is None
    with pytest.raises(TrialFailed, match=r"no answer of device 1; counted: frame 2$"):
        subject.stopped(1)
    with open(tmp_path / "vdx", "wb"):  # both are let go
        pass


def test_counts_come_along_with_other_answers_and_serve_once(subject: GuestSubject, tmp_path: Path) -> None:
    subject.verify(1)
    (tmp_path / "rules").write_text("frame 3\n")
    assert subject.counted(("frame", "init-code")) == 2  # as it was at the end of the verification
    assert subject.counted(("frame", "init-code")) == 3
    assert subject.counted(()) == 0


@pytest.mark.parametrize("word", ["[ 9.1] BUG: it did", "[ 9.2] rcu: INFO: rcu_sched detected stalls on CPUs/tasks:"])
def test_io_that_is_well_in_a_kernel_that_is_not_is_a_failure(subject: GuestSubject, tmp_path: Path, word: str) -> None:
    subject.verify(1)
    (tmp_path / "log").write_text(f"all was well\n{word}\n")
    with pytest.raises(TrialFailed, match=word[6:12].strip()):
        subject.verify(1)


def test_a_kernel_whose_log_cannot_be_read_is_not_well(subject: GuestSubject, tmp_path: Path) -> None:
    (tmp_path / "log").unlink()
    with pytest.raises(TrialFailed, match="verified I/O"):
        subject.verify(1)


def test_the_report_says_what_was_not_played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_trial: Trial, act: Act) -> dict[str, Any]:
        return {"act": act.name, "result": "failed", "detail": "no such luck"}

    class Nobody:
        def __init__(self, *_words: object, **_more: object) -> None: ...

        def __enter__(self) -> "Nobody":
            return self

        def __exit__(self, *_exception: object) -> None: ...

    for name in ("attach", "HostileServer", "GuestSubject", "Trial"):
        monkeypatch.setattr(guesthostile, name, Nobody)
    monkeypatch.setattr(guesthostile, "_play", fail)
    scene = SimpleNamespace(facts={}, run=lambda command: "")
    with pytest.raises(CheckFailed, match=rf"^6 of 6 acts, {len(acts()) - 6} not played: .*: no such luck"):
        play_hostile(scene, tmp_path, "mallory", 3)  # type: ignore[arg-type]
    assert len(scene.facts["hostile"]) == 6
