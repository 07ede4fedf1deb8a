# SPDX-License-Identifier: Apache-2.0
"""Every check, and the guest's side of the hostile acts, in front of guests that fail: a result with a reason."""

import itertools
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from virtio_crq.errors import VirtioCrqError
from virtio_crq.guests.agent import Result
from virtio_crq.guests.suite import endurance
from virtio_crq.guests.suite import scene as scenes
from virtio_crq.guests.suite.check import Check
from virtio_crq.guests.suite.run import play
from virtio_crq.guests.suite.scene import NAMES, Scene, naming
from virtio_crq.guests.suite.table import TABLE

WORDS = ("", "no such thing\n", "0\n", "1 2 3\n4 5 6\n", "/dev/vda\n")


class Babbler:
    """An agent in whose guest all commands end with one status and one output."""

    def __init__(self, status: int, said: str) -> None:
        self.status, self.said = status, said

    def run(self, command: str, seconds: float = 0) -> Result:
        return Result(self.status, self.said.encode(), len(self.said))

    def check(self, command: str, seconds: float = 0) -> str:
        if self.status:
            raise VirtioCrqError(f"status {self.status}")
        return self.said

    def put(self, content: bytes, path: str) -> None: ...

    def get(self, path: str) -> bytes:
        return self.said.encode()


class Ruin:
    """A house in which commands do nothing, and a client makes no progress."""

    def command(self, *arguments: str) -> str:
        return ""

    def kill(self, server: str) -> None: ...

    def start(self, server: str) -> None: ...

    def suspend(self, server: str) -> None: ...

    def calls(self, server: str) -> dict[str, int]:
        return {}

    @contextmanager
    def neighbour(self) -> Iterator[Any]:
        yield SimpleNamespace(progress=lambda: 0)

    @contextmanager
    def attached(self, target: str, port: str = "") -> Iterator[Any]:
        yield SimpleNamespace(send=lambda data: None, heard=lambda: b"", resize=lambda columns, rows: None)

    def hostile(self, scene: Scene) -> str:
        raise VirtioCrqError("nobody is hostile here")


def wreck(status: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """A scene whose guest is there but good for nothing, on a clock that jumps."""
    now = itertools.count(0.0, 5.0)
    monkeypatch.setattr(scenes, "time", SimpleNamespace(monotonic=lambda: next(now), sleep=lambda seconds: None))
    for name in ("vmlinux", "module.ko"):
        (tmp_path / name).write_bytes(b"")
    guest = SimpleNamespace(
        wait=lambda seconds: None,
        slot_node=lambda unit: b"",
        slot_name=lambda unit: "slot",
        console=SimpleNamespace(last_lines=lambda count: ["the last line"]),
        running=True,
        close=lambda: None,
    )
    carried = SimpleNamespace(name="virtio", sha256="0", ours=True, path=tmp_path / "module.ko")
    kernel = SimpleNamespace(vmlinux=tmp_path / "vmlinux", release="6.1.0", packages=[])
    made = Scene(Ruin(), kernel, SimpleNamespace(modules=[carried], builtin=[]), tmp_path)  # type: ignore[arg-type]
    made.guest, made._agent = guest, Babbler(status, said)  # type: ignore[assignment]
    monkeypatch.setattr(Scene, "need", lambda self, root: None)
    return made


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
@pytest.mark.parametrize("said", WORDS, ids=range(len(WORDS)))
@pytest.mark.parametrize("status", [0, 1])
def test_no_check_passes_in_front_of_a_ruin(
    row: Check, said: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (result,) = play([row], wreck(status, said, tmp_path, monkeypatch), lambda _check, _result: None)
    assert not result.passed
    assert result.detail
    assert result.console == ["the last line"]


def test_of_a_load_that_stands_still_it_is_said_what_its_disk_has_in_flight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = wreck(0, "3 1 0 0 8", tmp_path, monkeypatch)
    (result,) = play([endurance.kills], scene, lambda _check, _result: None)
    assert result.detail == "no progress of the load within 60 s; reads and writes in flight: 3 1 0 0 8"


@pytest.fixture
def blocks(tmp_path: Path) -> Path:
    """Three block devices as sysfs has them, and a place for the names."""
    for number, (device, name) in enumerate({"vda": "root", "vdb": "data", "vdc": "database"}.items()):
        place = tmp_path / "block" / device
        place.mkdir(parents=True)
        (place / "diskseq").write_text(f"{number + 7}\n")
        (place / "serial").write_text(name)
    return tmp_path


def ask(blocks: Path, name: str) -> list[str]:
    """What a guest's shell would find; asked until the background has answered."""
    script = f"{NAMES}\nwait\n{naming(name)}".replace("usleep 10000", "true")
    script = script.replace("/sys/block", f"{blocks}/block").replace("/run/names", f"{blocks}/names")
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False).stdout.split()


def test_a_disk_is_found_by_its_name_and_forgotten_with_its_number(blocks: Path) -> None:
    assert ask(blocks, "data") == [f"{blocks}/block/vdb".replace(f"{blocks}/block", "/dev"), "8"]
    assert ask(blocks, "dat") == []
    (blocks / "block/vdb/diskseq").write_text("12\n")  # another disk of the same letter
    (blocks / "block/vdb/serial").write_text("other")
    assert ask(blocks, "data") == []
    assert ask(blocks, "other") == ["/dev/vdb", "12"]
