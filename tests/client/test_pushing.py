# SPDX-License-Identifier: Apache-2.0
"""Whether a client pushes its requests is agreed by HELLO, and holds for its devices as long as they live."""

from collections.abc import Iterator

import pytest
from test_away import held, lose
from test_client import Machine, ended

from virtio_crq.errors import DeviceFault
from virtio_crq.message.session import PAIR, PUSH


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine(push=True)
    yield made
    made.client.close()
    made.cable.close()


@pytest.mark.parametrize("push", [False, True])
def test_requests_are_pushed_where_the_server_wants_them(machine: Machine, push: bool) -> None:
    machine.push = push
    model = machine.block()
    with machine.server(model) as server:
        machine.client.open()
        disk = machine.client.disk("root")
        disk.write(0, b"bytes" * 512)
        assert disk.read(0, 2560) == b"bytes" * 512
        assert disk.pushed == push
        assert server.back_end.terms is not None
        assert server.back_end.terms.features == (PUSH if push else 0)


@pytest.mark.clause("CRQ-F-63")
def test_the_ring_of_a_driver_whose_requests_are_pushed_is_not_mapped(machine: Machine) -> None:
    with machine.server(machine.block()):
        machine.client.open()
        disk = machine.client.disk("root")
        assert disk.front is not None
        ring = disk.front.ring.descriptors // 4096  # type: ignore[attr-defined]
        assert ring not in [page for page, _access in machine.shown().values()]
        assert machine.shown()


@pytest.mark.clause("CRQ-F-60")
@pytest.mark.parametrize(("end", "offered"), [(1 << 40, PUSH | PAIR), ((1 << 40) + 4096, 0)])
def test_a_window_beyond_what_a_record_can_name_is_not_pushed_from(machine: Machine, end: int, offered: int) -> None:
    connection = machine.client.connections[0]
    arena = connection.endpoint.arena

    class Elsewhere:
        bus, size = end - arena.size, arena.size

    class Endpoint:
        arena = Elsewhere

    connection.endpoint, kept = Endpoint, connection.endpoint  # type: ignore[assignment]
    assert connection._offered() == offered
    connection.endpoint = kept


@pytest.mark.clause("CRQ-F-69")
@pytest.mark.parametrize("push", [False, True])
def test_a_server_that_wants_it_otherwise_does_not_get_the_requests_in_flight(machine: Machine, push: bool) -> None:
    machine.push = push
    _disk, model, writes = held(machine, 4)
    content = bytes(model.content)
    machine.push = not push
    again = machine.block(content=model.content)
    with machine.server(again) as server:
        connection = machine.client.connections[0]
        if push:
            for write in writes:
                with pytest.raises(DeviceFault, match="does not take pushed requests"):
                    ended(machine, write)
            assert connection.refusals["resume-push"] == 1
            assert again.served == 0
            assert bytes(model.content) == content
        else:  # it offers what the devices were set up with, and this server takes either
            assert [ended(machine, write) for write in writes] == [b""] * 4
        assert server.back_end.terms is not None
        assert server.back_end.terms.features == 0
    lose(machine, 2)


@pytest.mark.clause("CRQ-F-70", "CRQ-F-71")
@pytest.mark.parametrize("push", [False, True])
def test_a_queue_comes_back_in_its_own_place_and_says_what_it_is(machine: Machine, push: bool) -> None:
    machine.push = push
    disk, _model, writes = held(machine, 4)
    setup = disk.queues[0][1]
    again = machine.block()
    again.hold = True
    with machine.server(again):
        machine.until(lambda: len(again.todo) == 4)
        found = again.setup
        assert found is not None
        assert (found.size, found.descriptors, found.device_area) == (
            setup.size,
            setup.descriptors,
            setup.device_area,
        )
        assert (found.driver_area == 0) == push
        again.hold = False
        assert [ended(machine, write) for write in writes] == [b""] * 4
    lose(machine, 2)


@pytest.mark.clause("CRQ-F-68")
def test_requests_in_flight_are_pushed_again_to_the_next_server(machine: Machine) -> None:
    _disk, model, writes = held(machine, 8)
    again = machine.block(content=model.content)
    with machine.server(again):
        assert [ended(machine, write) for write in writes] == [b""] * 8
        assert [sector for _kind, sector in again.log] == [8 * number for number in range(8)]
    lose(machine, 2)
