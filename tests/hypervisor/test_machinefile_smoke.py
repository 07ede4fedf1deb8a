# SPDX-License-Identifier: Apache-2.0
"""A second of the fuzzer, always on and always the same."""

import random

from fuzz_machinefile import one_input


def test_a_smoke_of_random_machine_files() -> None:
    draw = random.Random(23)
    for _ in range(3000):
        one_input(bytes([draw.choice([0, 0, 0, 0x20])]) + draw.randbytes(draw.choice([3, 6, 15])))
