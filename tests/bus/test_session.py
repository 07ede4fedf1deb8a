# SPDX-License-Identifier: Apache-2.0
"""Sessions, devices, configuration and queues of a well-behaved driver, the same on every bus."""

from collections.abc import Callable

import pytest

from virtio_crq.errors import DriverFault, PartnerLost
from virtio_crq.message import conversations
from virtio_crq.message.device import QueueResume, QueueSetup
from virtio_crq.platform.channel import AVAIL, CREDIT, USED
from virtio_crq.virtio import status
from virtio_crq.virtio.splitring import DescriptorIndex, QueueSize, RingPosition

from .models import OFFERED, NotingDevice
from .wiring import Wiring

Wire = Callable[..., Wiring]
SETUP = QueueSetup(QueueSize(64), 0x1000, 0x2000, 0x3000)
RUNNING = status.ACKNOWLEDGE | status.DRIVER | status.FEATURES_OK | status.DRIVER_OK


def bring_up(wiring: Wiring, device: int = 0) -> None:
    wiring.ask(conversations.negotiate(device, OFFERED))
    wiring.ask(conversations.start_queues(device, {0: SETUP}))


@pytest.mark.parametrize("server_first", [True, False])
@pytest.mark.clause("CRQ-F-4", "CRQ-D-11")
def test_a_session_opens_whoever_comes_first(wire: Wire, server_first: bool) -> None:
    wiring = wire()
    order = (wiring.server, wiring.client)
    for end in order if server_first else reversed(order):
        end.start()
        wiring.settle()
    assert wiring.sessions == [wiring.server.session]
    assert wiring.server.session & 0xFF
    assert wiring.front.terms == wiring.back.terms
    assert not wiring.refused()


@pytest.mark.clause("CRQ-D-44")
def test_the_devices_of_a_connection_are_found(wire: Wire) -> None:
    wiring = wire(NotingDevice(), NotingDevice(), NotingDevice()).open()
    assert wiring.ask(conversations.list_devices()) == [0, 1, 2]
    wiring.ask(conversations.ping(0xFEED))


@pytest.mark.clause("CRQ-D-45")
def test_a_device_that_comes_or_goes_is_told(wire: Wire) -> None:
    wiring = wire().open()
    wiring.back.add(3, NotingDevice())
    wiring.settle()
    wiring.back.remove(0)
    wiring.settle()
    assert wiring.device_changes == [(3, True), (0, False)]


@pytest.mark.clause("CRQ-F-23", "CRQ-D-46")
def test_a_device_is_described_and_brought_up(wire: Wire) -> None:
    wiring = wire().open()
    seen = wiring.ask(conversations.describe(0))
    assert (seen.device_id, seen.identity, seen.features) == (2, b"disk behind it..", OFFERED)
    assert (seen.config_size, seen.queue_sizes) == (100, (128, 64))
    bring_up(wiring)
    assert wiring.ask(conversations.get_status(0)) == RUNNING
    assert wiring.models[0].running
    assert wiring.models[0].queues == {0: (SETUP, None)}


def test_several_devices_are_brought_up_at_once(wire: Wire) -> None:
    wiring = wire(NotingDevice(), NotingDevice(), NotingDevice(), NotingDevice()).open()
    begun = [wiring.begin(conversations.negotiate(device, OFFERED)) for device in range(4)]
    begun += [wiring.begin(conversations.get_status(device)) for device in range(4)]
    wiring.settle()
    assert [outcome.result() for outcome in begun[:4]] == [OFFERED] * 4
    assert all(outcome.done for outcome in begun)


@pytest.mark.clause("CRQ-D-55", "CRQ-F-26")
def test_configuration_of_any_length_is_read_and_written(wire: Wire) -> None:
    wiring = wire(NotingDevice(config=bytearray(at % 251 for at in range(3000)))).open()
    wiring.ask(conversations.negotiate(0, OFFERED))
    assert wiring.ask(conversations.read_config(0, 0, 3000)) == bytes(at % 251 for at in range(3000))
    wiring.ask(conversations.write_config(0, 7, bytes(range(256)) * 3))
    assert wiring.models[0].config[7:775] == bytes(range(256)) * 3


@pytest.mark.clause("CRQ-D-54", "CRQ-D-94")
def test_a_running_driver_hears_of_changes(wire: Wire) -> None:
    wiring = wire().open()
    bring_up(wiring)
    wiring.back.config_changed(0)
    wiring.settle()
    wiring.back.needs_reset(0, "chain-loop")
    wiring.settle()
    assert wiring.config_changes == [(0, RUNNING), (0, RUNNING | status.DEVICE_NEEDS_RESET)]


@pytest.mark.clause("CRQ-D-53")
def test_what_the_device_refuses_the_driver_hears_by_name(wire: Wire) -> None:
    wiring = wire().open()
    with pytest.raises(DriverFault, match="config-range"):
        wiring.ask(conversations.read_config(0, 96, 8))
    assert wiring.ask(conversations.read_config(0, 92, 8)) == bytes(range(92, 100)), "the next request has a slot"
    assert wiring.refused() == {"config-range": 1}


@pytest.mark.clause("CRQ-D-63")
def test_a_queue_is_reset_when_nothing_touches_it_any_more(wire: Wire) -> None:
    wiring = wire().open()
    bring_up(wiring)
    wiring.models[0].slow = True
    reset = wiring.begin(conversations.reset_queue(0, 0))
    wiring.settle()
    assert not reset.done
    wiring.models[0].slow = False
    wiring.back.settled(0)
    wiring.settle()
    assert reset.done
    wiring.ask(conversations.enable_queue(0, 0, SETUP))
    assert wiring.models[0].queues == {0: (SETUP, None)}


@pytest.mark.clause("CRQ-D-51")
def test_a_device_is_reset_when_nothing_touches_memory_any_more(wire: Wire) -> None:
    wiring = wire().open()
    bring_up(wiring)
    wiring.models[0].slow = True
    reset = wiring.begin(conversations.reset_device(0))
    wiring.settle()
    assert not reset.done
    wiring.back.settled(0)
    wiring.settle()
    assert reset.done


def test_announcements_and_credits_pass_both_ways(wire: Wire) -> None:
    wiring = wire().open()
    assert wiring.client.channel.announce(AVAIL, 3, 1, 65535, 0) == 0
    assert wiring.server.channel.announce(USED, 3, 1, 17, 1) == 0
    wiring.settle()
    assert wiring.client.channel.announce(CREDIT, 2, 0, 0, 0) == 0
    assert wiring.server.channel.announce(CREDIT, 2, 1, 0, 0) == 0
    wiring.settle()
    heard = [(who, kind, device, queue, credit) for who, kind, device, queue, _, credit in wiring.announced]
    assert sorted(heard) == sorted([
        ("server", AVAIL, 3, 1, 0), ("client", USED, 3, 1, 1), ("server", CREDIT, 2, 0, 1), ("client", CREDIT, 2, 1, 1),
    ])  # fmt: skip
    assert {position for _, kind, _, _, position, _ in wiring.announced if kind == AVAIL} == {65535}
    assert {position for _, kind, _, _, position, _ in wiring.announced if kind == USED} == {17}


def test_nothing_is_announced_without_a_session(wire: Wire) -> None:
    wiring = wire()
    wiring.server.start()
    assert wiring.server.channel.announce(USED, 1, 0, 1, 0) != 0
    wiring.client.start()
    assert wiring.client.channel.announce(AVAIL, 1, 0, 1, 0) != 0
    wiring.settle()
    assert wiring.announced == []


@pytest.mark.clause("CRQ-F-29", "CRQ-D-81")
def test_a_server_that_dies_and_returns_is_a_new_session(wire: Wire) -> None:
    wiring = wire().open()
    bring_up(wiring)
    asked = wiring.begin(conversations.get_status(0))
    wiring.kill_server()
    wiring.client.pump()
    assert wiring.client.session == 0
    with pytest.raises(PartnerLost):
        asked.result()
    with pytest.raises(PartnerLost):
        wiring.ask(conversations.get_status(0))
    wiring.models[0] = NotingDevice()
    wiring.new_server()
    wiring.server.start()
    wiring.settle()
    assert len(wiring.sessions) == 2
    assert wiring.sessions[0] & 0xFF != wiring.sessions[1] & 0xFF
    bring_up(wiring)


@pytest.mark.clause("CRQ-D-80", "CRQ-D-81")
def test_a_client_that_dies_leaves_its_devices_reset_for_the_next(wire: Wire) -> None:
    wiring = wire().open()
    bring_up(wiring)
    wiring.kill_client()
    wiring.settle_server()
    assert wiring.server.session == 0
    assert not wiring.models[0].running
    assert wiring.models[0].queues == {}
    wiring.new_client()
    wiring.client.start()
    wiring.settle()
    assert wiring.client.session == wiring.server.session != 0
    bring_up(wiring)


@pytest.mark.clause("CRQ-D-12")
def test_a_new_session_waits_for_copies_of_the_old_one(wire: Wire) -> None:
    wiring = wire().open()
    bring_up(wiring)
    wiring.models[0].slow = True
    wiring.kill_client()
    wiring.settle_server()
    wiring.new_client()
    wiring.client.start()
    wiring.settle()
    assert wiring.client.session == 0
    wiring.models[0].slow = False
    wiring.back.settled(0)
    wiring.settle()
    assert wiring.client.session == wiring.server.session != 0


def test_a_client_that_leaves_on_purpose_may_come_back(wire: Wire) -> None:
    wiring = wire().open()
    wiring.client.close()
    wiring.settle_server()
    assert wiring.server.session == 0
    wiring.new_client()
    wiring.client.start()
    wiring.settle()
    assert wiring.client.session == wiring.server.session != 0


@pytest.mark.clause("CRQ-F-32", "CRQ-D-85")
def test_a_device_is_resumed_where_it_stood(wire: Wire) -> None:
    wiring = wire().open()
    bring_up(wiring)
    wiring.models[0] = NotingDevice()
    wiring.restart_server()
    heads = tuple(DescriptorIndex(head) for head in (5, 0, 9))
    state = QueueResume(RingPosition(2), RingPosition(0xFFFF), heads)
    wiring.ask(conversations.resume(0, 2, b"disk behind it..", OFFERED, {0: (SETUP, state)}))
    assert wiring.models[0].running
    assert wiring.models[0].queues == {0: (SETUP, state)}


@pytest.mark.clause("CRQ-D-82", "CRQ-D-84", "CRQ-D-87")
@pytest.mark.parametrize(
    ("identity", "positions", "heads", "rule"),
    [
        (b"another disk....", (2, 1), (5,), "resume-identity"),
        (b"disk behind it..", (2, 0), (5,), "resume-positions"),
        (b"disk behind it..", (2, 0), (5, 5), "resume-positions"),
        (b"disk behind it..", (2, 0), (5, 64), "resume-positions"),
    ],
)
def test_a_resume_with_lies_ends_in_needs_reset(
    wire: Wire, identity: bytes, positions: tuple[int, int], heads: tuple[int, ...], rule: str
) -> None:
    wiring = wire().open()
    bring_up(wiring)
    wiring.models[0] = NotingDevice()
    wiring.restart_server()
    avail, used = positions
    state = QueueResume(RingPosition(avail), RingPosition(used), tuple(DescriptorIndex(head) for head in heads))
    outcome = wiring.begin(conversations.resume(0, 2, identity, OFFERED, {0: (SETUP, state)}))
    wiring.settle()
    with pytest.raises(Exception, match="resume"):
        outcome.result()
    assert wiring.refused()[rule] == 1
    assert wiring.back.status(0) & status.DEVICE_NEEDS_RESET
    assert not wiring.models[0].running
    bring_up(wiring)
