# SPDX-License-Identifier: Apache-2.0
"""The device side of a paired queue: records come by a side queue, and whoever announces besides is stopped."""

import os
import struct
import threading
import time
from collections import deque
from collections.abc import Callable

import pytest
from rig import ARENA, WINDOW, Rig

from virtio_crq.dataplane.blockservice import BlockService
from virtio_crq.dataplane.disktraits import DiskTraits
from virtio_crq.dataplane.ramstore import RamStore
from virtio_crq.dataplane.ringterms import RingResume, RingTerms
from virtio_crq.dataplane.worker import Worker
from virtio_crq.platform.channel import AVAIL, CREDIT, LOST
from virtio_crq.virtio import block

MARK, SLOTS = 7, 8
HANDLE, INTERRUPT, PARTNER = 5, 9, 77
BUSY, LONG_BUSY, CLOSED, HARDWARE, PARAMETER, DROPPED = 1, 9905, 2, -1, -4, -12


class PairedRig(Rig):
    """A platform that has side queues, and one queue of a block device that goes by them."""

    def __init__(self, code: int = 0, serves: bool = True, resume: RingResume | None = None) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.code = code
        self.codes: deque[int] = deque()  # what the next sends are answered; then `code`
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
            self.serve(resume)
        self.side = self.link.sides[2, 1]

    def serve(self, resume: RingResume | None = None) -> None:
        service = BlockService(RamStore(64 * 512), DiskTraits(64, b"serial-7"))
        terms = RingTerms(SLOTS, 0, 0, 0, ring="paired", fetch="push", device=2, queue=1, mark=MARK)
        self.link.open_queue(2, 1, service, terms, resume)

    def _close(self, handle: int) -> int:
        self.closed.append(handle)
        return self.closes.pop(0) if self.closes else 0

    def _sent(self, handle: int, record: bytes) -> int:
        return self._take(handle, [record])

    def _batch(self, handle: int, bus: int, count: int) -> int:
        at = bus - ARENA.bus + ARENA.offset
        text = bytes(self.platform.own[at : at + 32 * count])
        return self._take(handle, [text[place : place + 32] for place in range(0, len(text), 32)])

    def _take(self, handle: int, records: list[bytes]) -> int:
        assert handle == PARTNER
        code = self.codes.popleft() if self.codes else self.code
        if code == 0:
            self.sent += records
        return code

    def heads(self) -> list[int]:
        """Of the completions that were sent since the last call."""
        found = [int(struct.unpack_from("<H", record, 2)[0]) for record in self.sent]
        self.sent.clear()
        return found

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
@pytest.mark.parametrize("answer", [1, -1])  # busy, and the platform's own failure: nobody knows that it is gone
def test_a_ring_that_is_sent_to_without_end_keeps_its_memory_and_nobody_waiting(answer: int) -> None:
    rig = PairedRig()
    rig.closes = [answer, answer, 0]
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


@pytest.mark.clause("CRQ-D-36", "CRQ-D-92", "CRQ-D-162")
def test_a_flood_of_records_of_a_session_that_is_over_takes_turns_like_any_other() -> None:
    """Or who sends them as fast as they are dropped would have the worker for itself."""
    rig = PairedRig()
    for place in range(100):
        rig.put(3, session=MARK - 1, ahead=place)
    rig.put(4, ahead=100)
    for turn in range(3):
        assert rig.link.turn() > 0, "a worker would go to sleep over what waits"
        assert rig.side.cursor == 32 * (turn + 1)
        assert rig.sent == []
    rig.run()
    assert rig.heads() == [4]


@pytest.mark.clause("CRQ-D-163")
@pytest.mark.parametrize("code", [BUSY, LONG_BUSY, CLOSED, HARDWARE])
def test_completions_that_the_platform_does_not_take_now_are_sent_again(code: int) -> None:
    rig = PairedRig()
    rig.codes.append(code)
    for place, head in enumerate((3, 4)):
        rig.put(head, ahead=place)
    rig.link.turn()
    assert rig.sent == []
    assert (rig.link.unsaid, rig.link.restless) == (1, 1), "a worker would go to sleep over them"
    rig.run()
    assert rig.heads() == [3, 4]
    assert (rig.link.unsaid, rig.link.restless) == (0, 0)
    assert not rig.faults


@pytest.mark.clause("CRQ-D-163")
def test_what_was_taken_of_a_batch_is_not_sent_again() -> None:
    rig = PairedRig()
    for head in range(6):
        rig.put(head, ahead=head)
    rig.run()
    assert rig.heads() == [0, 1, 2, 3, 4, 5]
    rig.codes.extend([0, BUSY, BUSY])  # slots 6 and 7, then 0 and 1
    for place, head in enumerate((5, 4, 3, 2)):
        rig.put(head, ahead=place)
    rig.link.turn()
    assert rig.heads() == [5, 4]
    rig.link.turn()
    assert rig.heads() == []
    rig.run()
    assert rig.heads() == [3, 2]


@pytest.mark.clause("CRQ-D-85")
def test_a_worker_is_not_kept_from_its_sleep_by_resumed_records_that_do_not_come() -> None:
    rig = PairedRig(resume=RingResume(2, 0, (3, 5)))
    rig.run()
    assert rig.link.restless == 0
    rig.put(3)
    rig.run()
    assert rig.heads() == [3]
    assert rig.link.restless == 0
    rig.put(4)
    rig.run()
    assert rig.faults == [(2, 1, "record-replayed")]


@pytest.mark.clause("CRQ-D-163")
@pytest.mark.parametrize("code", [PARAMETER, DROPPED])
def test_a_queue_whose_completions_are_refused_is_stopped(code: int) -> None:
    rig = PairedRig(code=code)
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


def test_only_the_interrupt_of_the_queue_that_is_busy_is_turned_off() -> None:
    """A pair of calls a sleep for each idle queue would be for nothing."""
    rig = PairedRig()
    told: list[tuple[int, int]] = []
    rig.platform.queue_open = lambda bus, length: (0, HANDLE + 1, INTERRUPT + 1)  # type: ignore[attr-defined]
    rig.platform.queue_signal = lambda interrupt, on: (told.append((interrupt, on)), 0)[1]  # type: ignore[attr-defined]
    assert rig.link.pair(3, 0, SLOTS, PARTNER) == HANDLE + 1
    service = BlockService(RamStore(64 * 512), DiskTraits(64, b"serial-8"))
    terms = RingTerms(SLOTS, 0, 0, 0, ring="paired", fetch="push", device=3, queue=0, mark=MARK)
    rig.link.open_queue(3, 0, service, terms)
    rig.run()

    def sleep() -> list[tuple[int, int]]:
        rig.link.listen()
        rig.link.armed = 1
        return [told.pop(0) for _ in list(told)]

    assert sorted(sleep()) == [(INTERRUPT, 1), (INTERRUPT + 1, 1)]
    for head in range(3):
        rig.put(head)
        rig.run()
        assert told == [(INTERRUPT, 0)]
        rig.put(head)
        rig.run()
        told.clear()
        assert sleep() == [(INTERRUPT, 1)]
    # One that was left on and gets busy while nobody sleeps costs its sender one interrupt, and no second.
    rig.put(3)
    rig.run()
    words = struct.pack("<BBHHBB", 0x80, 0x20 | 16, 0, 3, 0, MARK) + bytes(8)
    rig._store(rig.link.sides[3, 0].slot(), words + struct.pack("<IIQ", block.T_GET_ID, 0, 0))
    rig.run()
    assert told == [(INTERRUPT, 0), (INTERRUPT + 1, 0)]
    assert not rig.faults


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


class LoadedRig(PairedRig):
    """Two paired queues; the first one's driver has the next record there before a completion is sent."""

    def __init__(self, load: int) -> None:
        super().__init__()
        self.left = load
        self.answered: list[int] = []  # of the second queue, by how much of the load was left then
        self.heard: list[int] = []
        self.over = threading.Event()
        assert self.link.pair(3, 0, SLOTS, PARTNER) == HANDLE
        service = BlockService(RamStore(64 * 512), DiskTraits(64, b"serial-8"))
        terms = RingTerms(SLOTS, 0, 0, 0, ring="paired", fetch="push", device=3, queue=0, mark=MARK)
        self.link.open_queue(3, 0, service, terms)
        self.other = self.link.sides[3, 0]

    def _take(self, handle: int, records: list[bytes]) -> int:
        if self.control and not self.heard:
            self.heard.append(self.left)
        for record in records:
            head, device = struct.unpack_from("<HH", record, 2)
            if device == 3:
                self.answered.append(self.left)
                continue
            self.left -= 1
            if self.left == LOAD // 2:
                self.channel.coming.append((LOST, 0, 0, 0, 0))
                words = struct.pack("<BBHHBB", 0x80, 0x20 | 16, 1, 3, 0, MARK) + bytes(8)
                self.port.write(self.other.slot(), words + struct.pack("<IIQ", 4, 0, 0))
            if self.left > 0:
                self.put(head, ahead=1 if self.port.acquire8(self.side.slot()) else 0)
            else:
                self.over.set()
        return 0


LOAD = 2000


@pytest.mark.clause("CRQ-D-36", "CRQ-D-92")
def test_records_that_always_wait_keep_neither_messages_nor_another_queue_waiting() -> None:
    rig = LoadedRig(LOAD)
    worker = Worker("test")
    rig.put(3)
    worker.start()
    worker.add(rig.link)
    assert rig.over.wait(20)
    worker.remove(rig.link)
    worker.stop()
    assert [LOAD // 2 - left < 64 for left in (*rig.heard, *rig.answered)] == [True, True]
