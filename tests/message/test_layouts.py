# SPDX-License-Identifier: Apache-2.0
"""Every message layout: what is encoded decodes to itself, and nothing else is accepted."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtio_crq.message import codec
from virtio_crq.message.codec import LAYOUTS, body_of, message_of
from virtio_crq.message.layout import Body, Fixed, Malformed, Tail
from virtio_crq.message.message import Message, token

BODIES = list(LAYOUTS.values())

# Sizes in virtio-msg draft v31, header of 8 bytes included; ours where the draft has none.
DRAFT_SIZES = {
    ("GET_DEVICE_INFO", False): 8,
    ("GET_DEVICE_INFO", True): 32,
    ("GET_DEVICE_FEATURES", False): 16,
    ("SET_DRIVER_FEATURES", True): 8,
    ("GET_CONFIG", False): 16,
    ("GET_CONFIG", True): 20,
    ("SET_CONFIG", False): 20,
    ("SET_CONFIG", True): 20,
    ("GET_DEVICE_STATUS", False): 8,
    ("GET_DEVICE_STATUS", True): 12,
    ("SET_DEVICE_STATUS", False): 12,
    ("SET_DEVICE_STATUS", True): 12,
    ("GET_VQUEUE", False): 12,
    ("GET_VQUEUE", True): 48,
    ("SET_VQUEUE", False): 48,
    ("SET_VQUEUE", True): 8,
    ("RESET_VQUEUE", False): 12,
    ("RESET_VQUEUE", True): 8,
    ("GET_SHM", False): 12,
    ("GET_SHM", True): 20,
    ("EVENT_CONFIG", False): 24,
    ("EVENT_AVAIL", False): 16,
    ("GET_DEVICES", False): 12,
    ("GET_DEVICES", True): 14,
    ("PING", False): 12,
    ("PING", True): 12,
    ("EVENT_DEVICE", False): 12,
}


def values(body: type[Body]) -> st.SearchStrategy[Body]:
    """Any body of this layout."""

    @st.composite
    def draw(choose: Any) -> Body:
        fields: dict[str, Any] = {}
        for name, kind in body.wire():
            if isinstance(kind, Fixed) and kind.size > 8:
                fields[name] = choose(st.binary(min_size=kind.size, max_size=kind.size))
            elif isinstance(kind, Fixed):
                fields[name] = choose(st.integers(0, (1 << 8 * kind.size) - 1))
            elif isinstance(kind, Tail):
                elements = choose(st.lists(st.integers(0, (1 << 8 * kind.width) - 1), max_size=70))
                fields[name] = bytes(elements) if kind.width == 1 else tuple(elements)
                if kind.counted:
                    fields[kind.counted] = len(elements)
        return body(**fields)

    return draw()


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
@given(data=st.data())
def test_a_body_comes_back_from_its_bytes(body: type[Body], data: st.DataObject):
    value = data.draw(values(body))
    message = message_of(value, 3, 0x1234)
    assert body_of(message) == value
    assert message.size == 8 + len(value.encode())


@pytest.mark.clause("CRQ-D-18", "CRQ-F-10")
@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
@given(payload=st.binary(max_size=120))
def test_any_bytes_either_decode_to_what_encodes_to_them_or_are_malformed(body: type[Body], payload: bytes):
    try:
        value = body.decode(payload)
    except Malformed:
        return
    assert value.encode() == payload


@pytest.mark.clause("CRQ-D-18")
@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_one_byte_less_or_more_is_malformed(body: type[Body]):
    size = body.fixed_size()
    tail = next((kind for _, kind in body.wire() if isinstance(kind, Tail)), None)
    if size:
        with pytest.raises(Malformed):
            body.decode(bytes(size - 1))
    if tail is None or tail.counted:
        with pytest.raises(Malformed):
            body.decode(bytes(size + 1))


@pytest.mark.parametrize(("name", "response"), DRAFT_SIZES, ids=str)
def test_sizes_are_those_of_the_draft(name: str, response: bool):
    (body,) = (layout for layout in BODIES if (name, response) == (layout.NAME, layout.RESPONSE))
    assert 8 + body.fixed_size() == DRAFT_SIZES[name, response]


def test_hello_fits_the_register_copies():
    assert codec.Hello.fixed_size() <= 72
    assert codec.Welcome.fixed_size() <= 48


def test_events_have_bit_6_and_no_response():
    for (_, msg_id, response), body in LAYOUTS.items():
        assert Message(msg_id, 0).event == bool(msg_id & 0x40)
        if msg_id & 0x40:
            assert not response, body.NAME


def test_every_request_has_one_response():
    for bus, msg_id, response in LAYOUTS:
        if not response and not msg_id & 0x40:
            assert (bus, msg_id, True) in LAYOUTS


def test_a_token_keeps_session_and_sequence_apart():
    message = Message(2, 0, token=token(0x1234, 0x156))
    assert (message.session_byte, message.sequence) == (0x34, 0x56)


def test_every_layout_but_the_in_flight_list_fits_the_smallest_message():
    for body in BODIES:
        assert 8 + body.fixed_size() <= codec.MAX_MESSAGE_MIN
    assert 20 + codec.CONFIG_PIECE == codec.MAX_MESSAGE_MIN
