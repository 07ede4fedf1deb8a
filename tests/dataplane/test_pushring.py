# SPDX-License-Identifier: Apache-2.0
"""The device side of a pushed queue: what a record costs, what it may say, and in which order answers go."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest
from pushguest import (
    COMPLETIONS,
    DATA,
    FLUSH,
    GET_ID,
    IN,
    LIST,
    LISTS,
    MARK,
    OUT,
    REQUESTS,
    SIZE,
    TAIL,
    WRITE,
    Completion,
    PushGuest,
    header,
)
from rig import WINDOW, Rig

from virtio_crq.dataplane.entropyservice import EntropyService
from virtio_crq.dataplane.ringterms import RingResume, RingTerms
from virtio_crq.dataplane.strategies import STRATEGIES
from virtio_crq.errors import DriverFault
from virtio_crq.platform.channel import CREDIT, USED


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.fixture
def guest(rig: Rig) -> PushGuest:
    return PushGuest(rig)


@pytest.mark.clause("CRQ-D-140", "CRQ-D-148", "CRQ-D-150")
def test_a_read_costs_three_copies_and_its_status_comes_inlined(rig: Rig, guest: PushGuest) -> None:
    guest.memory[DATA : DATA + 512] = b"\xee" * 512
    guest.read(0)
    guest.serve()
    assert rig.platform.log == [(REQUESTS, 32, 0), (DATA, 512, 1), (COMPLETIONS, 16, 1)]
    assert guest.completions() == [Completion(0, 513, TAIL, 0)]
    assert guest.memory[DATA : DATA + 512] == bytes(512)
    assert rig.said() == [(1, 1)], "the credit goes along"


@pytest.mark.clause("CRQ-D-142")
def test_records_come_by_one_copy_and_completions_go_by_one_however_many_they_are(rig: Rig, guest: PushGuest) -> None:
    for head in range(5):
        guest.read(head)
    guest.serve()
    small = [(at, length) for at, length, outward in rig.platform.log if length != 512]
    assert small == [(REQUESTS, 5 * 32), (COMPLETIONS, 5 * 16)]
    assert [each.head for each in guest.completions()] == [0, 1, 2, 3, 4]
    rig.platform.log.clear()
    for head in range(5):  # over the end of both rings
        guest.read(head)
    guest.serve(credit=1)
    small = [(at, length) for at, length, outward in rig.platform.log if length != 512]
    assert small == [
        (REQUESTS + 5 * 32, 3 * 32),
        (REQUESTS, 2 * 32),
        (COMPLETIONS + 5 * 16, 3 * 16),
        (COMPLETIONS, 2 * 16),
    ]
    assert len(guest.completions()) == 5


def test_a_write_a_flush_and_a_name_are_a_record_each(rig: Rig, guest: PushGuest) -> None:
    guest.memory[DATA : DATA + 512] = bytes(range(256)) * 2
    guest.record(0, header(OUT, 3), TAIL, DATA, 512)
    guest.record(1, header(FLUSH), TAIL)
    guest.record(2, header(GET_ID), TAIL | WRITE, DATA + 0x1000, 20)
    guest.read(3, sector=3)
    guest.serve()
    found = {each.head: each for each in guest.completions()}
    assert found[0] == Completion(0, 1, TAIL, 0)
    assert found[1] == Completion(1, 1, TAIL, 0)
    assert found[2] == Completion(2, 21, TAIL, 0)
    assert guest.memory[DATA + 0x1000 : DATA + 0x1008] == b"serial-7"
    assert guest.memory[DATA + 0x3000 : DATA + 0x3200] == bytes(range(256)) * 2


@pytest.mark.clause("CRQ-D-148")
def test_without_tail_the_status_goes_into_memory(rig: Rig, guest: PushGuest) -> None:
    guest.memory[DATA] = 0xEE
    guest.record(0, header(IN, 9999), WRITE, DATA, 513)
    guest.serve()
    assert guest.completions() == [Completion(0, 0, 0, 0)]
    assert guest.memory[DATA + 512] == 1, "IOERR"


@pytest.mark.clause("CRQ-D-146", "CRQ-D-147")
def test_lists_that_lie_side_by_side_come_by_one_copy_before_the_credit_goes_back(rig: Rig, guest: PushGuest) -> None:
    for head in range(2):
        at = 0x8000 + 0x1000 * head
        guest.memory[at : at + 16] = header(IN, head)
        guest.listed(head, (at, 16, 0), (DATA + 0x1000 * head, 512, 2), (at + 64, 1, 2))
    at = LISTS + 0x100
    guest.memory[LISTS + 48 : LISTS + 96] = guest.memory[at : at + 48]  # the second list right behind the first
    guest.position -= 1
    guest.record(1, b"", LIST, LISTS + 48, 48)
    lists: list[int] = []
    rig.channel.watch = lambda kind, position, credit: lists.append(
        sum(length for place, length, _ in rig.platform.log if LISTS <= place < LISTS + 0x400)
    )
    guest.serve()
    assert (LISTS, 96, 0) in rig.platform.log
    assert lists == [96]
    assert guest.completions() == [Completion(0, 513, 0, 0), Completion(1, 513, 0, 0)]


def test_a_list_goes_with_inlined_bytes_before_and_a_tail_behind(rig: Rig, guest: PushGuest) -> None:
    guest.listed(4, (DATA, 512, 2), (DATA + 0x1000, 512, 2), inlined=header(IN), flags=TAIL)
    guest.serve()
    assert guest.completions() == [Completion(4, 1025, TAIL, 0)]


def test_bytes_to_write_alone_are_a_request_of_an_entropy_device(rig: Rig) -> None:
    guest = PushGuest(rig, service=EntropyService())
    guest.record(0, b"", WRITE, DATA, 64)
    guest.serve()
    assert guest.completions() == [Completion(0, 64, 0, 0)]
    assert guest.memory[DATA : DATA + 64] != bytes(64)


@pytest.mark.clause("CRQ-D-149")
def test_data_goes_before_the_completion_and_the_completion_before_the_announcement(rig: Rig, guest: PushGuest) -> None:
    for head in range(3):
        guest.read(head)
    at_announcement: list[list[tuple[int, int, int]]] = []
    rig.channel.watch = lambda kind, position, credit: at_announcement.append(list(rig.platform.log))
    guest.serve()
    (before,) = at_announcement
    answers = [index for index, (place, _, _) in enumerate(before) if COMPLETIONS <= place < COMPLETIONS + 16 * SIZE]
    data = [index for index, (place, length, outward) in enumerate(before) if outward and length == 512]
    assert len(data) == 3
    assert max(data) < min(answers)


@pytest.mark.clause("CRQ-D-150")
def test_completions_wait_for_the_right_to_announce_and_then_go_together(rig: Rig, guest: PushGuest) -> None:
    guest.read(0)
    guest.serve()
    for head in (1, 2):
        guest.read(head)
        guest.serve()
    assert rig.said() == [(1, 1)]
    rig.platform.log.clear()
    rig.give_credit(2, 1)
    rig.run()
    assert rig.platform.log == [(COMPLETIONS + 16, 32, 1)]
    assert rig.said() == [(1, 1), (3, 0)]
    assert [kind for kind, *_ in rig.channel.said] == [USED, CREDIT, CREDIT, USED]


@pytest.mark.clause("CRQ-D-142")
def test_no_record_behind_the_announced_position_is_looked_at(rig: Rig, guest: PushGuest) -> None:
    guest.read(0)
    guest.announce()
    guest.record(9999, b"", 0xFF, 1, 0)
    rig.run()
    assert rig.platform.log[0] == (REQUESTS, 32, 0)
    assert not rig.faults
    assert len(guest.completions()) == 1


Act = Callable[[PushGuest], None]


def several(guest: PushGuest, count: int, head: int) -> None:
    for _ in range(count):
        guest.read(head)


NEVER = header(IN)
ACTS: dict[str, tuple[str, Act]] = {
    "no marker": ("record-marker", lambda guest: guest.record(0, NEVER, TAIL | WRITE, DATA, 512, marker=0)),
    "marker of an entry": ("record-marker", lambda guest: guest.record(0, NEVER, TAIL | WRITE, DATA, 512, marker=0xC0)),
    "another device": ("record-name", lambda guest: guest.record(0, NEVER, TAIL, name=(3, 1, MARK))),
    "another queue": ("record-name", lambda guest: guest.record(0, NEVER, TAIL, name=(2, 0, MARK))),
    "another session": ("record-name", lambda guest: guest.record(0, NEVER, TAIL, name=(2, 1, MARK + 1))),
    "17 inlined bytes": ("record-flags", lambda guest: guest.record(0, NEVER, TAIL | 17)),
    "31 inlined bytes": ("record-flags", lambda guest: guest.record(0, NEVER, TAIL | 31)),
    "write and list": ("record-flags", lambda guest: guest.record(0, NEVER, TAIL | WRITE | LIST, LISTS, 16)),
    "write without a segment": ("record-flags", lambda guest: guest.record(0, NEVER, TAIL | WRITE)),
    "nothing": ("record-empty", lambda guest: guest.record(0)),
    "an address alone": ("record-empty", lambda guest: guest.record(0, NEVER, TAIL, WINDOW)),
    "head beyond": ("head-range", lambda guest: guest.record(SIZE, NEVER, TAIL | WRITE, DATA, 512)),
    "largest head": ("head-range", lambda guest: guest.record(0xFFFF, NEVER, TAIL | WRITE, DATA, 512)),
    "a head twice": ("head-in-flight", lambda guest: several(guest, 2, 0)),
    "empty list": ("indirect-size", lambda guest: guest.record(0, NEVER, TAIL | LIST)),
    "half a descriptor": ("indirect-size", lambda guest: guest.record(0, NEVER, TAIL | LIST, LISTS, 24)),
    "long list": ("indirect-size", lambda guest: guest.record(0, NEVER, TAIL | LIST, LISTS, 16 * 131)),
    "longest list": ("indirect-size", lambda guest: guest.record(0, NEVER, TAIL | LIST, LISTS, 0xFFFFF0)),
    "readable after writable": (
        "readable-after-writable",
        lambda guest: guest.listed(0, (DATA, 16, 2), (DATA, 16, 0)),
    ),
    "no bytes in a list": ("zero-length", lambda guest: guest.listed(0, (DATA, 0, 0))),
    "wraps in a list": ("address-wrap", lambda guest: guest.listed(0, ((1 << 64) - 8 - WINDOW, 16, 0))),
    "no header": ("header-short", lambda guest: guest.record(0, NEVER[:15], TAIL | WRITE, DATA, 512)),
    "no status": ("status-missing", lambda guest: guest.record(0, NEVER)),
    "segment beyond the window": (
        "copy-refused",
        lambda guest: guest.record(0, header(OUT), TAIL, (1 << 40) - 512, 512),
    ),
    "list beyond the window": ("copy-refused", lambda guest: guest.record(0, NEVER, TAIL | LIST, (1 << 40) - 16, 16)),
    "more than the queue": ("avail-overrun", lambda guest: several(guest, SIZE + 1, 0)),
}


# A side queue has no record without a marker, and what an old session left in it is dropped (test_sidering.py).
UNHEARD = {("paired", "no marker"), ("paired", "another session")}
LAYOUTS = sorted(layout for layout, fetch in STRATEGIES if fetch == "push")


@pytest.mark.clause("CRQ-D-143", "CRQ-D-144", "CRQ-D-145", "CRQ-D-146")
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(("layout", "name"), [each for each in product(LAYOUTS, ACTS) if each not in UNHEARD])
def test_what_a_record_may_not_say_stops_its_device_and_nothing_else(
    rig: Rig, layout: str, name: str, late: bool
) -> None:
    rule, act = ACTS[name]
    guest = PushGuest(rig, layout=layout)
    if late:
        guest.read(5)
        guest.serve()
        assert len(guest.completions()) == 1
    before = bytes(guest.memory[DATA:])
    act(guest)
    guest.serve(credit=1 if late else 0)
    assert rig.faults == [(2, 1, rule)]
    assert guest.completions() == []
    if rule != "head-in-flight":
        assert bytes(guest.memory[DATA:]) == before, "nothing is written on behalf of a wrong record"
    assert rig.link.service(2, 1) is None
    rig.link.part(2, 1)
    assert rig.link.staging.free == Rig().link.staging.free, "all of its memory is given back"


@pytest.mark.parametrize(
    ("terms", "rule"),
    [
        (RingTerms(12, WINDOW, 0, WINDOW + 0x400), "queue-size"),
        (RingTerms(8, WINDOW + 16, 0, WINDOW + 0x400), "queue-address"),
        (RingTerms(8, WINDOW, 0, WINDOW + 0x408), "queue-address"),
        (RingTerms(8, (1 << 64) - 128, 0, WINDOW), "address-wrap"),
    ],
)
def test_rings_of_records_that_cannot_be_are_refused(rig: Rig, terms: RingTerms, rule: str) -> None:
    with pytest.raises(DriverFault) as caught:
        rig.link.open_queue(0, 0, EntropyService(), replace(terms, ring="records", fetch="push"))
    assert caught.value.rule == rule


@pytest.mark.clause("CRQ-D-151")
def test_a_resumed_queue_is_served_from_its_first_records_on(rig: Rig) -> None:
    guest = PushGuest(rig, resume=RingResume(2, 0, (6, 3)))
    guest.read(6)
    guest.read(3)
    rig.run()
    assert [each.head for each in guest.completions()] == [6, 3]
    guest.read(0)
    guest.serve(credit=1)
    assert [each.head for each in guest.completions()] == [0]


@pytest.mark.clause("CRQ-D-151")
@pytest.mark.parametrize("heads", [(3, 6), (6, 5), (0, 3)])
def test_records_that_are_not_those_of_the_list_are_refused(rig: Rig, heads: tuple[int, int]) -> None:
    guest = PushGuest(rig, resume=RingResume(2, 0, (6, 3)))
    for head in heads:
        guest.read(head)
    rig.run()
    assert rig.faults == [(2, 1, "record-replayed")]


@pytest.mark.clause("CRQ-D-151")
@pytest.mark.parametrize("resume", [RingResume(3, 1, (6, 3)), RingResume(2, 0, (6,)), RingResume(0, 0, (6,))])
def test_positions_of_another_ring_are_no_resume(rig: Rig, resume: RingResume) -> None:
    with pytest.raises(DriverFault) as caught:
        PushGuest(rig, resume=resume)
    assert caught.value.rule == "resume-positions"


@pytest.mark.clause("CRQ-D-150")
def test_a_driver_with_much_in_flight_is_told_of_one_half_while_the_other_is_served(rig: Rig) -> None:
    guest = PushGuest(rig, size=32)
    for head in range(32):
        guest.read(head)
    guest.announce()
    rig.link.turn()
    assert rig.said() == [(16, 1)], "half of it, and the driver may announce more"
    for head in range(16):
        guest.read(head)
    guest.announce(credit=1)
    order: list[int] = []
    rig.channel.watch = lambda kind, position, credit: order.append(
        sum(1 for _place, length, outward in rig.platform.log if outward and length == 512)
    )
    rig.run()
    assert order[0] == 32, "the other half is told of before anything of the next is served"
    assert rig.said()[1] == (32, 1)


@pytest.mark.clause("CRQ-D-150")
def test_over_a_side_queue_a_driver_is_told_of_eight_however_many_are_left(rig: Rig) -> None:
    guest = PushGuest(rig, size=32, layout="paired")
    told: list[int] = []
    send = rig.platform.queue_batch

    def counted(handle: int, bus: int, count: int) -> int:
        told.append(count)
        return send(handle, bus, count)

    rig.platform.queue_batch = counted  # type: ignore[method-assign]
    for head in range(32):
        guest.read(head)
    guest.serve()
    assert told == [8, 8, 8, 8]
