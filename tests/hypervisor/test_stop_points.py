# SPDX-License-Identifier: Apache-2.0
"""Killed between any two stores that others can see: partner and third party go on, no entry is lost or doubled.

A forked child is the client and makes every kind of call; it dies at one named point. What it had finished and what it
was about to do stand in a shared page, written outside the engine.
"""

import mmap
import os
import signal
import struct
from collections.abc import Callable, Iterator

import pytest
from twopartitions import BOTH, DATA, MEBIBYTE, PAGE, RING, End, TwoPartitions, entry, event

from virtio_crq.hypervisor import binding_stops
from virtio_crq.papr.hypercalls import Hypercall

# What is passed only with a storage adapter is in test_redirect.py, with sub-CRQs in test_stop_subqueues.py.
POINTS = [point for point in binding_stops.stop_points() if not point.startswith(("clone_", "transfer_", "sub_"))]
COPY_POINTS = [point for point in POINTS if point.startswith("copy_")]
REVOKED_UNDER_A_COPY = "tce_marked"  # needs somebody else's call to be inside
SENDS = 8


class Progress:
    """Shared with the child: how many sends it began and finished."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, PAGE)

    def begun(self, count: int) -> None:
        struct.pack_into("<I", self._page, 0, count)

    def finished(self, count: int) -> None:
        struct.pack_into("<I", self._page, 4, count)

    def read(self) -> tuple[int, int]:
        begun, finished = struct.unpack_from("<II", self._page, 0)
        return begun, finished


@pytest.fixture
def pair() -> Iterator[TwoPartitions]:
    pair = TwoPartitions("power8", binding_stops)  # keeps no slot for events, so that one can overlay an entry
    assert pair.s.register() == 2
    assert pair.s.port.map(DATA, DATA, MEBIBYTE, BOTH) == 0
    yield pair
    pair.close()


def die(pair: TwoPartitions, name: str, point: str, skip: int, life: Callable[[End], None], number: int) -> int:
    """Runs `life` as partition `name` in a child that is stopped at `point`; the signal that ended or stopped it."""
    unit = 0x3000_0002 if name == "c" else 0x3000_0003
    child = os.fork()
    if not child:
        try:
            end = End(pair.machine.attach(name), unit)
            binding_stops.arm(point, number, skip)
            life(end)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, os.WUNTRACED)
    if os.WIFSTOPPED(status):
        return child
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def client_life(progress: Progress, sends: int) -> Callable[[End], None]:
    def life(end: End) -> None:
        end.register()
        end.port.map(DATA, DATA, 4 * PAGE, BOTH)
        end.port.signal(1)
        for number in range(sends):
            progress.begun(number + 1)
            if end.send(number) == 0:
                progress.finished(number + 1)
        end.call(Hypercall.H_VIOCTL, end.unit, 0x8, 100 << 32 | DATA)  # the engine writes through our own window
        end.port.unmap(DATA, 4 * PAGE)
        end.free()

    return life


def check_entries(entries: list[bytes], progress: Progress) -> None:
    """Exactly once: what was finished is there, what was begun may be, nothing twice; then only events."""
    begun, finished = progress.read()
    sent = [taken for taken in entries if taken[0] != 0xFF]
    assert sent == [entry(number) for number in range(len(sent))]
    assert finished <= len(sent) <= begun


def check_others_go_on(pair: TwoPartitions) -> None:
    """The third party's connection never noticed; a successor of the dead one connects and talks both ways."""
    client, server = End(pair.other, 0x3000_0002), End(pair.server, 0x3000_0004)
    ring = RING + 0x8000
    server.port.write(ring, bytes(PAGE))
    assert server.port.map(ring, ring, PAGE, BOTH) == 0
    assert client.register() == 2
    assert server.call(Hypercall.H_REG_CRQ, server.unit, ring, PAGE) == 0
    assert client.send(77) == 0
    assert server.port.read(ring, 16) == entry(77)

    successor = End(pair.machine.attach("c"), 0x3000_0002)
    assert successor.register() == 0
    assert successor.port.map(DATA, DATA, PAGE, BOTH) == 0
    for number in range(300):  # once around the ring: its cursor is where the consumer's is
        assert successor.send(number) == 0
        assert pair.s.take() == entry(number)
        assert pair.s.send(number) == 0
        assert successor.take() == entry(number)
    pair.s.port.stage(DATA, DATA, PAGE, 1)
    assert pair.s.port.flush() == 0
    assert successor.free() == 0


@pytest.mark.clause("CRQ-H-1", "CRQ-H-8", "CRQ-H-15", "CRQ-H-16")
@pytest.mark.parametrize("point", [point for point in POINTS if point != REVOKED_UNDER_A_COPY])
@pytest.mark.parametrize("skip", [0, 5])
@pytest.mark.parametrize("seen", ["after", "before, header cleared", "before, all cleared"])
def test_a_client_killed_anywhere(pair: TwoPartitions, point: str, skip: int, seen: str) -> None:
    progress = Progress()
    assert pair.s.send(1) == 2
    ended = die(pair, "c", point, skip, client_life(progress, SENDS), signal.SIGKILL)
    if skip == 0 and not point.startswith(("send_overlaid", "signal_found")):
        assert ended == signal.SIGKILL, f"the client never came by {point}"
    entries: list[bytes] = []
    if seen != "after":  # the consumer takes what it sees while the dead client's call is still half done
        while (taken := pair.s.take(clear_all="all" in seen)) is not None:
            entries.append(taken)
    assert pair.machine.reap("c")
    entries += pair.s.take_all()
    check_entries(entries, progress)
    events = [taken[1] for taken in entries if taken[0] == 0xFF]
    assert events in ([], [1], [2], [2, 1])
    check_others_go_on(pair)


@pytest.mark.clause("CRQ-H-15")
@pytest.mark.parametrize("values", ["ones", "zeroes"])
@pytest.mark.parametrize("point", [point for point in POINTS if point.startswith("send_")])
def test_contents_do_not_decide_whether_an_entry_was_sent(pair: TwoPartitions, point: str, values: str) -> None:
    """Bytes 1 to 15 all ones or all zero are where a mark could be mistaken for an entry, or for a cleared slot."""
    high, low = (0x80 << 56, 0) if values == "zeroes" else (0x80FF_FFFF_FFFF_FFFF, (1 << 64) - 1)

    def life(end: End) -> None:
        end.register()
        end.port.send(high, low)

    die(pair, "c", point, 0, life, signal.SIGKILL)
    visible = pair.s.take(clear_all=True) is not None
    assert pair.machine.reap("c")
    told = pair.s.take()
    if told is not None and told[0] == 0x80:
        assert not visible, "the entry came twice"
        told = pair.s.take()
    assert told is not None, "the ring stalled"
    assert told[:2] == event(1)


@pytest.mark.clause("CRQ-H-2", "CRQ-H-15")
@pytest.mark.parametrize("point", [point for point in POINTS if point.startswith("send_")])
def test_an_entry_whose_header_is_seen_is_whole(pair: TwoPartitions, point: str) -> None:
    """Between any two stores of an enqueue: the low half is there before the half with the header."""

    def life(end: End) -> None:
        end.register()
        end.send(5)

    die(pair, "c", point, 0, life, signal.SIGKILL)
    slot = pair.s.port.read(RING, 16)
    if slot[0]:
        assert slot == entry(5)
    if point == "send_low_stored":
        assert slot[0] == 0
        assert slot[8:] == entry(5)[8:]
    if point == "send_visible":
        assert slot == entry(5)
    assert pair.machine.reap("c")


@pytest.mark.clause("CRQ-H-15")
@pytest.mark.parametrize(
    "point", ["send_overlaid", "send_before_signal", "free_event_sent", "free_drained", "free_closed"]
)
def test_killed_while_overlaying_the_last_entry_of_a_full_ring(pair: TwoPartitions, point: str) -> None:
    progress = Progress()
    skip = 255 if point == "send_before_signal" else 0
    assert die(pair, "c", point, skip, client_life(progress, 300), signal.SIGKILL) == signal.SIGKILL
    assert pair.machine.reap("c")
    entries = pair.s.take_all()
    sent = [taken for taken in entries if taken[0] != 0xFF]
    assert sent == [entry(number) for number in range(len(sent))]
    assert len(sent) >= 254
    assert entries[-1][0] == 0xFF
    check_others_go_on(pair)


def test_killed_while_taking_the_interrupt_that_was_due(pair: TwoPartitions) -> None:
    def life(end: End) -> None:
        end.register()
        pair.s.send(5)  # stands in for the server: an entry that comes while masked
        end.port.signal(1)

    assert die(pair, "c", "signal_found", 0, life, signal.SIGKILL) == signal.SIGKILL
    assert pair.machine.reap("c")
    pair.s.take_all()
    check_others_go_on(pair)


@pytest.mark.clause("CRQ-H-15", "CRQ-H-19")
@pytest.mark.parametrize("weak", [None, 1])
@pytest.mark.parametrize("point", COPY_POINTS)
@pytest.mark.parametrize("outward", [0, 1])
def test_a_server_killed_in_a_copy_holds_nothing_for_ever(point: str, outward: int, weak: int | None) -> None:
    pair = TwoPartitions(engine=binding_stops)
    pair.machine.weak_copies(weak)
    assert pair.c.register() == 2
    assert pair.c.port.map(DATA, DATA, 8 * PAGE, BOTH) == 0

    def life(end: End) -> None:
        end.register()
        end.port.map(DATA, DATA, 8 * PAGE, BOTH)
        end.port.stage(DATA + 100, DATA + 50, 3 * PAGE, outward)
        end.port.flush()

    assert die(pair, "s", point, 0, life, signal.SIGKILL) == signal.SIGKILL
    # The dead copy still counts: what it may touch cannot be taken back before the machine cleaned up.
    unit, liobn = pair.c.unit, pair.c.liobns[0]
    assert pair.c.call(Hypercall.H_PUT_TCE, liobn, DATA, 0) == 1
    assert pair.c.call(Hypercall.H_PUT_TCE, liobn, DATA + 6 * PAGE, 0) == 0
    assert pair.c.call(Hypercall.H_FREE_CRQ, unit) == 1
    assert not pair.machine.reap("c")  # nor can the client's memory be zeroed under it
    assert pair.machine.reap("s")
    assert pair.machine.reap("c")
    pair.close()


def test_a_client_killed_while_it_waits_for_a_copy_to_end(pair: TwoPartitions) -> None:
    assert pair.machine.reap("s")
    stopped = 0

    def copying(end: End) -> None:
        end.register()
        end.port.map(DATA, DATA, PAGE, BOTH)
        end.port.stage(DATA, DATA, PAGE, 0)
        end.port.flush()
        end.port.write(0, b"went on")

    def unmapping(end: End) -> None:
        end.call(Hypercall.H_PUT_TCE, end.liobns[0], DATA, 0)

    assert pair.c.register() == 2
    assert pair.c.port.map(DATA, DATA, PAGE, BOTH) == 0
    stopped = die(pair, "s", "copy_published", 0, copying, signal.SIGSTOP)
    assert die(pair, "c", REVOKED_UNDER_A_COPY, 0, unmapping, signal.SIGKILL) == signal.SIGKILL
    assert not pair.machine.reap("c")
    os.kill(stopped, signal.SIGCONT)
    os.waitpid(stopped, 0)
    assert pair.server.open(pair.s.unit).read(0, 7) == b"went on"
    assert pair.machine.reap("c")
    assert pair.machine.reap("s")
    pair.s = End(pair.machine.attach("s"), 0x3000_0003)
    pair.server = pair.machine.attach("s")
    assert pair.s.register() == 2
    assert pair.s.port.map(DATA, DATA, PAGE, BOTH) == 0
    check_others_go_on(pair)


@pytest.mark.clause("CRQ-H-16")
def test_a_stopped_process_keeps_nobody_waiting(pair: TwoPartitions) -> None:
    """SIGSTOP in the middle of an enqueue: the receiver's calls answer H_Busy, and go through once it ran on."""
    progress = Progress()
    child = die(pair, "c", "send_low_stored", 2, client_life(progress, SENDS), signal.SIGSTOP)
    assert pair.s.call(Hypercall.H_FREE_CRQ, pair.s.unit) == 1
    assert pair.s.send(1) == 2  # closed from the first answer on
    os.kill(child, signal.SIGCONT)
    os.waitpid(child, 0)
    assert pair.s.free() == 0
    assert [taken for taken in pair.s.take_all() if taken[0] == 0x80] == [entry(number) for number in range(3)]


def test_a_new_ring_holds_no_event_of_an_end_that_its_registration_told(pair: TwoPartitions) -> None:
    """IBM's server looks at slot 0 after it has registered: anything but an INIT disconnects it for good.

    A copy that ends late keeps the client's H_FREE_CRQ busy; meanwhile the server registered anew, and H_Closed told it
    that nobody is there.
    """

    def copying(end: End) -> None:
        end.port.stage(DATA, DATA, PAGE, 0)
        end.port.flush()

    assert pair.c.register() == 0
    assert pair.c.port.map(DATA, DATA, PAGE, BOTH) == 0
    copier = die(pair, "s", "copy_published", 0, copying, signal.SIGSTOP)
    assert pair.c.call(Hypercall.H_FREE_CRQ, pair.c.unit) == 1
    os.kill(copier, signal.SIGCONT)
    os.waitpid(copier, 0)
    assert pair.s.free() == 0
    assert pair.s.register() == 2
    assert pair.c.free() == 0
    assert pair.s.peek() is None
    assert pair.c.register() == 0
    assert pair.c.free() == 0  # the new registration is told as ever
    assert [taken[:2] for taken in pair.s.take_all()] == [event(2)]


@pytest.mark.clause("CRQ-H-19")
def test_partner_and_client_may_die_together(pair: TwoPartitions) -> None:
    progress = Progress()
    assert die(pair, "c", "send_low_stored", 3, client_life(progress, SENDS), signal.SIGKILL) == signal.SIGKILL
    assert not pair.machine.reap("s")  # its ring may still be written by the dead client's recovery
    assert pair.machine.reap("c")
    assert pair.machine.reap("s")
    assert pair.machine.attach("s").open(pair.s.unit).read(RING, PAGE) == bytes(PAGE)


def test_the_product_build_has_no_stop_points() -> None:
    from virtio_crq.hypervisor import binding

    assert binding.stop_points() == []
    with pytest.raises(ValueError, match="no stop point"):
        binding.arm(POINTS[0], signal.SIGKILL)


def test_who_answers_a_suspension_at_once_is_not_disabled_after_that(pair: TwoPartitions) -> None:
    """The event is seen only when the queue is disabled, so that H_ENABLE_CRQ cannot come before it."""
    assert pair.c.register() == 0
    poster = die(pair, "c", "send_visible", 0, lambda _end: _post(pair, 0x06), signal.SIGSTOP)
    assert pair.s.take_all()[-1][:2] == event(0x06)
    assert pair.machine.queue_state("s", pair.s.unit) == "disabled"
    assert pair.s.call(Hypercall.H_ENABLE_CRQ, pair.s.unit) == 0
    os.kill(poster, signal.SIGCONT)
    os.waitpid(poster, 0)
    assert pair.machine.queue_state("s", pair.s.unit) == "open"
    assert pair.c.send(1) == 0


def test_an_event_does_not_wait_for_a_partner_that_is_stopped_while_it_sends(pair: TwoPartitions) -> None:
    assert pair.c.register() == 0
    stopped = die(pair, "c", "send_locked", 0, lambda end: end.send(1), signal.SIGSTOP)
    assert pair.machine.post_event("s", pair.s.unit, 0x06) == 1  # H_Busy
    assert pair.machine.queue_state("s", pair.s.unit) == "open"
    os.kill(stopped, signal.SIGCONT)
    os.waitpid(stopped, 0)
    assert pair.machine.post_event("s", pair.s.unit, 0x06) == 0


def _post(pair: TwoPartitions, code: int) -> None:
    pair.machine.post_event("s", pair.s.unit, code)
