# SPDX-License-Identifier: Apache-2.0
"""A second of the fuzzers, always on and always the same."""

import random

from fuzz_ring import one_input, one_packed_input, one_pushed_input


def test_a_smoke_of_random_rings() -> None:
    draw = random.Random(20)
    for _ in range(600):
        one_input(draw.randbytes(draw.choice([0, 40, 130, 260, 400])))


def test_a_smoke_of_random_packed_rings() -> None:
    draw = random.Random(21)
    for _ in range(600):
        one_packed_input(draw.randbytes(draw.choice([0, 40, 130, 260, 400])))


def test_a_smoke_of_random_records() -> None:
    draw = random.Random(22)
    for _ in range(600):
        one_pushed_input(draw.randbytes(draw.choice([0, 40, 130, 260, 400])))
