# SPDX-License-Identifier: Apache-2.0
"""Rings and interrupts: full, overlaid, stalled; an interrupt at the right times."""

import os
import select
from collections.abc import Iterator

import pytest
from twopartitions import RING, TwoPartitions, entry, event

from virtio_crq.papr.hypercalls import Hypercall
from virtio_crq.papr.profiles import PROFILES
from virtio_crq.platform.port import Port

H_DROPPED = -12
H_CLOSED = 2


@pytest.fixture
def pair() -> Iterator[TwoPartitions]:
    pair = TwoPartitions("power8")
    pair.connect()
    yield pair
    pair.close()


def fired(port: Port) -> bool:
    if not select.select([port], [], [], 0)[0]:
        return False
    os.eventfd_read(port.fileno())
    return True


@pytest.mark.clause("CRQ-H-1", "CRQ-H-3")
@pytest.mark.parametrize("profile", PROFILES)
def test_a_full_ring_drops_and_takes_again_in_order(profile: str) -> None:
    pair = TwoPartitions(profile)
    pair.connect()
    room = 256 - PROFILES[profile].event_slot_reserved
    assert [pair.c.send(number) for number in range(room)] == [0] * room
    assert pair.c.send(room) == H_DROPPED
    assert pair.s.take() == entry(0)
    assert pair.c.send(room) == 0
    assert pair.c.send(room + 1) == H_DROPPED
    assert pair.s.take_all() == [entry(number) for number in range(1, room + 1)]
    pair.close()


@pytest.mark.clause("CRQ-H-3")
def test_one_slot_that_is_not_freed_stalls_the_ring(pair: TwoPartitions) -> None:
    for number in range(256):
        pair.c.send(number)
    for slot in range(1, 256):
        pair.s.port.release8(RING + 16 * slot, 0)
    assert pair.c.send(256) == H_DROPPED
    pair.s.port.release8(RING, 0)
    assert [pair.c.send(number) for number in range(256, 512)] == [0] * 256


def test_entries_wrap_for_long(pair: TwoPartitions) -> None:
    for number in range(2000):
        assert pair.c.send(number) == 0
        assert pair.s.take(clear_all=bool(number % 2)) == entry(number)


@pytest.mark.clause("CRQ-H-3", "CRQ-H-9")
def test_freeing_overlays_the_last_entry_of_a_full_ring(pair: TwoPartitions) -> None:
    for number in range(256):
        pair.c.send(number)
    assert pair.c.free() == 0
    taken = pair.s.take_all()
    assert taken[:-1] == [entry(number) for number in range(255)]
    assert taken[-1][:4] == event(0x02) + b"\0\x20"


def test_freeing_a_ring_with_room_keeps_every_entry(pair: TwoPartitions) -> None:
    for number in range(10):
        pair.c.send(number)
    assert pair.c.free() == 0
    taken = pair.s.take_all()
    assert taken[:-1] == [entry(number) for number in range(10)]
    assert taken[-1] == event(0x02) + bytes(14)
    assert pair.c.send(1) == H_CLOSED
    assert pair.s.send(1) == H_CLOSED
    assert pair.c.register() == 0
    assert pair.c.send(11) == 0
    assert pair.s.take() == entry(11)


def test_a_ring_that_its_owner_unmapped_drops(pair: TwoPartitions) -> None:
    assert pair.s.port.unmap(RING, 4096) == 0
    assert pair.c.send(1) == H_DROPPED
    assert pair.c.free() == 0  # nowhere to tell it; not the freeing side's fault


def test_registering_and_freeing_mask_the_interrupt(pair: TwoPartitions) -> None:
    assert pair.c.send(1) == 0
    assert not fired(pair.s.port)
    assert pair.s.port.signal(1) == 0
    assert pair.s.free() == 0
    fired(pair.s.port)
    assert pair.s.register() == 0
    assert pair.c.send(2) == 0
    assert not fired(pair.s.port)


@pytest.mark.clause("CRQ-H-4")
def test_an_entry_that_was_not_taken_signals_at_every_unmask(pair: TwoPartitions) -> None:
    pair.c.send(1)
    pair.c.send(2)
    assert not fired(pair.s.port)
    for _ in range(2):
        assert pair.s.port.signal(1) == 0
        assert fired(pair.s.port)
        assert pair.s.port.signal(0) == 0
    assert len(pair.s.take_all()) == 2
    assert pair.s.port.signal(1) == 0
    assert not fired(pair.s.port)
    pair.c.send(3)
    assert fired(pair.s.port)
    assert pair.machine.counters("s", pair.s.unit)["interrupts"] == 3


def test_interrupts_can_be_turned_by_number(pair: TwoPartitions) -> None:
    number = pair.s.node.interrupts[0]
    assert pair.s.call(Hypercall.H_VIOCTL, pair.s.unit, 0xC, number) == 0
    pair.c.send(1)
    assert fired(pair.s.port)
    assert pair.s.call(Hypercall.H_VIOCTL, pair.s.unit, 0xB, number) == 0
    pair.c.send(2)
    assert not fired(pair.s.port)
    assert pair.s.call(Hypercall.H_VIOCTL, pair.s.unit, 0xC, number + 1) == -4


def test_a_transport_event_may_be_lost_in_a_full_ring_but_an_entry_is_not(pair: TwoPartitions) -> None:
    for number in range(256):
        pair.c.send(number)
    assert pair.machine.post_event("s", pair.s.unit, 0x09) == H_DROPPED
    assert pair.machine.post_event("s", pair.s.unit, 0x06) == H_DROPPED
    assert pair.machine.queue_state("s", pair.s.unit) == "open", "who was not told is not disabled"
    assert pair.s.take_all() == [entry(number) for number in range(256)]


def test_a_death_overlays_too(pair: TwoPartitions) -> None:
    for number in range(256):
        pair.c.send(number)
    assert pair.machine.reap("c")
    assert pair.s.take_all()[-1][:2] == event(0x01)
