# SPDX-License-Identifier: Apache-2.0
"""Session numbers, chosen by a device side that may have forgotten the last one."""

import pytest

from virtio_crq.message.session import next_session


@pytest.mark.clause("CRQ-D-11")
@pytest.mark.parametrize("last", [0, 6, 0xFE, 0xFF, 0x1FE, 0xFFFF_FFFE, 0xFFFF_FFFF])
def test_a_session_number_is_neither_zero_nor_the_lost_one_in_its_low_byte(last: int) -> None:
    for lost in range(0x200):
        number = int(next_session(last, lost))
        assert number & 0xFF not in (0, lost & 0xFF)
        assert number & 0xFF != last & 0xFF
        assert 0 < number <= 0xFFFF_FFFF
