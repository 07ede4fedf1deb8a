# SPDX-License-Identifier: Apache-2.0
"""What a client does with its buffers and devices while there is no session, and when announcements break the rules."""

from collections.abc import Iterator
from typing import Any

import pytest
from test_client import Machine, ended, named

from combinations import ways
from virtio_crq.client.disk import Disk
from virtio_crq.errors import DeviceFault
from virtio_crq.loopback.cable import CLIENT
from virtio_crq.platform.channel import CREDIT, USED


@pytest.fixture(params=ways(), ids=named)
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    made = Machine.of(request.param)
    yield made
    made.client.close()
    made.cable.close()


def lose(machine: Machine, losses: int = 1) -> None:
    machine.until(lambda: machine.client.connections[0].losses == losses)


def held(machine: Machine, count: int) -> tuple[Disk, Any, list[Any]]:
    """A disk with `count` writes in flight at a server that answers none of them and is gone by now."""
    model = machine.block()
    with machine.server(model):
        machine.client.open()
        disk = machine.client.disk("root")
        model.hold = True
        writes = [disk.start_write(4096 * number, bytes([number + 1]) * 4096) for number in range(count)]
        machine.until(lambda: len(model.todo) == count)
    lose(machine)
    return disk, model, writes


@pytest.mark.clause("CRQ-F-6")
def test_buffers_in_flight_stay_what_they_were_until_the_next_session(machine: Machine) -> None:
    disk, model, writes = held(machine, 8)  # as many as there are slots
    assert disk.driver is not None
    shown, heads = machine.shown(), disk.front.ring.heads() if disk.front else []
    memory = machine.cable.ends[CLIENT].memory
    places = [disk.driver.data(slot) for slot in range(8)]
    before = [bytes(memory[at : at + 4096]) for at in places]
    late = [disk.start_write(4096 * number, b"late" * 1024) for number in range(8, 12)]
    for _ in range(20):
        machine.client.turn(0)
    assert disk.driver.idle == 0
    assert machine.shown() == shown
    assert disk.front is not None
    assert disk.front.ring.heads() == heads
    assert [bytes(memory[at : at + 4096]) for at in places] == before
    assert not any(write.done for write in [*writes, *late])
    with machine.server(machine.block(content=model.content)):
        for write in [*writes, *late]:
            assert ended(machine, write) == b""
    assert [model.content[4096 * number] for number in range(9)] == [1, 2, 3, 4, 5, 6, 7, 8, ord("l")]


UNANNOUNCED = [way for way in ways() if not way[-1]]  # a pushed queue has nothing that is read unannounced


@pytest.mark.clause("CRQ-F-25", "CRQ-F-21")
@pytest.mark.parametrize("machine", UNANNOUNCED, ids=named, indirect=True)
def test_a_device_that_breaks_while_its_server_is_away_is_reset_here(machine: Machine) -> None:
    """The last thing the dying server wrote is a lie: nobody is there to be asked for a reset, and none is needed."""
    model = machine.block()
    with machine.server(model) as server:
        machine.client.open()
        disk = machine.client.disk("root")
        standing = machine.shown_beside(disk)
        model.hold = True
        write = disk.start_write(0, b"x" * 512)
        machine.until(lambda: len(model.todo) == 1)
        with server.lock:
            assert model.setup is not None
            if model.packed:
                rule = "used-unknown"
                model.finish(model.todo[0] + 9, 1, [])
            else:
                rule = "used-ahead"
                model.put(model.setup.device_area + 2, (900).to_bytes(2, "little"))
    lose(machine)
    with pytest.raises(DeviceFault, match=rule):
        ended(machine, write)
    machine.until(lambda: machine.shown() == standing)  # its pool is taken back, too
    assert disk.front is not None
    assert disk.front.ring.in_flight == 0
    assert machine.client.connections[0].refusals == {rule: 1}


@pytest.mark.clause("CRQ-F-25")
def test_a_reset_that_the_loss_overtakes_is_complete(machine: Machine) -> None:
    model = machine.block()
    with machine.server(model) as server:
        machine.client.open()
        disk = machine.client.disk("root")
        standing = machine.shown_beside(disk)
        model.hold = True
        write = disk.start_write(0, b"x" * 512)
        machine.until(lambda: len(model.todo) == 1)
        with server.lock:  # it reads no request any more
            server.back_end.needs_reset(0, "scripted")
            while disk.broken is None:
                machine.client.turn(0.01)
    lose(machine)
    with pytest.raises(DeviceFault):
        ended(machine, write)
    machine.until(lambda: machine.shown() == standing)  # its pool is taken back, too


@pytest.mark.clause("CRQ-F-36")
@pytest.mark.parametrize(("kinds", "rule"), [((USED, USED), "credit-overrun"), ((CREDIT,), "credit-unowed")])
def test_announcements_that_break_the_rule_of_credits_end_the_session_and_lose_nothing(
    machine: Machine, kinds: tuple[int, ...], rule: str
) -> None:
    model = machine.block()
    with machine.server(model) as server:
        machine.client.open()
        disk = machine.client.disk("root")
        disk.write(0, b"kept" * 128)
        machine.until(lambda: disk.front is not None and bool(disk.front.credit))
        with server.lock:
            for kind in kinds:
                server.endpoint.channel.announce(kind, 0, 0, model.used, 0)
        machine.until(lambda: machine.client.connections[0].refusals[rule] >= 1)
        assert disk.read(0, 512) == b"kept" * 128
        assert machine.client.connections[0].losses == 1


@pytest.mark.clause("CRQ-F-39")
def test_an_announcement_on_a_queue_that_is_not_there_is_dropped(machine: Machine) -> None:
    with machine.server(machine.block()) as server:
        machine.client.open()
        disk = machine.client.disk("root")
        with server.lock:
            for device, queue in ((0, 5), (9, 0)):
                server.endpoint.channel.announce(USED, device, queue, 1, 0)
        machine.until(lambda: machine.client.connections[0].refusals["announcement-queue"] == 2)
        assert disk.read(0, 512) == bytes(512)
        assert machine.client.connections[0].losses == 0
