# SPDX-License-Identifier: Apache-2.0
"""CRQ entries: byte strings in registers, byte 0 most significant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtio_crq.papr import entry
from virtio_crq.papr.entry import Header, InitializationCode, TransportEvent


@given(st.binary(min_size=16, max_size=16))
def test_registers_carry_an_entry_and_give_it_back(data: bytes) -> None:
    high, low = entry.to_registers(data)
    assert high >> 56 == data[0]
    assert low & 0xFF == data[15]
    assert entry.from_registers(high, low) == data


def test_initialization_entries_are_c001_and_c002() -> None:
    assert entry.initialization(InitializationCode.INITIALIZE) == b"\xc0\x01" + bytes(14)
    assert entry.initialization(InitializationCode.COMPLETE) == b"\xc0\x02" + bytes(14)


def test_a_transport_event_carries_its_code_and_status() -> None:
    made = entry.transport_event(TransportEvent.PARTNER_DEREGISTERED, entry.ENTRY_OVERWRITTEN)
    assert made == b"\xff\x02\x00\x20" + bytes(12)


@pytest.mark.parametrize("first", range(256))
def test_what_may_be_sent_has_its_top_bit_set_and_is_no_event(first: int) -> None:
    assert entry.may_be_sent(first) == (0x80 <= first <= 0xFE)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (bytes(16), "free "),
        (b"\x80" + bytes(15), "command "),
        (b"\x81" + bytes(15), "reserved "),
        (b"\xc0\x01" + bytes(14), "initialize "),
        (b"\xc0\x07" + bytes(14), "initialization 0x07 "),
        (b"\xff\x01" + bytes(14), "partner-failed "),
        (b"\xff\x55" + bytes(14), "transport event 0x55 "),
    ],
)
def test_people_are_told_what_an_entry_is(data: bytes, kind: str) -> None:
    assert entry.describe_entry(data).startswith(kind)


def test_an_entry_is_free_when_and_only_when_its_header_is_zero() -> None:
    assert Header.FREE == 0
