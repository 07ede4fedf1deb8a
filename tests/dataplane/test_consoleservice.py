# SPDX-License-Identifier: Apache-2.0
"""The queues of a console on a scripted platform: what goes where, what waits, and what stops the device."""

import struct
from collections.abc import Callable

import pytest
from layouts import guest_of
from packedguest import PackedGuest
from rig import WRITE, Rig

from combinations import strategies
from virtio_crq.dataplane.consoleservice import (
    ConsoleService,
    ControlReceiveService,
    ControlTransmitService,
    ReceiveService,
    TransmitService,
)
from virtio_crq.dataplane.ringterms import RingResume
from virtio_crq.dataplane.streamstore import StreamStore
from virtio_crq.dataplane.terminal import Terminal
from virtio_crq.platform.channel import CREDIT

DATA = 0x40000
both = pytest.mark.parametrize("fetch", strategies())


class Script(Terminal):
    """Says what is in `says`, one item a read; takes `room` bytes, then nothing."""

    connected = True

    def __init__(self) -> None:
        self.says: list[bytes] = []
        self.room = 1 << 30
        self.heard = b""

    def read(self, limit: int) -> bytes:
        if not self.says:
            return b""
        piece, self.says[0] = self.says[0][:limit], self.says[0][limit:]
        if not self.says[0]:
            self.says.pop(0)
        return piece

    def write(self, data: bytes) -> int:
        count = min(len(data), self.room)
        self.heard += data[:count]
        self.room -= count
        return count


class Queue:
    """One queue of a console on the rig."""

    def __init__(self, fetch: str, make: Callable[[StreamStore, Script], ConsoleService], size: int = 16) -> None:
        self.rig = Rig()
        self.script = Script()
        self.store = StreamStore()
        self.service = make(self.store, self.script)
        self.ring = guest_of(fetch, self.rig.platform, size)
        self.free = self.rig.link.staging.free
        self.open()

    def __del__(self) -> None:
        self.store.close()

    def open(self, resume: tuple[int, int, list[int]] | None = None) -> None:
        stopped = None if resume is None else RingResume(resume[0], resume[1], tuple(resume[2]))
        self.ring.serve(self.rig, 0, self.service, stopped)

    def post(self, *parts: tuple[int, int, int]) -> int:
        head = self.ring.chain(list(parts))
        self.ring.make_available(head)
        return head

    def put(self, at: int, data: bytes) -> None:
        self.rig.platform.guest[at : at + len(data)] = data

    def at(self, at: int, length: int) -> bytes:
        return bytes(self.rig.platform.guest[at : at + length])

    def run(self) -> list[int]:
        """Announce what is new, once the right to is there; bytes written of each buffer that ended."""
        if not self.rig.link.service(0, 0) or not self.rig.link.service(0, 0).ring.avail_held:  # type: ignore[union-attr]
            self.ring.announce(self.rig)
        self.rig.run()
        return [written for _, written in self.ring.collect()]

    def knock(self) -> list[int]:
        self.store.knock()
        self.rig.run()
        return [written for _, written in self.ring.collect()]


def receiving(fetch: str) -> Queue:
    queue = Queue(fetch, ReceiveService)
    assert isinstance(queue.service, ReceiveService)
    queue.service.gate = 1
    return queue


@both
def test_buffers_wait_for_input_and_the_credit_does_not_wait_with_them(fetch: str) -> None:
    queue = receiving(fetch)
    queue.post((DATA, 4096, WRITE))
    queue.post((DATA + 4096, 2, WRITE), (DATA + 8192, 4, WRITE))
    assert queue.run() == []
    assert queue.rig.said(CREDIT) == ([(0, 1)] if queue.ring.announces else [])
    queue.script.says = [b"first", b"second"]
    assert queue.knock() == [5, 6]
    assert queue.at(DATA, 6) == b"first\0"
    assert queue.at(DATA + 4096, 2) + queue.at(DATA + 8192, 4) == b"second"
    assert (queue.service.requests, queue.service.bytes_in) == (2, 11)


@both
@pytest.mark.clause("CRQ-D-106")
def test_what_finds_no_buffer_or_a_closed_gate_is_not_taken(fetch: str) -> None:
    queue = receiving(fetch)
    queue.script.says = [b"x" * 100]
    queue.post((DATA, 10, WRITE))
    assert queue.run() == [10]
    assert queue.script.says == [b"x" * 90]
    queue.service.gate = 0  # type: ignore[attr-defined]
    queue.post((DATA, 10, WRITE))
    assert queue.run() == []
    assert queue.knock() == []
    assert queue.script.says == [b"x" * 90]


@both
def test_input_that_the_driver_was_never_shown_comes_again(fetch: str) -> None:
    queue = receiving(fetch)
    queue.post((DATA, 64, WRITE))
    queue.run()
    queue.script.says = [b"precious"]
    rule = queue.ring.hide_used()
    assert queue.knock() == []
    assert queue.rig.faults == [(0, 0, rule)]
    queue.rig.platform.revoked = []
    queue.ring = guest_of(fetch, queue.rig.platform, base=0x20000)
    queue.open()
    queue.post((DATA, 64, WRITE))
    assert queue.run() == [8]
    assert queue.at(DATA, 8) == b"precious"


@both
def test_output_comes_whole_and_in_order_however_it_is_cut(fetch: str) -> None:
    queue = Queue(fetch, TransmitService)
    text = bytes(range(256)) * 40
    queue.put(DATA, text)
    queue.post((DATA, 1, 0), (DATA + 1, 5000, 0))
    queue.post((DATA + 5001, len(text) - 5001, 0))
    assert queue.run() == [0, 0]
    assert queue.script.heard == text
    assert queue.service.bytes_out == len(text)


@both
def test_output_waits_for_a_slow_reader_and_the_worker_does_not(fetch: str) -> None:
    queue = Queue(fetch, TransmitService)
    queue.put(DATA, b"abcdefgh" * 1000)
    queue.script.room = 5000
    queue.post((DATA, 8000, 0))
    queue.post((DATA, 24, 0))  # more than stands in a record
    assert queue.run() == []
    assert queue.rig.said(CREDIT) == ([(0, 1)] if queue.ring.announces else [])
    queue.put(DATA, b"?" * 8000)  # what was fetched is not fetched again
    queue.script.room = 1 << 30
    assert queue.knock() == [0, 0]
    assert queue.script.heard[:5008] == b"abcdefgh" * 626
    assert queue.script.heard[8000:] == b"?" * 24


@both
def test_endless_output_is_cut_into_turns(fetch: str) -> None:
    queue = Queue(fetch, TransmitService)
    for _ in range(3):
        queue.post(*[(DATA, 0x10000, 0)] * 4, (DATA, 0x8000, 0))
    queue.ring.announce(queue.rig)
    queue.rig.link.turn()
    assert queue.service.weight < (1 << 20) + 4096
    assert queue.run() == [0, 0, 0]
    assert len(queue.script.heard) == 3 * (4 * 0x10000 + 0x8000)


@both
@pytest.mark.clause("CRQ-D-104")
def test_what_a_lost_server_had_is_used_without_being_put_out(fetch: str) -> None:
    queue = Queue(fetch, TransmitService)
    queue.rig.link.close_queue(0, 0)
    queue.put(DATA, b"seen, perhapsnew")
    heads = [queue.post((DATA, 6, 0)), queue.post((DATA + 6, 7, 0))]
    queue.open((2, 0, [] if isinstance(queue.ring, PackedGuest) else heads))
    queue.post((DATA + 13, 3, 0))
    assert queue.run() == [0, 0, 0]
    assert queue.script.heard == b"new"
    assert queue.service.withheld == 13  # type: ignore[attr-defined]


@both
@pytest.mark.clause("CRQ-D-108")
def test_a_readable_buffer_to_receive_into_stops_the_queue(fetch: str) -> None:
    queue = receiving(fetch)
    queue.post((DATA, 8, 0), (DATA + 64, 64, WRITE))
    queue.script.says = [b"secret"]
    assert queue.run() == []
    assert queue.rig.faults == [(0, 0, "console-readable")]
    assert queue.at(DATA + 64, 6) == bytes(6)
    assert queue.script.says == [b"secret"]


@both
@pytest.mark.clause("CRQ-D-108")
def test_a_writable_buffer_to_transmit_stops_the_queue(fetch: str) -> None:
    queue = Queue(fetch, TransmitService)
    queue.post((DATA, 8, 0), (DATA + 64, 64, WRITE))
    assert queue.run() == []
    assert queue.rig.faults == [(0, 0, "console-writable")]
    assert queue.script.heard == b""


@both
def test_each_control_message_has_a_buffer_to_itself(fetch: str) -> None:
    queue = Queue(fetch, ControlReceiveService)
    queue.service.gate = 1  # type: ignore[attr-defined]
    for number in range(3):
        queue.post((DATA + 64 * number, 64, WRITE))
    queue.script.says = [b"12345678", b"12345678name"]
    assert queue.run() == [8, 12]
    assert queue.at(DATA + 64, 12) == b"12345678name"


@both
@pytest.mark.clause("CRQ-D-109")
def test_a_control_buffer_without_room_stops_the_queue(fetch: str) -> None:
    queue = Queue(fetch, ControlReceiveService)
    queue.service.gate = 1  # type: ignore[attr-defined]
    queue.script.says = [b"12345678name"]
    queue.post((DATA, 8, WRITE))
    assert queue.run() == []
    assert queue.rig.faults == [(0, 0, "control-room")]


HEARD: list[tuple[int, int, int]] = []


def controlled(store: StreamStore, script: Script) -> ConsoleService:
    HEARD.clear()
    return ControlTransmitService(store, 3, lambda *said: HEARD.append(said))


@both
def test_control_messages_are_heard_in_order(fetch: str) -> None:
    queue = Queue(fetch, controlled)
    messages = [(0xFFFFFFFF, 0, 1), (0, 3, 1), (2, 6, 1), (2, 6, 0)]
    for number, message in enumerate(messages):
        queue.put(DATA + 64 * number, struct.pack("<IHH", *message))
        queue.post((DATA + 64 * number, 8, 0))
    assert queue.run() == [0] * 4
    assert messages == HEARD


@both
@pytest.mark.clause("CRQ-D-109")
@pytest.mark.parametrize(
    ("message", "length", "flags", "rule"),
    [
        ((0, 0, 1), 7, 0, "control-short"),
        ((0, 1, 1), 8, 0, "control-event"),
        ((0, 99, 1), 8, 0, "control-event"),
        ((3, 3, 1), 8, 0, "control-port"),
        ((0xFFFFFFFF, 6, 1), 8, 0, "control-port"),
        ((0, 0, 1), 8, WRITE, "console-writable"),
    ],
)
def test_a_wrong_control_message_stops_the_queue(
    fetch: str, message: tuple[int, int, int], length: int, flags: int, rule: str
) -> None:
    queue = Queue(fetch, controlled)
    queue.put(DATA, struct.pack("<IHH", *message))
    queue.post((DATA, length, flags))
    assert queue.run() == []
    assert queue.rig.faults == [(0, 0, rule)]
    assert HEARD == []


@both
def test_a_closed_queue_holds_nothing(fetch: str) -> None:
    queue = receiving(fetch)
    queue.post((DATA, 64, WRITE))
    queue.run()
    queue.rig.link.close_queue(0, 0)
    assert queue.rig.link.staging.free == queue.free
    queue.store.knock()  # nobody is there to be told
    assert queue.rig.link.turn() == 0
