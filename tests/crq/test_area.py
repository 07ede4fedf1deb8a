# SPDX-License-Identifier: Apache-2.0
"""The message area belongs to whoever's turn it is, and is there as long as somebody may come by."""

import pytest

from virtio_crq.crq.framing import SLOT_SIZE
from virtio_crq.message.codec import GET_DEVICE_INFO, REFUSED, Refused
from virtio_crq.message.message import Message
from virtio_crq.papr.entry import transport_event
from virtio_crq.papr.hypercalls import Hypercall
from virtio_crq.papr.returncodes import ReturnCode

from .pair import PAGE, Side
from .test_connection import Bench

LONG = bytes(range(40))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def area_pages(bench: Bench) -> list[int]:
    limits = bench.client.limits
    start = limits.area_address // PAGE
    return list(range(start, start + limits.area_slots * SLOT_SIZE // PAGE))


def mapped(side: Side, pages: list[int]) -> bool:
    return all(side.pages.get(page, (0, 0))[1] == 3 for page in pages)


@pytest.mark.clause("CRQ-F-11")
def test_the_area_is_mapped_both_ways_as_long_as_the_crq_is_registered(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever anything is unmapped, and whenever the CRQ is registered, whatever happened before."""
    pages = area_pages(bench)
    plain_unmap, plain_register = Side.unmap, Side._register
    registered: list[bool] = []

    def unmap(side: Side, bus: int, length: int) -> int:
        assert side.ring is None, "a mapping was taken back while the CRQ was registered"
        return plain_unmap(side, bus, length)

    def register(side: Side, bus: int, size: int) -> int:
        registered.append(side.server or mapped(side, pages))
        return plain_register(side, bus, size)

    monkeypatch.setattr(Side, "unmap", unmap)
    monkeypatch.setattr(Side, "_register", register)
    bench.begin()
    bench.c.enqueue(transport_event(0x02))
    bench.client.pump()
    assert mapped(bench.c, pages)
    bench.c.script[Hypercall.H_ENABLE_CRQ] = [ReturnCode.H_HARDWARE]
    bench.c.enqueue(transport_event(0x06))
    bench.settle()
    bench.client.reset("a test wants it")
    bench.settle()
    assert mapped(bench.c, pages)
    bench.client.close()
    assert registered
    assert all(registered)
    assert not mapped(bench.c, pages)


@pytest.mark.clause("CRQ-F-12")
def test_a_slot_is_left_alone_from_its_entry_to_its_answer(bench: Bench) -> None:
    bench.begin()
    start, count = int(bench.client.limits.area_address), bench.client.limits.area_slots

    def slots() -> list[bytes]:
        loaded = [bench.c.load(start + slot * SLOT_SIZE, 64) for slot in range(count)]
        return [slot for slot in loaded if slot is not None]

    asked = [Message(0x0A, device, bytes([device + 1]) * 40, token=0x0107) for device in range(count)]
    for request in asked:
        bench.client.send(request)
    used = [entry[8] for entry in bench.c.sent[-count:]]
    assert sorted(used) == list(range(count)), "each request has a slot of its own"
    before = slots()
    for request in asked:  # they find no slot, and wait
        bench.client.send(Message(0x0A, request.device + 10, LONG, token=0x0207))
    bench.client.pump()
    assert slots() == before
    bench.server.pump()
    bench.server.send(Message(0x0A, 1, LONG, response=True, token=0x0107))
    bench.client.pump()
    after = slots()
    changed = [slot for slot in range(count) if after[slot] != before[slot]]
    assert changed == [used[1]], "only the answered slot was written again"


@pytest.mark.clause("CRQ-D-101", "CRQ-D-14")
def test_a_request_without_room_for_its_answer_is_answered_refused(bench: Bench) -> None:
    bench.begin()
    request = Message(GET_DEVICE_INFO, 1, token=0x0107)
    bench.server.send(Message(GET_DEVICE_INFO, 1, LONG, response=True, token=request.token))
    assert bench.server.refusals == {"answer-room": 1}
    bench.client.pump()
    (answer,) = bench.c_half.take()
    assert (answer.msg_id, answer.device, answer.token) == (REFUSED, 1, 0x0107)
    assert Refused.decode(answer.payload).msg_id == GET_DEVICE_INFO
    assert bench.server.session == 7


@pytest.mark.clause("CRQ-D-23", "CRQ-D-22")
@pytest.mark.parametrize("length", [40, 200])  # by register calls, and by copy
def test_an_answer_is_in_its_slot_when_the_entry_is_sent_and_a_body_is_copied_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    bench.begin()
    bench.client.send(Message(0x0A, 1, bytes(length), token=0x0107))
    bench.s.asked.clear()
    bench.server.pump()
    assert bench.s.asked[Hypercall.H_READ_RDMA] + bench.s.asked[Hypercall.H_COPY_RDMA] == 1
    body = bytes(at % 251 + 1 for at in range(length))
    at = int(bench.client.limits.area_address) + bench.c.sent[-1][8] * SLOT_SIZE
    stood: list[bytes | None] = []
    plain_send = Side.send

    def send(side: Side, entries: list[bytes]) -> tuple[int, int]:
        stood.append(bench.c.load(at, length))
        return plain_send(side, entries)

    monkeypatch.setattr(Side, "send", send)
    bench.server.send(Message(0x0A, 1, body, response=True, token=0x0107))
    assert stood == [body]
