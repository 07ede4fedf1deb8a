# SPDX-License-Identifier: Apache-2.0
"""Framing is pure and total: it decodes what it built, refuses all else by a rule, and agrees with the channel."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtio_crq.crq import framing
from virtio_crq.crq.framing import Announcement, AreaSlot, HelloPlace
from virtio_crq.errors import DriverFault
from virtio_crq.message.codec import CREDIT_USED
from virtio_crq.message.message import Message
from virtio_crq.platform.channel import AVAIL, CREDIT, USED

RULES = {"frame", "frame-header", "message-size", "area-slot"}

requests = st.builds(
    Message,
    msg_id=st.integers(0, 0x3F),
    device=st.integers(0, 0xFFFF),
    payload=st.binary(max_size=8),
    response=st.booleans(),
    bus=st.booleans(),
    token=st.integers(0, 0xFFFF),
)
announcements = st.builds(
    Announcement,
    kind=st.sampled_from([AVAIL, USED]),
    device=st.integers(0, 0xFFFF),
    queue=st.integers(0, 0xFFFFFFFF),
    position=st.integers(0, 0xFFFF),
    credit=st.integers(0, 1),
)


@pytest.mark.clause("CRQ-D-1", "CRQ-F-1")
@given(requests)
def test_an_inline_message_comes_back(message: Message) -> None:
    assert framing.parse(framing.build(message), DriverFault) == framing.Framed(message)


@given(requests, st.integers(0, 0xFFFF), st.integers(0, 4096))
def test_a_message_in_the_area_comes_back_with_its_place(message: Message, slot: int, length: int) -> None:
    framed = framing.parse(framing.build(message, AreaSlot(slot, length)), DriverFault)
    assert framed.place == AreaSlot(slot, length)
    assert framing.filled(framed, message.payload) == message


@given(st.booleans(), st.integers(0, 0xFFFFFFFF), st.integers(1, 48))
def test_hello_comes_back_with_its_place(response: bool, ioba: int, length: int) -> None:
    message = Message(framing.HELLO, 0, response=response, bus=True)
    framed = framing.parse(framing.build(message, HelloPlace(ioba, length)), DriverFault)
    assert framed == framing.Framed(message, HelloPlace(ioba, length))


@given(announcements, st.integers(0, 0xFFFF))
def test_an_announcement_comes_back(seen: Announcement, session: int) -> None:
    message = framing.parse(framing.announce(seen, session), DriverFault).message
    assert message.session_byte == session & 0xFF
    assert framing.announcement(message, DriverFault) == seen


def decoded(entry: bytes) -> framing.Framed | str:
    """What an entry says, or the rule by which it is refused."""
    try:
        framed = framing.parse(entry, DriverFault)
        framing.announcement(framed.message, DriverFault)
    except DriverFault as fault:
        return fault.rule
    return framed


@pytest.mark.clause("CRQ-D-2", "CRQ-F-2")
@given(st.binary(min_size=15, max_size=17) | st.binary(min_size=15, max_size=15).map(lambda tail: b"\x80" + tail))
def test_any_bytes_are_decoded_exactly_or_refused_by_name(entry: bytes) -> None:
    framed = decoded(entry)
    if isinstance(framed, str):
        assert framed in RULES
    else:
        assert framing.build(framed.message, framed.place) == entry


@pytest.mark.clause("CRQ-D-2", "CRQ-F-2", "CRQ-D-3", "CRQ-D-21")
@pytest.mark.parametrize(
    ("entry", "rule"),
    [
        ("c0" + "00" * 15, "frame-header"),
        ("8010" + "00" * 14, "frame"),
        ("80000209" + "00" * 12, "frame"),
        ("80040201" + "00" * 4 + "0000080000000000", "frame"),
        ("80000201" + "00" * 4 + "aabb000000000000", "frame"),
        ("80014108" + "00" * 12, "frame"),
        ("80040200" + "00" * 4 + "0000011000000000", "area-slot"),
        ("80040200" + "00" * 4 + "0000080001000000", "frame"),
        ("80080200" + "00" * 4 + "0000080000000000", "frame"),
        ("80028000" + "00" * 12, "frame"),
        ("800a8000" + "00" * 4 + "0000000049000000", "frame"),
        ("800b8000" + "00" * 4 + "0000000031000000", "frame"),
        ("80004107" + "00" * 12, "message-size"),
        ("80004108" + "00" * 4 + "0000000000000100", "message-size"),
        ("80004108" + "00000002" + "00" * 8, "frame"),
        ("8002c008" + "00000001" + "0000000002000000", "message-size"),
    ],
)
def test_each_malformation_has_its_rule(entry: str, rule: str) -> None:
    with pytest.raises(DriverFault, match=f"^{rule}: "):
        framing.announcement(framing.parse(bytes.fromhex(entry), DriverFault).message, DriverFault)


def test_a_credit_names_what_it_returns() -> None:
    entry = framing.announce(Announcement(CREDIT, 3, 1, CREDIT_USED, 1), 9)
    assert entry.hex() == "8002c00803000901" + "0100000001000000"
