# SPDX-License-Identifier: Apache-2.0
"""A second of the fuzzer, always on and always the same."""

import random

from fuzz_backend import one_input


def test_a_smoke_of_random_messages() -> None:
    draw = random.Random(22)
    for _ in range(5000):
        one_input(draw.randbytes(draw.choice([5, 60, 300, 900])))
