# SPDX-License-Identifier: Apache-2.0
"""The cache, filled part by part: what is there stays, what was interrupted continues, and nothing half is believed."""

import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fakearchive import FakeArchive, Told

from virtio_crq.errors import UsageError
from virtio_crq.guests.cache import MANIFEST, Lab
from virtio_crq.guests.lab import part as parts
from virtio_crq.guests.lab import suite as suites
from virtio_crq.guests.lab.deb import Deb
from virtio_crq.guests.lab.filling import GIVEN, Filling
from virtio_crq.guests.lab.manifest import locked
from virtio_crq.guests.lab.part import Archive, Part, Staged

pytestmark = pytest.mark.skipif(not shutil.which("apt-get"), reason="this host has no APT")


class Bench(NamedTuple):
    """A cache, and the archive that fills it. `part` is the userland, of one package `busybox`."""

    root: Path
    archive: FakeArchive
    told: Told
    part: Part

    def filling(self) -> Filling:
        return Filling.at(self.root, self.archive.url, self.told)

    def with_finish(self, finish: Callable[[Staged], dict[str, Any]]) -> Part:
        return Part(self.part.key, self.part.what, self.part.plan, finish)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    for module in (suites, parts):
        monkeypatch.setattr(module, "KEYRING", tmp_path / "no keyring here")
    archive = FakeArchive(tmp_path / "archive")
    archive.add("busybox", {"usr/bin/busybox": "one"}, version="1-1")

    def plan(where: Archive) -> list[Deb]:
        return where.suite("sid").closure(["busybox"], "ppc64el")

    part = Part("userland", "programs", plan, lambda staged: {"path": staged.name(staged.now)})
    root = tmp_path / "lab"
    root.mkdir()
    return Bench(root, archive, Told(), part)


def interrupted(staged: Staged) -> dict[str, Any]:
    assert (staged.now / "usr/bin/busybox").exists()
    raise KeyboardInterrupt


def test_a_filled_lab_is_read_by_its_users(bench: Bench) -> None:
    filling = bench.filling()
    filling.need(bench.part)
    filling.tidy()
    assert (Lab.open(bench.root).userland() / "usr/bin/busybox").read_text() == "one"
    rows = json.loads((bench.root / MANIFEST).read_text())["userland"]["packages"]
    assert [(row["name"], row["version"], len(row["sha256"])) for row in rows] == [("busybox", "1-1", 64)]
    assert sorted(path.name for path in bench.root.iterdir()) == [MANIFEST, "parts"]


def test_a_second_run_asks_nobody(bench: Bench) -> None:
    bench.filling().need(bench.part)
    shutil.rmtree(bench.archive.root)
    said = list(bench.told.lines)
    bench.filling().need(bench.part)
    assert bench.told.lines == said


def test_a_run_interrupted_while_it_fetches_continues_with_the_same_plan(bench: Bench) -> None:
    filling = bench.filling()
    (bench.archive.root / "pool").rename(bench.archive.root / "away")
    with pytest.raises(UsageError):
        filling.need(bench.part)
    assert not (bench.root / MANIFEST).exists()
    (bench.archive.root / "away").rename(bench.archive.root / "pool")
    shutil.rmtree(bench.archive.root / "dists")  # the plan is not made again
    bench.filling().need(bench.part)
    assert Lab.open(bench.root).userland().is_dir()


def test_a_run_interrupted_while_it_unpacks_leaves_nothing_that_counts(bench: Bench) -> None:
    with pytest.raises(KeyboardInterrupt):
        bench.filling().need(bench.with_finish(interrupted))
    assert not (bench.root / MANIFEST).exists()
    assert not bench.filling().have(bench.part)
    shutil.rmtree(bench.archive.root)  # what was fetched is not fetched again
    bench.filling().need(bench.part)
    assert (Lab.open(bench.root).userland() / "usr/bin/busybox").exists()


@pytest.mark.skipif(not shutil.which("setpriv"), reason="without setpriv, apt-get ends by itself")
def test_what_a_killed_run_had_started_does_not_outlive_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pid")
    run = "import sys\nfrom virtio_crq.guests.lab.child import run_child\nrun_child(['sh', '-c', sys.argv[1]])"
    shell = f"echo $$ >'{tmp_path}/pid'; exec sleep 1000"
    parent = subprocess.Popen([sys.executable, "-c", run, shell])
    child = os.pidfd_open(int((tmp_path / "pid").read_text()))
    try:
        parent.kill()
        parent.wait()
        assert select.select([child], [], [], 10)[0], "it runs on"
    finally:
        os.close(child)


def test_a_part_that_was_removed_by_hand_comes_back(bench: Bench) -> None:
    bench.filling().need(bench.part)
    shutil.rmtree(bench.root / "parts")
    with pytest.raises(UsageError, match=r"is gone: run \./lab again"):
        Lab.open(bench.root).userland()
    bench.filling().need(bench.part)
    assert Lab.open(bench.root).userland().is_dir()


def test_a_part_whose_programs_were_made_for_another_place_is_made_anew(bench: Bench, tmp_path: Path) -> None:
    placed = bench.with_finish(lambda staged: {"path": staged.name(staged.now), "place": str(staged.final)})
    bench.filling().need(placed)
    bench.root.rename(tmp_path / "moved")
    moved = bench._replace(root=tmp_path / "moved")
    assert not moved.filling().have(placed)
    moved.filling().need(placed)
    assert moved.filling().have(placed)


def test_a_newer_version_comes_only_when_it_is_asked_for(bench: Bench) -> None:
    bench.filling().need(bench.part)
    bench.archive.add("busybox", {"usr/bin/busybox": "two"}, version="2-1")
    bench.filling().need(bench.part)
    assert (Lab.open(bench.root).userland() / "usr/bin/busybox").read_text() == "one"
    bench.filling().need(bench.part, renew=True)
    assert (Lab.open(bench.root).userland() / "usr/bin/busybox").read_text() == "two"
    said = len(bench.told.lines)
    bench.filling().need(bench.part, renew=True)
    assert not any("fetching" in line for line in bench.told.lines[said:]), "the newest is here"


def test_a_plan_whose_packages_left_the_archive_is_made_anew(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    filling = bench.filling()
    (bench.archive.root / "pool").rename(bench.archive.root / "away")
    with pytest.raises(UsageError):
        filling.need(bench.part)
    bench.archive.add("busybox", {"usr/bin/busybox": "two"}, version="2-1")
    # A web server would answer 404; a file that is not there is told apart from it here.
    plan = json.loads((bench.root / "plans/userland.json").read_text())
    fetch = filling._downloads.fetch

    def gone(debs: list[Deb]) -> None:
        from virtio_crq.guests.lab.download import Gone

        if debs == [Deb(**row) for row in plan]:
            raise Gone("it left")
        fetch(debs)

    monkeypatch.setattr(filling._downloads, "fetch", gone)
    filling.need(bench.part)
    assert (Lab.open(bench.root).userland() / "usr/bin/busybox").read_text() == "two"


def test_too_little_room_is_seen_before_anything_is_fetched(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        free: int = 1000

    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage())
    with pytest.raises(UsageError, match=r"has 0 MiB left: free some, or set VIRTIO_CRQ_LAB"):
        bench.filling().need(bench.part)
    assert not (bench.root / "debs").exists()


def test_what_a_person_gave_is_not_replaced(bench: Bench) -> None:
    filling = bench.filling()
    filling.manifest.put("userland", {"path": "/srv/programs", "origin": GIVEN, "packages": []})
    filling.need(bench.part, renew=True)
    assert bench.told.lines == []


def test_a_manifest_that_is_not_of_our_writing_is_no_obstacle(bench: Bench) -> None:
    (bench.root / MANIFEST).write_text('{"userland": {"pa')
    with pytest.raises(UsageError, match=r"cannot be read .*run \./lab again"):
        Lab.open(bench.root)
    bench.filling().need(bench.part)
    assert Lab.open(bench.root).userland().is_dir()


def test_two_at_once_the_second_says_so_and_waits(bench: Bench) -> None:
    second = threading.Event()

    class Waits(Told):
        def say(self, text: str) -> None:
            super().say(text)
            said.set()

    said = threading.Event()
    told = Waits()

    def other() -> None:
        with locked(bench.root, told):
            second.set()

    with locked(bench.root, bench.told):
        thread = threading.Thread(target=other)
        thread.start()
        assert said.wait(10)
        assert not second.is_set()
    thread.join(10)
    assert second.is_set()
    assert told.lines == [f"another ./lab is at work in {bench.root}: waiting for it"]
    with (bench.root / "lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_folder_that_cannot_be_written_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UsageError, match=r"cannot be written in .*set VIRTIO_CRQ_LAB to a folder of yours"),
        locked(tmp_path / "file" / "lab", Told()),
    ):
        pass
