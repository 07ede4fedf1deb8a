# SPDX-License-Identifier: Apache-2.0
"""Targets that come, grow and go while their client runs; its drivers notice, and the next server knows."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from virtio_crq.cli.clientpartition import connects
from virtio_crq.cli.serving import places
from virtio_crq.client.client import Client
from virtio_crq.client.connection import State
from virtio_crq.errors import UsageError, VirtioCrqError
from virtio_crq.hypervisor.machine import Machine
from virtio_crq.hypervisor.machinefile import parse_machine_file
from virtio_crq.vios.adapter import Adapter, Target
from virtio_crq.vios.mapping import MapEntry
from virtio_crq.vios.server import Server, Settings

TEXT = """
[machine]
name = "hotplug"
[partition.vios1]
memory = "32M"
[partition.web1]
memory = "64M"
[[adapter]]
client = "web1"
slot = 2
server = "vios1"
"""
CONTENT = parse_machine_file(TEXT, Path("machine.toml"))
SIZE = 1 << 20
PATIENCE = 10.0


class Scene:
    """A server with one disk mapped, and its client."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name in ("root.img", "data.img"):
            (directory / name).write_bytes(bytes(SIZE))

    def __enter__(self) -> "Scene":
        self.machine = Machine(CONTENT.definition()).__enter__()
        self.partition = self.machine.attach("vios1")
        self.serve()
        self.guest = self.machine.attach("web1")
        self.client = Client(connects(self.guest))
        self.client.open()
        return self

    def __exit__(self, *exception: object) -> None:
        self.client.close()
        self.guest.close()
        self.server.close()
        self.partition.close()
        self.machine.__exit__(None, None, None)

    def serve(self) -> None:
        settings = Settings(self.directory, workers=1, polling=0, maps=self.directory / "mappings")
        entries = [MapEntry("web1", "root", "file:root.img")]
        self.server = Server(places(CONTENT, "vios1", self.partition), entries, settings)
        self.server.start()

    def do(self, command: str, **words: Any) -> Any:
        return self.server.commands()[command]({"client": "web1"} | words)

    def until(self, holds: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < deadline, f"no {what}"
            self.client.turn(0.01)

    def names(self) -> list[str]:
        """Of the disks that work."""
        return sorted(disk.name for disk in self.client.disks() if disk.named and disk.broken is None)

    def restart(self) -> None:
        self.server.close()
        self.until(lambda: self.client.connections[0].state is State.AWAY, "loss")
        self.serve()
        self.until(lambda: self.client.connections[0].state is State.UP, "return")


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with Scene(tmp_path) as scene:
        yield scene


def test_a_target_whose_io_does_not_end_does_not_come_back_with_the_next_server(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stuck(adapter: Adapter, target: Target, force: bool) -> None:
        remove(adapter, target, force)
        raise VirtioCrqError("what data had under way does not end")

    scene.do("map", target="data", backing="file:data.img")
    remove = Adapter.remove
    monkeypatch.setattr(Adapter, "remove", stuck)
    with pytest.raises(VirtioCrqError, match="does not end"):
        scene.do("unmap", target="data", force=True)
    scene.restart()
    scene.until(lambda: scene.names() == ["root"], "the other disk alone")
    with pytest.raises(UsageError, match="it has: root"):
        scene.do("unmap", target="data")


@pytest.mark.clause("CRQ-D-45")
def test_a_disk_is_added_and_taken_away_while_the_client_runs(scene: Scene) -> None:
    for _ in range(3):
        assert scene.do("map", target="data", backing="file:data.img") == 1
        scene.until(lambda: scene.names() == ["data", "root"], "new disk")
        data = scene.client.disk("data")
        data.write(4096, b"d" * 4096)
        with pytest.raises(UsageError, match=r"in use by its driver; .* --force"):
            scene.do("unmap", target="data")
        scene.do("unmap", target="data", force=True)
        scene.until(lambda: data.broken, "removal")  # noqa: B023
        assert "taken away" in str(data.broken)
        assert scene.names() == ["root"]
        scene.client.disk("root").write(0, b"r" * 4096)
    assert (scene.directory / "data.img").read_bytes()[4096:8192] == b"d" * 4096
    assert scene.client.connections[0].failure is None


@pytest.mark.clause("CRQ-D-110")
def test_a_disk_is_taken_away_under_load(scene: Scene) -> None:
    scene.do("map", target="data", backing="file:data.img,engine=threads")
    scene.until(lambda: "data" in scene.names(), "new disk")
    data = scene.client.disk("data")
    running = [data.start_write(4096 * (number % 256), bytes([number % 256]) * 4096) for number in range(1000)]
    scene.client.turn(0.01)
    scene.do("unmap", target="data", force=True)
    image = (scene.directory / "data.img").read_bytes()
    scene.client.wait(running)
    assert (scene.directory / "data.img").read_bytes() == image, "a write landed after the disk was taken away"
    os.rename(scene.directory / "data.img", scene.directory / "other.img")
    scene.do("map", target="again", backing="file:other.img")  # its lock was given back
    scene.until(lambda: "again" in scene.names(), "new disk")


def test_what_was_mapped_at_run_time_is_there_after_a_restart_of_the_server(scene: Scene) -> None:
    scene.do("map", target="data", backing="file:data.img")
    scene.until(lambda: "data" in scene.names(), "new disk")
    data = scene.client.disk("data")
    data.write(0, b"b" * 4096)
    scene.restart()
    assert data.read(0, 4096) == b"b" * 4096
    scene.do("unmap", target="root", force=True)
    scene.restart()
    assert data.read(0, 4096) == b"b" * 4096
    assert scene.names() == ["data"]
    assert scene.do("map", target="root", backing="file:root.img") == 0
    scene.until(lambda: scene.names() == ["data", "root"], "root again")


@pytest.mark.clause("CRQ-D-54")
def test_a_file_grows_and_its_driver_is_told(scene: Scene) -> None:
    root = scene.client.disk("root")
    assert scene.do("resize", target="root", size="3M") == {"size": 3 << 20, "changed": True}
    scene.until(lambda: root.capacity == 3 << 20, "new capacity")
    root.write((3 << 20) - 4096, b"z" * 4096)
    assert scene.do("resize", target="root") == {"size": 3 << 20, "changed": False}
    with pytest.raises(UsageError, match="would lose data"):
        scene.do("resize", target="root", size="1M")
    with pytest.raises(UsageError, match="not a multiple of 512"):
        scene.do("resize", target="root", size="4000001")


def test_other_devices_come_and_go_alike(scene: Scene) -> None:
    scene.do("map", target="rng", backing="kernel", device="entropy")
    scene.do("map", target="tty", backing="log:tty.log", device="console")
    scene.until(lambda: len(scene.client.connections[0].devices) == 3, "two devices")
    assert len(scene.client.entropy().read(100)) == 100
    scene.client.console().write(b"hello")
    console = scene.client.console()
    scene.do("unmap", target="tty", force=True)
    scene.until(lambda: console.broken, "removal")
    assert (scene.directory / "tty.log").read_bytes() == b"hello"
    with pytest.raises(UsageError, match="only a target with file:"):
        scene.do("resize", target="rng", size="1M")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"target": "root", "backing": "ram:1M"}, "mapped twice"),
        ({"target": "copy", "backing": "file:./root.img"}, "mapped twice"),
        ({"target": "x", "backing": "file:none.img"}, "no such image"),
        ({"target": "x", "backing": "ram:1M", "device": "tape"}, "'tape' is not one of"),
        ({"target": "x", "backing": "ram:1M", "client": "web9"}, "no adapter of this server leads to 'web9'"),
        ({"target": "x", "backing": "tcp:1", "device": "console"}, "not pty:, socket:PATH or log:PATH"),
        ({"target": "x"}, "each a string"),
        ({"target": "x", "backing": "pty:", "device": "console", "ports": "agent"}, "list of strings"),
    ],
)
def test_what_cannot_be_mapped_is_refused_and_nothing_changes(scene: Scene, words: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        scene.do("map", **words)
    with pytest.raises(UsageError, match="has no target 'nothing'; it has: root"):
        scene.do("unmap", target="nothing")
    assert [target["target"] for target in scene.server.commands()["lsmap"]({})[0]["targets"]] == ["root"]
    assert not (scene.directory / "mappings").exists()


def test_a_record_that_is_none_says_what_to_do(scene: Scene) -> None:
    scene.server.close()
    (scene.directory / "mappings").write_text("[{]")
    with pytest.raises(UsageError, match=r"mappings: not a record of mappings .*; remove it"):
        scene.serve()
