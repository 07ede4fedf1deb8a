# SPDX-License-Identifier: Apache-2.0
"""The device side of a paired queue: records come by a side queue, and whoever announces besides is stopped."""

import os
import struct
import time
from collections.abc import Callable

import pytest
from rig import ARENA, WINDOW, Rig

from virtio_crq.dataplane.blockservice import BlockService
from virtio_crq.dataplane.disktraits import DiskTraits
from virtio_crq.dataplane.ramstore import RamStore
from virtio_crq.dataplane.ringterms import RingTerms
from virtio_crq.dataplane.worker import Worker
from virtio_crq.platform.channel import AVAIL, CREDIT
from virtio_crq.virtio import block

MARK, SLOTS = 7, 8
HANDLE, INTERRUPT, PARTNER = 5, 9, 77


class PairedRig(Rig):
    """A platform that has side queues, and one queue of a block device that goes by them."""

    def __init__(self, code: int = 0, serves: bool = True) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.code = code
        self.opened: list[int] = []
        platform = self.platform
        platform.queue_open = lambda bus, length: (self.opened.append(length), (0, HANDLE, INTERRUPT))[1]  # type: ignore[attr-defined]
        self.closes: list[int] = []  # the codes of the next ones
        self.closed: list[int] = []
        platform.queue_close = self._close  # type: ignore[attr-defined]
        platform.queue_signal = lambda interrupt, enabled: 0  # type: ignore[attr-defined]
        platform.queue_send = self._sent  # type: ignore[attr-defined]
        platform.queue_batch = self._batch  # type: ignore[attr-defined]
        assert self.link.pair(2, 1, SLOTS, PARTNER) == HANDLE
        if serves:
            self.serve()
        self.side = self.link.sides[2, 1]

    def serve(self) -> None:
        service = BlockService(RamStore(64 * 512), DiskTraits(64, b"serial-7"))
        terms = RingTerms(SLOTS, 0, 0, 0, ring="paired", fetch="push", device=2, queue=1, mark=MARK)
        self.link.open_queue(2, 1, service, terms)

    def _close(self, handle: int) -> int:
        self.closed.append(handle)
        return self.closes.pop(0) if self.closes else 0

    def _sent(self, handle: int, record: bytes) -> int:
        assert handle == PARTNER
        self.sent.append(record)
        return self.code

    def _batch(self, handle: int, bus: int, count: int) -> int:
        at = bus - ARENA.bus + ARENA.offset
        for number in range(count):
            self._sent(handle, bytes(self.platform.own[at + 32 * number : at + 32 * number + 32]))
        return self.code

    def put(self, head: int, session: int = MARK, ahead: int = 0) -> None:
        """A record of GET_ID without room for an answer: its status comes back in the completion."""
        words = struct.pack("<BBHHBB", 0x80, 0x20 | 16, head, 2, 1, session) + bytes(8)
        self._store(self.side.slot() + 32 * ahead, words + struct.pack("<IIQ", block.T_GET_ID, 0, 0))

    def read(self, head: int) -> None:
        """A record that has the first sector read into the guest's memory."""
        words = struct.pack("<BBHHBB", 0x80, 0x60 | 16, head, 2, 1, MARK)
        place = struct.pack("<Q", WINDOW + 0x8000 | 512 << 40)
        self._store(self.side.slot(), words + place + struct.pack("<IIQ", block.T_IN, 0, 0))

    def _store(self, at: int, record: bytes) -> None:
        """As the platform does: what makes it valid comes last."""
        self.port.write(at + 1, record[1:])
        self.port.write(at, record[:1])


def test_a_record_is_answered_by_a_record_and_its_slot_is_free() -> None:
    rig = PairedRig()
    rig.put(3)
    slot = rig.side.slot()
    rig.run()
    assert rig.port.read(slot, 1) == b"\0"
    assert len(rig.sent) == 1
    assert rig.sent[0][:8] == struct.pack("<BBHHBB", 0x80, 0x20, 3, 2, 1, MARK)
    assert rig.sent[0][8:] == struct.pack("<IB", 1, 0) + bytes(19)
    assert rig.said() == []
    assert not rig.faults


@pytest.mark.clause("CRQ-D-162")
def test_a_record_of_a_session_that_is_over_is_dropped_and_counted() -> None:
    rig = PairedRig()
    rig.put(3, session=MARK - 1)
    rig.run()
    assert rig.sent == []
    rig.put(4)
    rig.run()
    assert len(rig.sent) == 1
    rig.link.close()
    assert rig.link.refusals == {"record-stale": 1}


@pytest.mark.clause("CRQ-D-162")
def test_more_records_of_old_sessions_than_any_can_have_left_stop_the_queue() -> None:
    """One for one they could go on for ever, and have nothing else served."""
    rig = PairedRig()
    slots = rig.side.slots
    for _ in range(slots):
        rig.put(3, session=MARK - 1)
        rig.run()
    assert not rig.faults
    rig.put(3, session=MARK - 1)
    rig.run()
    assert rig.faults == [(2, 1, "record-name")]


@pytest.mark.clause("CRQ-D-166")
def test_records_that_come_before_their_queue_is_served_keep_nobody_awake_and_wait_for_that() -> None:
    rig = PairedRig(serves=False)
    rig.put(3)
    rig.link.part(2, 2)  # as when other queues come and go
    assert (rig.link.turn(), rig.link.turn(), rig.link.restless) == (0, 0, 0)
    assert (rig.link.heard, rig.sent, rig.link.aside) == (0, [], None)
    rig.serve()
    assert rig.link.aside is rig.side
    rig.run()
    assert len(rig.sent) == 1


@pytest.mark.clause("CRQ-D-166")
def test_a_ring_that_is_sent_to_without_end_keeps_its_memory_and_nobody_waiting() -> None:
    rig = PairedRig()
    rig.closes = [1, 1, 0]
    rig.link.close_queue(2, 1)
    assert rig.closed == [HANDLE]
    assert [side.slots for side in rig.link.leaving] == [128]
    assert rig.link.pair(2, 1, SLOTS, PARTNER) == HANDLE
    assert rig.closed == [HANDLE] * 2
    assert rig.link.sides[2, 1].offset != rig.link.leaving[0].offset
    left = rig.link.leaving[0].offset
    assert rig.link.pair(2, 2, SLOTS, PARTNER) == HANDLE
    assert rig.closed == [HANDLE] * 3
    assert rig.link.leaving == []
    assert rig.link.sides[2, 2].offset == left


@pytest.mark.clause("CRQ-D-163")
def test_a_queue_whose_completions_are_refused_is_stopped() -> None:
    rig = PairedRig(code=-4)
    rig.put(3)
    rig.run()
    assert rig.faults == [(2, 1, "record-refused")]


@pytest.mark.clause("CRQ-D-164")
@pytest.mark.parametrize("kind", [AVAIL, CREDIT])
def test_an_announcement_of_a_paired_queue_stops_it(kind: int) -> None:
    rig = PairedRig()
    rig.channel.coming.append((kind, 2, 1, 1, 1 if kind == CREDIT else 0))
    rig.run()
    assert rig.faults == [(2, 1, "record-announced")]


@pytest.mark.clause("CRQ-D-165")
def test_more_records_than_the_queue_has_room_for_stop_it() -> None:
    rig = PairedRig()
    for head in range(SLOTS):
        rig.put(head, ahead=head)
    rig.run()
    assert len(rig.sent) == SLOTS
    assert not rig.faults
    for number in range(SLOTS + 1):
        rig.put(number % SLOTS, ahead=number)
    rig.run()
    assert rig.faults == [(2, 1, "avail-overrun")]
    assert len(rig.sent) == SLOTS


@pytest.mark.clause("CRQ-D-160")
def test_a_ring_has_room_for_all_that_may_be_in_flight() -> None:
    assert PairedRig().opened == [4096]


def crowded(rig: PairedRig) -> list[int]:
    """Have a read come when there is no room for its data; what takes the room."""
    taken = [rig.link.staging.take(4096) for _ in range(rig.link.staging.free)]
    rig.read(3)
    return taken


def give_back(rig: PairedRig, taken: list[int]) -> None:
    for at in taken:
        rig.link.staging.give(at, 4096)


def test_a_request_that_found_no_room_is_tried_again_though_nothing_else_comes() -> None:
    rig = PairedRig()
    rig.run()
    taken = crowded(rig)
    rig.run()
    assert rig.sent == []
    give_back(rig, taken)
    rig.run()
    assert len(rig.sent) == 1
    assert not rig.faults


def test_a_worker_that_looks_at_the_queue_tries_it_again_as_well() -> None:
    rig = PairedRig()
    worker = Worker("looking", None)
    worker.start()
    try:
        worker.add(rig.link)
        until(lambda: not rig.link.restless)
        rig.put(1)
        until(lambda: len(rig.sent) == 1 and not rig.link.restless)  # from now on it finds records without a whole turn
        taken = crowded(rig)
        until(lambda: not rig.side.waits())
        worker.call(lambda: give_back(rig, taken))
        until(lambda: len(rig.sent) == 2)
    finally:
        worker.stop()
    assert not rig.faults


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline
        os.sched_yield()
