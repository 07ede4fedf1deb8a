# SPDX-License-Identifier: Apache-2.0
"""Looking before sleeping grows where it pays, and ends where it does not."""

import pytest
from slowring import interpreted

from virtio_crq.dataplane import patience

SPEEDS = {"compiled": patience, "interpreted": interpreted(patience)}
MICRO = 1000


@pytest.fixture(params=sorted(SPEEDS))
def made(request: pytest.FixtureRequest) -> type[patience.Patience]:
    return SPEEDS[request.param].Patience


def test_an_idle_queue_is_never_looked_at_in_vain(made: type[patience.Patience]) -> None:
    patient = made(32 * MICRO)
    assert patient.granted == 0
    assert [patient.waited(10**9) for _ in range(3)] == [0, 0, 0]


def test_waits_that_a_longer_look_would_have_spared_double_it_up_to_the_limit(made: type[patience.Patience]) -> None:
    patient = made(32 * MICRO)
    assert [patient.waited(31 * MICRO) // MICRO for _ in range(6)] == [4, 8, 16, 32, 32, 32]


def test_a_look_that_is_long_enough_stays_as_it_is(made: type[patience.Patience]) -> None:
    patient = made(32 * MICRO)
    assert [patient.waited(5 * MICRO) // MICRO for _ in range(5)] == [4, 8, 8, 8, 8]


def test_one_wait_beyond_the_limit_ends_all_looking(made: type[patience.Patience]) -> None:
    patient = made(32 * MICRO)
    for _ in range(5):
        patient.waited(20 * MICRO)
    assert patient.granted == 32 * MICRO
    assert patient.waited(33 * MICRO) == 0
    assert patient.waited(20 * MICRO) == 4 * MICRO


def test_a_limit_that_is_no_power_of_two_is_reached_and_not_passed(made: type[patience.Patience]) -> None:
    patient = made(10 * MICRO)
    assert [patient.waited(9 * MICRO) // MICRO for _ in range(4)] == [4, 8, 10, 10]
    small = made(1 * MICRO)
    assert [small.waited(MICRO // 2) for _ in range(2)] == [MICRO, MICRO]


def test_without_a_limit_there_is_no_look_at_all(made: type[patience.Patience]) -> None:
    patient = made(0)
    assert [patient.waited(nanoseconds) for nanoseconds in (0, 1, 1000)] == [0, 0, 0]
