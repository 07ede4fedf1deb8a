# SPDX-License-Identifier: Apache-2.0
"""Killed between any two stores of a sub-CRQ call: batches come whole or not at all, none twice, and others go on.

A forked child is the client and makes every kind of sub-CRQ call; it dies at one named point.
"""

import contextlib
import mmap
import os
import select
import signal
from collections.abc import Callable, Iterator

import pytest
from subqueue import LAID, SLOTS, SUBS, SubQueue, lay, record
from test_stop_points import Progress, die
from twopartitions import BOTH, PAGE, End, TwoPartitions

from virtio_crq.hypervisor import binding_stops
from virtio_crq.papr.hypercalls import Hypercall

POINTS = [point for point in binding_stops.stop_points() if point.startswith("sub_")]
Stop = Callable[[str, int, Callable[[End], None]], int]
BATCHES = (5, 16, 1, 16, 3)  # records of each call of the child; 1 is sent through registers
OWN = SUBS + 0x10_0000  # where the child has a sub-CRQ of its own


@pytest.fixture
def pair() -> Iterator[TwoPartitions]:
    pair = TwoPartitions("power8", binding_stops)
    pair.connect()
    yield pair
    pair.close()


@pytest.fixture
def stop(pair: TwoPartitions) -> Iterator[Stop]:
    """Runs the client in a child until it stops at a point; the child goes with the test, whatever became of it."""
    children: list[int] = []

    def stopped(point: str, skip: int, lives: Callable[[End], None]) -> int:
        children.append(die(pair, "c", point, skip, lives, signal.SIGSTOP))
        return children[-1]

    yield stopped
    for child in children:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def started(pair: TwoPartitions, before: int) -> SubQueue:
    """The server's queue, `before` records into its ring, its interrupt on and quiet."""
    queue = SubQueue(pair.s)
    for _ in range(before):
        lay(pair.c, [0])
        assert pair.c.port.queue_send(queue.handle, LAID) == 0
        assert queue.take() is not None
    assert pair.s.port.queue_signal(queue.interrupt, 1) == 0
    return queue


def life(handle: int, progress: Progress, content: Callable[[int], bytes]) -> Callable[[End], None]:
    def live(end: End) -> None:
        end.port.map(OWN, OWN, PAGE, BOTH)
        number = 0
        _, own, _ = end.port.queue_open(OWN, PAGE)
        for call, count in enumerate(BATCHES, 1):
            for index in range(count):
                end.port.write(LAID + 32 * index, content(number + index))
            progress.begun(call)
            if count == 1:
                end.port.queue_send(handle, LAID)
            else:
                end.port.queue_batch(handle, LAID, count)
            progress.finished(call)
            number += count
        end.port.queue_close(own)
        end.free()

    return live


def whole(taken: list[bytes], progress: Progress) -> bool:
    """As many calls' records as were finished, up to those that were begun; all of each call."""
    begun, finished = progress.read()
    lengths = [sum(BATCHES[:calls]) for calls in range(finished, begun + 1)]
    return len(taken) in lengths


def check_others_go_on(pair: TwoPartitions, queue: SubQueue) -> None:
    """A successor finds the cursor where the consumer's is, once around the ring; the server's own sends work, too."""
    successor = End(pair.machine.attach("c"), 0x3000_0002)
    assert successor.register() == 0
    assert successor.port.map(LAID, LAID, PAGE, BOTH) == 0
    for number in range(SLOTS + 3):
        lay(successor, [number])
        assert successor.port.queue_batch(queue.handle, LAID, 1) == 0
        assert queue.take() == record(number)
    its = SubQueue(successor)
    lay(pair.s, [9])
    assert pair.s.port.queue_send(its.handle, LAID) == 0
    assert its.take() == record(9)
    assert successor.port.queue_close(its.handle) == 0
    assert successor.free() == 0


@pytest.mark.clause("CRQ-H-15", "CRQ-H-22")
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize(("skip", "before"), [(0, 0), (0, 120), (7, 120), (19, 0)])
@pytest.mark.parametrize("seen", ["after", "before, header cleared", "before, all cleared"])
def test_a_client_killed_anywhere(pair: TwoPartitions, point: str, skip: int, before: int, seen: str) -> None:
    progress = Progress()
    queue = started(pair, before)
    ended = die(pair, "c", point, skip, life(queue.handle, progress, record), signal.SIGKILL)
    if skip == 0:
        assert ended == signal.SIGKILL, f"the client never came by {point}"
    taken = queue.take_all(clear_all="all" in seen) if seen != "after" else []
    early = len(taken)
    if early:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(pair.s.port.fileno())
    assert pair.machine.reap("c")
    late = queue.take_all()
    assert not late or select.select([pair.s.port], [], [], 0)[0], "records that nobody was told of"
    taken += late
    assert taken == [record(number) for number in range(len(taken))]
    assert whole(taken, progress)
    pair.s.take_all()
    check_others_go_on(pair, queue)


@pytest.mark.clause("CRQ-H-15")
@pytest.mark.parametrize("value", [b"\x00", b"\xff"])
@pytest.mark.parametrize("point", [point for point in POINTS if point not in ("sub_header_cleared",)])
@pytest.mark.parametrize("seen", [True, False])
def test_contents_do_not_decide_whether_a_record_was_sent(
    pair: TwoPartitions, point: str, value: bytes, seen: bool
) -> None:
    """Bytes 1 to 31 all ones or all zero are where a mark could be mistaken for a record, or for a cleared slot."""
    progress = Progress()
    queue = started(pair, 0)
    die(pair, "c", point, 3, life(queue.handle, progress, lambda _: b"\x80" + value * 31), signal.SIGKILL)
    taken = queue.take_all(clear_all=True) if seen else []
    assert pair.machine.reap("c")
    taken += queue.take_all()
    assert set(taken) <= {b"\x80" + value * 31}
    assert whole(taken, progress)


@pytest.mark.clause("CRQ-H-22")
@pytest.mark.parametrize("weak", [None, 5])
@pytest.mark.parametrize("point", ["sub_slot_marked", "sub_slot_meant", "sub_body_stored", "sub_visible"])
def test_a_record_whose_header_is_seen_is_whole(pair: TwoPartitions, point: str, weak: int | None) -> None:
    pair.machine.weak_copies(weak)
    queue = started(pair, 0)
    die(pair, "c", point, 2, life(queue.handle, Progress(), record), signal.SIGKILL)
    slots = [pair.s.port.read(queue.at + 32 * index, 32) for index in range(4)]
    there = [slot[0] != 0 for slot in slots]
    assert there == [True, True, point == "sub_visible", False]
    assert [slot for slot in slots if slot[0]] == [record(number) for number in range(sum(there))]
    if point == "sub_body_stored":
        assert slots[2][8:] == record(2)[8:]
    assert pair.machine.reap("c")


@pytest.mark.clause("CRQ-H-16", "CRQ-H-20")
def test_a_stopped_sender_keeps_nobody_waiting(pair: TwoPartitions, stop: Stop) -> None:
    """SIGSTOP in the middle of a batch: freeing the queue answers H_Busy, and goes through once it ran on."""
    progress = Progress()
    queue = started(pair, 0)
    child = stop("sub_body_stored", 8, life(queue.handle, progress, record))
    assert pair.s.port.queue_close(queue.handle) == 1
    lay(pair.c, [1])
    assert pair.c.port.queue_send(queue.handle, LAID) == -4  # closed from the first answer on
    assert pair.s.call(Hypercall.H_FREE_CRQ, pair.s.unit) == 1
    assert not pair.machine.reap("s")  # the batch may still be written
    os.kill(child, signal.SIGCONT)
    os.waitpid(child, 0)
    assert len(queue.take_all()) == sum(BATCHES[:2])
    assert pair.machine.reap("s")
    assert pair.machine.reap("c")


@pytest.mark.clause("CRQ-H-21")
def test_freeing_the_crq_waits_for_a_batch_as_well(pair: TwoPartitions, stop: Stop) -> None:
    queue = started(pair, 0)
    child = stop("sub_visible", 0, life(queue.handle, Progress(), record))
    assert pair.s.call(Hypercall.H_FREE_CRQ, pair.s.unit) == 1
    os.kill(child, signal.SIGCONT)
    os.waitpid(child, 0)
    assert pair.s.free() == 0
    assert len(queue.take_all()) == BATCHES[0]
    assert pair.s.port.queue_close(queue.handle) == -4
    assert pair.machine.reap("c")


@pytest.mark.clause("CRQ-H-21", "CRQ-H-22")
@pytest.mark.parametrize("point", ["sub_published", "sub_copied", "sub_locked", "sub_slot_meant", "send_published"])
def test_a_partner_that_dies_under_a_send_has_no_full_queue(pair: TwoPartitions, stop: Stop, point: str) -> None:
    """Whoever was let in while the partner lived is done before anything of the partner's is taken away."""
    queue = started(pair, 0)
    codes = mmap.mmap(-1, PAGE)

    def live(end: End) -> None:
        end.port.map(LAID, LAID, PAGE, BOTH)
        lay(end, range(16))
        codes[0] = end.port.queue_batch(queue.handle, LAID, 16) & 0xFF
        codes[1] = end.send(7) & 0xFF
        codes[2] = 1

    child = stop(point, 0, live)
    while not pair.machine.reap("s"):
        os.kill(child, signal.SIGCONT)
    os.waitpid(child, 0)
    batch, entry, done = codes[:3]
    assert done
    assert batch in (0, 2, 0xFC), "the queue of a partner that is gone is closed, or nobody's, but never full"
    assert entry in (0, 2)


@pytest.mark.clause("CRQ-H-10")
def test_a_page_of_records_is_not_taken_back_under_the_call_that_reads_it(pair: TwoPartitions, stop: Stop) -> None:
    queue = started(pair, 0)
    child = stop("sub_copied", 0, life(queue.handle, Progress(), record))
    liobn = pair.c.liobns[0]
    assert pair.c.call(Hypercall.H_PUT_TCE, liobn, LAID, 0) == 1
    os.kill(child, signal.SIGCONT)
    os.waitpid(child, 0)
    assert pair.c.call(Hypercall.H_PUT_TCE, liobn, LAID, 0) == 0
    assert pair.machine.reap("c")
    assert len(queue.take_all()) == BATCHES[0] + 1  # of later calls only the one through registers needs no page
