# SPDX-License-Identifier: Apache-2.0
"""A hypervisor notices that its socket is gone, is not misled by one that it cannot see, and removes only its own."""

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from virtio_crq.errors import VirtioCrqError
from virtio_crq.hypervisor import daemon
from virtio_crq.hypervisor.daemon import Daemon
from virtio_crq.hypervisor.machine import Machine
from virtio_crq.hypervisor.machinefile import parse_machine_file
from virtio_crq.hypervisor.statedirectory import ATTACH_SOCKET

TEXT = """
[machine]
name = "home"
[partition.vios1]
memory = "4MiB"
[partition.web1]
memory = "4MiB"
[[adapter]]
client = "web1"
server = "vios1"
slot = 2
"""


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Short: names of Unix sockets have 107 bytes."""
    monkeypatch.setattr(daemon, "HOME_SECONDS", 0.0)
    with tempfile.TemporaryDirectory(prefix="crq-", dir="/tmp") as directory:
        path = Path(directory) / "home"
        path.mkdir()
        yield path


def run(home: Path, ready: Callable[[Daemon], object]) -> None:
    definition = parse_machine_file(TEXT, Path("machine.toml")).definition()
    with Machine(definition) as machine:
        made = Daemon(machine, home)
        asyncio.run(asyncio.wait_for(made.run(lambda: ready(made)), 20))


def test_a_file_in_place_of_the_directory_is_the_end(home: Path) -> None:
    def replace(_: Daemon) -> None:
        home.rename(home.with_name("moved"))
        home.touch()

    with pytest.raises(VirtioCrqError, match="was removed: nobody could reach this machine any more"):
        run(home, replace)
    assert home.exists()


def test_a_socket_that_cannot_be_looked_at_is_none_that_was_removed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []

    def hide(made: Daemon) -> None:
        def refuse(path: Path) -> None:
            looks.append(1)
            if len(looks) == 3:
                made._controls["shutdown"]({})
            raise PermissionError

        monkeypatch.setattr(Path, "stat", refuse)

    run(home, hide)
    assert len(looks) >= 3


def test_what_stands_in_the_sockets_place_at_the_end_stays(home: Path) -> None:
    def replace(made: Daemon) -> None:
        (home / ATTACH_SOCKET).unlink()
        (home / ATTACH_SOCKET).write_text("another machine's")
        made._controls["shutdown"]({})

    run(home, replace)
    assert (home / ATTACH_SOCKET).read_text() == "another machine's"


def test_its_own_socket_is_gone_afterwards(home: Path) -> None:
    run(home, lambda made: made._controls["shutdown"]({}))
    assert not (home / ATTACH_SOCKET).exists()
