# SPDX-License-Identifier: Apache-2.0
"""Whoever waits for a server that answers nothing is told so; the request is held all the same."""

import asyncio
from collections.abc import Iterator

import pytest
from test_client import Machine, ended

from virtio_crq.cli.disk import say_silent
from virtio_crq.client.disk import Disk
from virtio_crq.client.silence import Silence


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine()
    yield made
    made.client.close()
    made.cable.close()


class Listener:
    """A clock that a test moves, and what was told at which time."""

    def __init__(self, machine: Machine) -> None:
        self.now = 100.0
        self.told: list[tuple[str, float]] = []
        self.silence = Silence(machine.client.disks, self.tell, lambda: self.now)

    def tell(self, disk: Disk, seconds: float) -> None:
        self.told.append((disk.name, seconds))

    def pass_seconds(self, seconds: int) -> list[tuple[str, float]]:
        """Look each second; what was told meanwhile."""
        before = len(self.told)
        for _ in range(seconds):
            self.now += 1
            self.silence.look()
        return self.told[before:]


def test_a_mute_server_is_told_of_after_ten_seconds_and_then_each_minute(machine: Machine) -> None:
    model = machine.block()
    with machine.server(model):
        machine.client.open()
        listener = Listener(machine)
        assert listener.pass_seconds(100) == [], "nobody waits"
        model.hold = True
        read = machine.client.disk("root").start_read(0, 512)
        listener.silence.look()
        assert listener.pass_seconds(9) == []
        assert listener.pass_seconds(125) == [("root", 10.0), ("root", 70.0), ("root", 130.0)]
        assert not read.done
        model.hold = False
        assert len(ended(machine, read)) == 512
        assert listener.pass_seconds(100) == []


def test_a_slow_server_that_answers_now_and_then_is_not_silent(machine: Machine) -> None:
    model = machine.block()
    with machine.server(model):
        machine.client.open()
        listener = Listener(machine)
        disk = machine.client.disk("root")
        for round_ in range(3):
            model.hold = True
            reads = [disk.start_read(0, 512) for _ in range(3)]
            assert disk.outstanding == 3
            listener.silence.look()
            assert listener.pass_seconds(9) == []
            model.hold = False
            machine.client.wait(reads)
            assert disk.answered >= 3 * (round_ + 1)


def test_a_blocking_call_and_an_event_loop_both_look(machine: Machine) -> None:
    model = machine.block()
    looks = []

    def look() -> None:
        looks.append(disk.outstanding)
        model.hold = False

    async def read() -> bytes:
        async with asyncio.timeout(20), machine.client.attached():
            return await disk.start_read(0, 512)

    with machine.server(model):
        machine.client.open()
        disk = machine.client.disk("root")
        machine.client.on_idle = look
        for act in (lambda: disk.read(0, 512), lambda: asyncio.run(read())):
            looks.clear()
            model.hold = True
            assert len(act()) == 512
            assert looks[0] == 1


def test_the_command_says_it_in_one_line(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    with machine.server(machine.block()):
        machine.client.open()
        say_silent("web1", machine.client.disk("root"), 10.04)
    assert capsys.readouterr() == ("", "web1/root: the server has not answered for 10 s; still waiting\n")
