# SPDX-License-Identifier: Apache-2.0
"""A channel decodes in place exactly what framing says, and leaves everything else to the control plane."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtio_crq.crq import framing
from virtio_crq.crq.channel import CrqChannel
from virtio_crq.crq.framing import Announcement
from virtio_crq.errors import DriverFault
from virtio_crq.platform.channel import AVAIL, CONTROL, CREDIT, LOST, NOTHING, USED
from virtio_crq.platform.hosted import host
from virtio_crq.platform.port import Port

RING = 4096
SIZE = 4096


class Wire:
    """A platform that keeps what was sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.event = os.eventfd(0)

    def __del__(self) -> None:
        os.close(self.event)

    def call(self, operation: int, registers: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        return -2, ()

    def copy(self, vector: list[tuple[int, int, int, int]]) -> tuple[int, int]:
        return -2, 0

    def send(self, entries: list[bytes]) -> tuple[int, int]:
        self.sent += entries
        return 0, len(entries)

    def map(self, bus: int, offset: int, length: int, access: int) -> int:
        return 0

    def unmap(self, bus: int, length: int) -> int:
        return 0

    def signal(self, enabled: int) -> int:
        return 0

    def fileno(self) -> int:
        return self.event


class Half:
    """A channel, what it sent, and a producer into its ring that obeys the free-slot rule."""

    def __init__(self, serving: bool, session: int = 7) -> None:
        self.wire = Wire()
        self.memory = bytearray(RING + SIZE)
        self.channel = CrqChannel(Port(host(self.wire, self.memory)), RING, SIZE, serving)
        self.channel.session = session
        self.cursor = 0

    def enqueue(self, entry: bytes) -> bool:
        at = RING + self.cursor
        if self.memory[at]:
            return False
        self.memory[at : at + 16] = entry
        self.cursor = (self.cursor + 16) % SIZE
        return True


def decoded(channel: CrqChannel, kind: int) -> Announcement:
    # A credit names its kind where others have a position.
    return Announcement(kind, channel.device, channel.queue, channel.position, channel.credit)


@given(
    st.binary(min_size=16, max_size=16)
    | st.builds(
        lambda kind, device, queue, position, credit, session: framing.announce(
            Announcement(kind, device, queue, position, credit), session
        ),
        st.sampled_from([AVAIL, USED, CREDIT]),
        st.integers(0, 0xFFFF),
        st.integers(0, 0xFFFFFFFF),
        st.integers(0, 3) | st.integers(0, 0x1FFFF),
        st.integers(0, 1),
        st.integers(6, 7),
    ),
    st.booleans(),
)
def test_the_channel_decodes_what_framing_decodes_and_nothing_more(entry: bytes, serving: bool) -> None:
    half = Half(serving)
    if entry[0] == 0:
        return
    assert half.enqueue(entry)
    kind = half.channel.poll()
    assert half.channel.entry() == entry
    expected = None
    try:
        message = framing.parse(entry, DriverFault).message
        if message.session_byte == 7:
            expected = framing.announcement(message, DriverFault)
    except DriverFault:
        pass
    if expected and expected.kind == (USED if serving else AVAIL):
        expected = None  # one's own kind of news cannot come from the partner
    if expected and expected.kind == CREDIT and expected.position + 1 != (USED if serving else AVAIL):
        expected = None  # nor can a credit that one never spends
    if expected:
        assert decoded(half.channel, kind) == expected
    else:
        assert kind == (LOST if entry[0] == 0xFF else CONTROL)


@pytest.mark.clause("CRQ-D-1", "CRQ-F-1")
@given(
    st.sampled_from([AVAIL, USED]),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, 0xFFFF),
    st.integers(0, 1),
)
def test_what_one_half_announces_the_other_hears(kind: int, device: int, queue: int, at: int, credit: int) -> None:
    speaker, hearer = Half(serving=kind == USED), Half(serving=kind == AVAIL)
    assert speaker.channel.announce(kind, device, queue, at, credit) == 0
    assert speaker.wire.sent == [framing.announce(Announcement(kind, device, queue, at, credit), 7)]
    hearer.enqueue(speaker.wire.sent[0])
    assert hearer.channel.poll() == kind
    assert decoded(hearer.channel, kind) == Announcement(kind, device, queue, at, credit)


@pytest.mark.parametrize("serving", [True, False])
def test_a_returned_credit_is_heard_by_its_owner(serving: bool) -> None:
    speaker, hearer = Half(serving), Half(not serving)
    assert speaker.channel.announce(CREDIT, 1, 2, 0, 0) == 0
    hearer.enqueue(speaker.wire.sent[0])
    assert hearer.channel.poll() == CREDIT
    assert (hearer.channel.device, hearer.channel.queue, hearer.channel.credit) == (1, 2, 1)


def test_without_a_session_nothing_is_announced_and_nothing_heard() -> None:
    half = Half(serving=True, session=0)
    assert half.channel.announce(USED, 1, 0, 5, 0) == 2
    assert half.wire.sent == []
    half.enqueue(framing.announce(Announcement(AVAIL, 1, 0, 5, 0), 0))
    assert half.channel.poll() == CONTROL


def test_slots_are_given_back_in_order_and_the_ring_wraps() -> None:
    half = Half(serving=True)
    for position in range(3 * SIZE // 16):
        assert half.enqueue(framing.announce(Announcement(AVAIL, 1, 0, position, 0), 7))
        assert half.channel.poll() == AVAIL
        assert half.channel.position == position
        assert half.channel.poll() == NOTHING
    assert not any(half.memory[RING + slot] for slot in range(0, SIZE, 16))


def test_a_full_ring_drains_to_the_last_entry() -> None:
    half = Half(serving=True)
    count = 0
    while half.enqueue(framing.announce(Announcement(AVAIL, 1, 0, count, 0), 7)):
        count += 1
    assert count == SIZE // 16
    assert [half.channel.poll() for _ in range(count + 1)] == [AVAIL] * count + [NOTHING]


def test_a_last_look_sees_an_entry_and_takes_nothing() -> None:
    half = Half(serving=True)
    assert not half.channel.has_entry()
    half.enqueue(b"\xff\x02" + bytes(14))
    assert half.channel.has_entry()
    assert half.channel.has_entry()
    assert half.channel.poll() == LOST
    assert not half.channel.has_entry()


def test_rewinding_frees_every_slot_and_ends_the_session() -> None:
    half = Half(serving=True)
    for _ in range(5):
        half.enqueue(b"\x80" + bytes(15))
    half.channel.poll()
    half.channel.rewind()
    half.cursor = 0
    assert half.channel.poll() == NOTHING
    assert half.channel.session == 0
    half.enqueue(b"\xff\x01" + bytes(14))
    assert half.channel.poll() == LOST
