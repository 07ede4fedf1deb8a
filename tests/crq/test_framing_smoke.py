# SPDX-License-Identifier: Apache-2.0
"""A second of the fuzzer, always on and always the same."""

import random

from .fuzz_framing import one_input


def test_a_smoke_of_random_entries() -> None:
    draw = random.Random(21)
    for _ in range(5000):
        one_input(draw.randbytes(16 * 16))
