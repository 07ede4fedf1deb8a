# SPDX-License-Identifier: Apache-2.0
"""Positions of a packed ring: one number says slot and wrap counter, and a wish at a place is passed exactly once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtio_crq.virtio import packedring as ring
from virtio_crq.virtio.ringareas import placed, ring_areas
from virtio_crq.virtio.splitring import RingPosition

sizes = st.sampled_from([1, 2, 8, 256, 32768])


@pytest.mark.clause("CRQ-F-50", "CRQ-D-120")
@given(size=sizes, position=st.integers(0, 65535))
def test_a_position_walks_as_the_standard_turns_its_counters(size: int, position: int) -> None:
    slot, counter = 0, 1  # §2.8.1: the counter begins at 1 and turns with the ring
    laps, rest = divmod(position, size)
    counter ^= laps & 1
    slot = rest
    assert (ring.slot(position, size), ring.wrap_counter(position, size)) == (slot, counter)
    assert ring.available_mark(position, size) == counter << 7 | (1 - counter) << 15
    assert ring.used_mark(position, size) == counter << 7 | counter << 15
    assert ring.event_position(position, size) == slot | counter << 15


@given(size=sizes, old=st.integers(0, 65535), moved=st.integers(0, 32768), ahead=st.integers(-32768, 32767))
def test_an_event_is_passed_when_its_descriptor_is_among_those_that_were_moved_over(
    size: int, old: int, moved: int, ahead: int
) -> None:
    moved, ahead = moved % (size + 1), ahead % (2 * size) - size
    event = ring.event_position(old + ahead & 0xFFFF, size)
    new = RingPosition(old + moved & 0xFFFF)
    assert ring.passed(event, new, RingPosition(old), size) == (0 <= ahead < moved)


@pytest.mark.parametrize("packed", [False, True])
def test_parts_one_behind_the_other_are_aligned_and_do_not_overlap(packed: bool) -> None:
    for size in (1, 2, 4, 256):
        (ring_bytes, _), (driver, second), (device, third) = ring_areas(size, packed)
        first, last, end = placed(size, packed)
        assert first >= ring_bytes
        assert last >= first + driver
        assert end == last + device
        assert first % second == last % third == 0
