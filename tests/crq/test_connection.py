# SPDX-License-Identifier: Apache-2.0
"""Registering, initializing, losing and finding the partner, on a scripted platform with halves that record."""

from typing import Any

import pytest

from virtio_crq.crq.client import CrqClient
from virtio_crq.crq.connection import Connection, Phase
from virtio_crq.crq.framing import AreaSlot, HelloPlace, build
from virtio_crq.crq.ring import ring_size
from virtio_crq.crq.server import CrqServer
from virtio_crq.errors import PlatformError
from virtio_crq.message.bus import Bus, Terms
from virtio_crq.message.codec import HELLO, REVISION
from virtio_crq.message.message import Message, SessionNumber
from virtio_crq.papr.entry import InitializationCode, initialization, transport_event
from virtio_crq.papr.hypercalls import Hypercall
from virtio_crq.papr.returncodes import ReturnCode
from virtio_crq.platform.channel import STALLED, USED
from virtio_crq.platform.endpoint import Endpoint

from .pair import pair

INITIALIZE = initialization(InitializationCode.INITIALIZE)
COMPLETE = initialization(InitializationCode.COMPLETE)


class Recorder:
    """Stands for a back end or a front end."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.heard: list[Any] = []

    def opened(self) -> None:
        self.heard.append("opened")

    def receive(self, message: Message) -> bool:
        self.heard.append(message)
        return True

    def lost(self, reason: str) -> None:
        self.heard.append("lost: " + reason)

    def take(self) -> list[Any]:
        heard, self.heard = self.heard, []
        return heard


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.waited = 0.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.waited += seconds


class Bench:
    """Both ends over the scripted platform."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.c, self.s = pair()
        self.server = self.new_server()
        self.client = self.new_client()

    def new_server(self) -> CrqServer:
        self.s_half: Recorder
        return CrqServer(
            self.s.port(), self.s.node, self.s.arena, self._server_half, queues=4, devices=2,
            clock=self.clock, wait=self.clock.wait,
        )  # fmt: skip

    def new_client(self) -> CrqClient:
        self.c_half: Recorder
        return CrqClient(
            self.c.port(), self.c.node, self.c.arena, self._client_half, queues=4, devices=2, clock=self.clock
        )

    def _server_half(self, bus: Bus) -> Any:
        self.s_half = Recorder(bus)
        return self.s_half

    def _client_half(self, bus: Bus) -> Any:
        self.c_half = Recorder(bus)
        return self.c_half

    def settle(self) -> None:
        self.client.pump()  # what time has made due takes no entry
        while self.server.pump() + self.client.pump():
            pass

    def begin(self, session: int = 7) -> None:
        """Up to an open session on both sides, as HELLO would."""
        self.server.start()
        self.client.start()
        self.settle()
        self.agree(session)
        for each in (self.c_half, self.s_half):
            each.take()

    def agree(self, session: int) -> None:
        limits = self.client.limits
        terms = Terms(
            SessionNumber(session), REVISION, 0, limits.max_message, limits.ring_entries, 2, 2, 131072,
            limits.area_address, limits.area_slots, limits.area_slot_size,
        )  # fmt: skip
        self.server.agreed(terms)
        self.client.agreed(terms)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def phases(bench: Bench) -> tuple[Phase, Phase]:
    return bench.client.phase, bench.server.phase


def test_both_halves_are_endpoints_and_buses(bench: Bench) -> None:
    halves: tuple[Endpoint, Endpoint] = (bench.client, bench.server)
    buses: tuple[Bus, Bus] = (bench.client, bench.server)
    assert len(halves) == len(buses)


@pytest.mark.parametrize(("queues", "devices", "pages"), [(0, 0, 1), (100, 40, 1), (101, 39, 2), (1000, 240, 9)])
@pytest.mark.clause("CRQ-F-18")
def test_a_ring_has_an_entry_for_all_that_may_be_under_way(queues: int, devices: int, pages: int) -> None:
    assert ring_size(queues, devices) == pages * 4096
    assert ring_size(queues, devices) // 16 >= 2 * queues + devices + 16


@pytest.mark.parametrize("server_first", [True, False])
def test_whoever_comes_first_waits_and_both_are_initialized_once(bench: Bench, server_first: bool) -> None:
    order: list[Connection] = [bench.server, bench.client]
    for each in order if server_first else reversed(order):
        each.start()
    bench.settle()
    assert phases(bench) == (Phase.INITIALIZED, Phase.INITIALIZED)
    assert bench.c_half.take() == bench.s_half.take() == ["opened"]
    assert not bench.client.refusals + bench.server.refusals


def test_when_both_call_out_at_once_both_are_initialized_once(bench: Bench) -> None:
    bench.server.start()
    bench.client.start()
    bench.server._called = b"a number"  # as if both had registered before either called out
    bench.s.send([INITIALIZE[:8] + b"a number"])
    bench.settle()
    assert bench.s_half.take() == ["opened"]
    assert bench.c_half.take() == ["opened"]


@pytest.mark.clause("CRQ-D-99", "CRQ-F-37")
def test_an_answer_to_another_call_is_not_taken(bench: Bench) -> None:
    """Both calls of a server that registered twice are answered; the first answer opens nothing."""
    bench.client.start()
    bench.server.start()
    bench.server.reset("a test wants it")
    bench.server.pump()
    bench.settle()
    assert bench.c_half.take() == ["opened", "lost: partner deregistered", "opened"]
    assert bench.s_half.take() == ["opened"]
    assert bench.server.refusals == {"init-stale": 1}
    assert [entry[8:] for entry in bench.s.sent] == [entry[8:] for entry in bench.c.sent]


@pytest.mark.clause("CRQ-D-99", "CRQ-F-37")
@pytest.mark.parametrize("serving", [False, True])
def test_only_the_answer_that_repeats_the_number_opens(bench: Bench, serving: bool) -> None:
    side, end = (bench.s, bench.server) if serving else (bench.c, bench.client)
    (bench.client if serving else bench.server).start()
    end.start()
    call = side.sent[-1]
    assert call[:8] == INITIALIZE[:8]
    assert any(call[8:])
    side.enqueue(COMPLETE[:8] + b"another!")
    end.pump()
    assert (end.phase, end.refusals) == (Phase.REGISTERED, {"init-stale": 1})
    side.enqueue(COMPLETE[:8] + call[8:])
    end.pump()
    assert end.phase is Phase.INITIALIZED


@pytest.mark.clause("CRQ-D-99", "CRQ-F-37", "CRQ-D-100", "CRQ-F-38")
@pytest.mark.parametrize("serving", [False, True])
def test_an_unasked_completion_and_an_unknown_code_are_refused(bench: Bench, serving: bool) -> None:
    side, end, half = (bench.s, bench.server, bench.s_half) if serving else (bench.c, bench.client, bench.c_half)
    end.start()
    end.pump()
    for entry in (COMPLETE, b"\xc0\x03" + bytes(14), b"\xc0\x00" + bytes(14)):
        side.enqueue(entry)
        end.pump()
    assert end.refusals == {"init-stale": 1, "init-code": 2}
    assert half.take() == []


@pytest.mark.clause("CRQ-F-29", "CRQ-D-80")
@pytest.mark.parametrize("code", [0x01, 0x02, 0x04])
def test_when_the_partner_goes_both_stay_registered_and_wait(bench: Bench, code: int) -> None:
    bench.begin()
    for side, end, half in ((bench.c, bench.client, bench.c_half), (bench.s, bench.server, bench.s_half)):
        asked = side.asked.copy()
        side.enqueue(transport_event(code))
        end.pump()
        assert end.phase is Phase.REGISTERED
        assert end.session == 0
        assert [what.split(":")[0] for what in half.take()] == ["lost"]
        assert side.asked == asked, "it made calls in answer to the partner's going"


def test_a_new_server_finds_the_client_that_waited(bench: Bench) -> None:
    bench.begin()
    bench.s.leave(0x01)
    bench.server = bench.new_server()
    bench.server.start()
    bench.settle()
    assert bench.c_half.take() == ["lost: partner failed", "opened"]
    assert bench.s_half.take() == ["opened"]
    assert bench.c.asked[Hypercall.H_REG_CRQ] == 1


def test_a_registration_of_an_earlier_life_is_freed(bench: Bench) -> None:
    bench.begin()
    bench.client = bench.new_client()
    bench.client.start()
    bench.settle()
    assert bench.s_half.take() == ["lost: partner deregistered", "opened"]
    assert bench.c_half.take() == ["opened"]


def test_a_partner_that_initializes_again_begins_anew(bench: Bench) -> None:
    bench.begin()
    bench.c.send([INITIALIZE])
    bench.server.pump()
    assert bench.s_half.take() == ["lost: partner initialized again", "opened"]
    assert bench.server.session == 0


@pytest.mark.clause("CRQ-F-30")
def test_a_suspended_client_frees_and_registers_again_when_enabling_fails(bench: Bench) -> None:
    bench.begin()
    bench.c.script[Hypercall.H_ENABLE_CRQ] = [ReturnCode.H_HARDWARE]
    bench.c.enqueue(transport_event(0x06))
    bench.settle()
    assert bench.c.asked[Hypercall.H_FREE_CRQ] == 1
    assert bench.c.asked[Hypercall.H_REG_CRQ] == 2
    assert phases(bench) == (Phase.INITIALIZED, Phase.INITIALIZED)
    assert bench.s_half.take() == ["lost: partner deregistered", "opened"]
    assert bench.s.asked[Hypercall.H_FREE_CRQ] == 0


@pytest.mark.clause("CRQ-F-30")
@pytest.mark.parametrize("serving", [False, True])
def test_a_suspended_half_that_can_be_enabled_stays_registered(bench: Bench, serving: bool) -> None:
    bench.begin()
    side, end = (bench.s, bench.server) if serving else (bench.c, bench.client)
    side.script[Hypercall.H_ENABLE_CRQ] = [ReturnCode.H_IN_PROGRESS, ReturnCode.H_LONG_BUSY_10_MS]
    side.enqueue(transport_event(0x06))
    end.pump()
    while end.due() is not None:
        bench.clock.now += 1
        end.pump()
    assert side.asked[Hypercall.H_ENABLE_CRQ] == 3
    assert side.asked[Hypercall.H_FREE_CRQ] == 0
    bench.settle()
    assert phases(bench) == (Phase.INITIALIZED, Phase.INITIALIZED)


def test_a_client_waits_out_a_busy_platform_by_the_clock(bench: Bench) -> None:
    bench.begin()
    bench.c.script[Hypercall.H_FREE_CRQ] = [ReturnCode.H_BUSY, ReturnCode.H_LONG_BUSY_10_MS]
    bench.client.reset("a test wants it")
    bench.client.pump()
    assert bench.client.phase is Phase.FREEING
    assert bench.client.due() == 0
    bench.client.pump()
    assert bench.client.due() == pytest.approx(0.01)
    bench.client.pump()
    assert bench.c.asked[Hypercall.H_FREE_CRQ] == 2, "called before it was due"
    bench.clock.now = 0.011
    bench.settle()
    assert bench.client.due() is None
    assert phases(bench) == (Phase.INITIALIZED, Phase.INITIALIZED)


@pytest.mark.clause("CRQ-F-96")
def test_a_client_whose_pages_are_still_redirected_frees_its_queue_again(bench: Bench) -> None:
    bench.begin()
    bench.c.script[Hypercall.H_FREE_CRQ] = [ReturnCode.H_RESOURCE, ReturnCode.H_RESOURCE]
    bench.client.reset("a test wants it")
    for _ in range(3):
        bench.client.pump()
    bench.settle()
    assert bench.c.asked[Hypercall.H_FREE_CRQ] == 3
    assert phases(bench) == (Phase.INITIALIZED, Phase.INITIALIZED)


def test_a_partner_that_is_off_its_processor_inside_a_call_is_waited_for(bench: Bench) -> None:
    bench.begin()
    bench.s.script[Hypercall.H_FREE_CRQ] = [ReturnCode.H_BUSY] * 120
    bench.server.reset("a test wants it")
    bench.settle()
    assert 1 < bench.clock.waited < 10
    assert phases(bench) == (Phase.INITIALIZED, Phase.INITIALIZED)


def test_a_platform_that_stays_busy_is_an_error_in_bounded_time(bench: Bench) -> None:
    bench.begin()
    bench.s.script[Hypercall.H_FREE_CRQ] = [ReturnCode.H_LONG_BUSY_10_MS] * 1000
    losses: list[str] = []
    bench.server.on_lost = losses.append
    bench.server.reset("a test wants it")
    bench.server.pump()
    assert bench.server.phase is Phase.CLOSED
    assert isinstance(bench.server.failure, PlatformError)
    assert losses[-1] == "H_FREE_CRQ answered 9901: H_LONG_BUSY_10_MS to the last of 201 calls"
    assert bench.clock.waited < 10


def test_a_ring_that_the_platform_refuses_is_an_error_at_the_start(bench: Bench) -> None:
    bench.s.script[Hypercall.H_REG_CRQ] = [ReturnCode.H_NOT_FOUND]
    with pytest.raises(PlatformError, match="H_REG_CRQ answered -7"):
        bench.server.start()


@pytest.mark.clause("CRQ-D-35")
def test_a_server_whose_entry_is_dropped_gives_the_client_up(bench: Bench) -> None:
    bench.begin()
    bench.s.script[Hypercall.H_SEND_CRQ] = [ReturnCode.H_DROPPED]
    bench.server.send(Message(0x42, 1, bytes(8), token=7))
    bench.server.pump()
    assert bench.server.session == 0
    assert bench.server.refusals == {"partner-stalled": 1}


@pytest.mark.clause("CRQ-D-35")
def test_a_server_whose_announcement_is_dropped_gives_the_client_up(bench: Bench) -> None:
    bench.begin()
    bench.s.script[Hypercall.H_SEND_CRQ] = [ReturnCode.H_DROPPED]
    channel = bench.server.channel
    assert channel.announce(USED, 0, 0, 1, 0) == ReturnCode.H_DROPPED
    assert channel.stalled
    bench.server.control(STALLED, b"")
    assert bench.server.session == 0
    assert bench.server.refusals == {"partner-stalled": 1}
    assert not channel.stalled, "the next connection begins without it"


def test_a_partner_that_left_is_known_to_be_going_before_its_event_is_read(bench: Bench) -> None:
    bench.begin()
    assert not bench.server.partner_going()
    bench.s.script[Hypercall.H_SEND_CRQ] = [ReturnCode.H_CLOSED]
    bench.server.send(Message(0x42, 1, bytes(8), token=7))
    assert bench.server.partner_going(), "its queue is closed, the event is on its way"
    bench = Bench()
    bench.begin()
    bench.c.leave(0x01)
    assert bench.server.partner_going(), "the event waits in the ring"
    bench.server.pump()
    assert bench.server.session == 0
    assert bench.s_half.take()[0].startswith("lost: ")


@pytest.mark.clause("CRQ-D-13", "CRQ-F-7")
@pytest.mark.parametrize("serving", [False, True])
def test_a_message_of_another_session_is_dropped(bench: Bench, serving: bool) -> None:
    bench.begin(session=7)
    side, end, half = (bench.s, bench.server, bench.s_half) if serving else (bench.c, bench.client, bench.c_half)
    side.enqueue(build(Message(0x07, 1, token=0x0106)))
    side.enqueue(b"\x80\x00\x41\x08\x01\x00\x06\x00" + bytes(8))
    end.pump()
    assert end.refusals == {"session-stale": 2}
    assert half.take() == []


@pytest.mark.clause("CRQ-D-3", "CRQ-D-2", "CRQ-F-2", "CRQ-D-19")
@pytest.mark.parametrize("serving", [False, True])
@pytest.mark.parametrize(
    ("entry", "rule"),
    [
        (b"\x81" + bytes(15), "frame-header"),
        (b"\x80\x80" + bytes(14), "frame"),
        (b"\x80\x00\x07\x09\x01\x00\x07\x00" + bytes(8), "frame"),
        (b"\x80\x00\x41\x07\x01\x00\x07\x00" + bytes(8), "message-size"),
    ],
)
def test_a_malformed_entry_is_dropped_and_counted(bench: Bench, serving: bool, entry: bytes, rule: str) -> None:
    bench.begin()
    side, end = (bench.s, bench.server) if serving else (bench.c, bench.client)
    side.enqueue(entry)
    end.pump()
    assert end.refusals == {rule: 1}
    assert end.session == 7


def test_announcements_travel_between_the_halves(bench: Bench) -> None:
    heard: list[tuple[int, ...]] = []
    bench.begin()
    for end in (bench.client, bench.server):
        end.on_announced = lambda *announcement: heard.append(announcement)
    bench.client.channel.announce(1, 3, 1, 500, 1)
    bench.server.channel.announce(2, 3, 1, 499, 0)
    bench.settle()
    assert sorted(heard) == [(1, 3, 1, 500, 1), (2, 3, 1, 499, 0)]


@pytest.mark.clause("CRQ-D-22", "CRQ-D-23", "CRQ-F-13")
@pytest.mark.parametrize("length", [9, 40, 72, 73, 4096])
def test_a_long_message_is_pulled_from_its_slot_and_answered_into_it(bench: Bench, length: int) -> None:
    bench.begin()
    request = Message(0x0A, 1, bytes(at % 251 for at in range(length)), token=0x0107)
    bench.client.send(request)
    bench.settle()
    assert bench.s_half.take() == [request]
    answer = Message(0x0A, 1, bytes(at % 241 for at in range(length)), response=True, token=0x0107)
    bench.server.send(answer)
    bench.settle()
    assert bench.c_half.take() == [answer]
    assert bench.s.sent[-1] == build(answer, AreaSlot(bench.s.sent[-1][8], length))


def test_a_platform_without_the_register_calls_is_served_by_copies(bench: Bench) -> None:
    bench.begin()
    bench.s.script[Hypercall.H_READ_RDMA] = [ReturnCode.H_FUNCTION]
    bench.s.script[Hypercall.H_WRITE_RDMA] = [ReturnCode.H_FUNCTION]
    bench.client.send(Message(0x0A, 1, bytes(range(40)), token=0x0107))
    bench.settle()
    bench.server.send(Message(0x0A, 1, bytes(range(40)), response=True, token=0x0107))
    bench.settle()
    assert bench.c_half.take()[0].payload == bytes(range(40))
    assert bench.s.asked[Hypercall.H_COPY_RDMA] == 2


def test_a_short_question_with_a_long_answer_has_a_slot_for_it(bench: Bench) -> None:
    bench.begin()
    bench.client.send(Message(0x02, 1, token=0x0107))
    bench.settle()
    bench.server.send(Message(0x02, 1, bytes(range(24)), response=True, token=0x0107))
    bench.settle()
    assert bench.s_half.take() == [Message(0x02, 1, token=0x0107)]
    assert bench.c_half.take()[0].payload == bytes(range(24))


def test_hello_goes_through_registers_only(bench: Bench) -> None:
    bench.server.start()
    bench.client.start()
    bench.settle()
    bench.client.send(Message(HELLO, 0, bytes(range(48)), bus=True))
    bench.settle()
    bench.server.send(Message(HELLO, 0, bytes(range(40)), response=True, bus=True))
    bench.settle()
    assert bench.s_half.take()[-1].payload == bytes(range(48))
    assert bench.c_half.take()[-1].payload == bytes(range(40))
    assert bench.s.asked[Hypercall.H_COPY_RDMA] == 0
    assert (bench.s.asked[Hypercall.H_READ_RDMA], bench.s.asked[Hypercall.H_WRITE_RDMA]) == (1, 1)


@pytest.mark.clause("CRQ-D-21")
@pytest.mark.parametrize("place", [AreaSlot(3, 16), AreaSlot(0xFFFF, 16), AreaSlot(0, 4096)])
def test_a_slot_outside_the_area_is_refused(bench: Bench, place: AreaSlot) -> None:
    bench.begin()
    assert bench.server._terms is not None
    bench.server._terms = bench.server._terms.__class__(**{**bench.server._terms.__dict__, "max_message": 4103})
    bench.c.send([build(Message(0x0A, 1, token=0x0107), place)])
    bench.server.pump()
    assert bench.server.refusals == {"area-slot": 1}
    assert bench.server.session == 7
    assert bench.s_half.take() == []


@pytest.mark.clause("CRQ-D-24")
@pytest.mark.parametrize("ioba", [0, 0xFFFF_FFF0, 0x10_0000 - 8])
def test_a_body_in_unmapped_memory_ends_the_session(bench: Bench, ioba: int) -> None:
    bench.begin()
    bench.c.send([build(Message(HELLO, 0, bus=True), HelloPlace(ioba, 48))])
    bench.server.pump()
    assert bench.server.refusals == {"area-copy": 1}
    assert bench.server.session == 0
    bench.settle()
    assert phases(bench) == (Phase.INITIALIZED, Phase.INITIALIZED), "the client may try again"


@pytest.mark.clause("CRQ-D-153")
@pytest.mark.parametrize("told", [False, True], ids=["nobody takes the answer", "the event waits"])
def test_a_body_whose_client_goes_while_it_is_copied_is_nobodys_fault(bench: Bench, told: bool) -> None:
    bench.begin()
    call = bench.s.call

    def too_late(operation: int, registers: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        if told:
            bench.c.leave(0x01)
        else:
            bench.s.script[Hypercall.H_SEND_CRQ] = [ReturnCode.H_CLOSED]
        return call(operation, registers)

    bench.s.call = too_late  # type: ignore[method-assign]
    bench.c.send([build(Message(HELLO, 0, bus=True), HelloPlace(0, 48))])
    bench.server.pump()
    assert bench.server.refusals == {}
    assert bench.server.notices["superseded"] == 1


@pytest.mark.clause("CRQ-F-8")
def test_an_answer_in_a_slot_that_did_not_ask_is_dropped(bench: Bench) -> None:
    bench.begin()
    bench.s.send([build(Message(0x0A, 1, response=True, token=0x0107), AreaSlot(2, 16))])
    bench.client.pump()
    assert bench.client.refusals == {"response-stale": 1}


def test_more_long_requests_than_slots_wait_for_one(bench: Bench) -> None:
    bench.begin()
    requests = [Message(0x0A, device, bytes(range(40)), token=0x0107) for device in range(7)]
    for request in requests:
        bench.client.send(request)
    for request in requests:
        bench.settle()
        assert request in bench.s_half.heard
        bench.server.send(Message(0x0A, request.device, bytes(40), response=True, token=0x0107))
    bench.settle()
    assert len(bench.c_half.take()) == 7


def test_a_config_event_fits_an_entry_and_means_everything_may_have_changed(bench: Bench) -> None:
    bench.begin()
    bench.server.send(Message(0x40, 1, bytes([7, 0, 0, 0, 9, 0, 0, 0]) + bytes(range(1, 21)), token=7))
    bench.settle()
    assert bench.c_half.take() == [Message(0x40, 1, bytes([7, 0, 0, 0, 9, 0, 0, 0]) + bytes(8), token=7)]


def test_the_last_look_before_sleeping_sees_what_came_before_the_interrupt_was_on(bench: Bench) -> None:
    bench.begin()
    assert bench.server.arm()
    bench.server.disarm()
    bench.client.channel.announce(1, 1, 0, 1, 0)
    assert not bench.server.arm()
    bench.server.disarm()
    assert bench.server.pump() == 1
    assert bench.server.arm()
    bench.client.channel.announce(1, 1, 0, 2, 0)
    assert bench.s.doorbell == bench.server.fileno()
    bench.server.disarm()
    assert bench.server.pump() == 1


def test_an_interrupt_that_comes_with_every_entry_stays_on_and_one_that_comes_for_many_does_not(bench: Bench) -> None:
    bench.begin()
    assert bench.server.arm()
    bench.server.disarm()
    bench.server.arm()
    for position in range(1, 4):
        bench.client.channel.announce(1, 1, 0, position, 0)
        bench.server.disarm()
        assert bench.s.enabled
        assert bench.server.pump() == 1
        assert bench.server.arm()
    for position in range(4, 6):
        bench.client.channel.announce(1, 1, 0, position, 0)
    bench.server.disarm()
    assert bench.server.pump() == 2
    assert bench.server.arm()
    bench.server.disarm()
    assert not bench.s.enabled
    assert bench.server.arm()
    assert bench.s.enabled
    bench.server.disarm()
    assert bench.s.enabled
    bench.server.disarm(wholly=True)
    assert not bench.s.enabled


def test_closing_frees_the_crq_and_takes_every_mapping_back(bench: Bench) -> None:
    bench.begin()
    for side, end in ((bench.c, bench.client), (bench.s, bench.server)):
        end.close()
        assert side.ring is None
        assert side.pages == {}
        end.close()


def test_a_flood_is_taken_in_portions(bench: Bench) -> None:
    bench.begin()
    taken = 0
    while taken < 5000:
        while bench.s.enqueue(b"\x80\x80" + bytes(14)):
            pass
        step = bench.server.pump()
        assert step <= 1024
        taken += step
    assert bench.server.refusals == {"frame": taken}
    assert bench.server.session == 7
