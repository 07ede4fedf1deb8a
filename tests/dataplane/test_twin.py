# SPDX-License-Identifier: Apache-2.0
"""Whatever a driver writes into its ring, the fast path ends as the slow twin does: same memory, or same fault."""

import struct

import pytest
from disk import Disk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rig import WINDOW, Rig
from twin import Twin

from combinations import strategies

SECTORS = 64
SIZE = 8
AREA = 0x1000  # where buffers and tables lie: small, so that they meet

address = st.one_of(
    st.integers(0, 0x2000).map(lambda offset: WINDOW + AREA + offset),
    st.sampled_from([0, WINDOW - 1, WINDOW + (1 << 21) - 16, WINDOW + (1 << 21), (1 << 64) - 8, (1 << 64) - 1]),
)
length = st.one_of(st.sampled_from([16, 1, 512, 513, 1024, 48, 32, 2, 20, 0, 0xFFFFFFFF]), st.integers(0, 2100))
flags = st.one_of(st.sampled_from([0, 1, 2, 3, 1, 3, 4]), st.integers(0, 0xFFFF))
descriptor = st.tuples(address, length, flags, st.one_of(st.integers(0, SIZE), st.just(0xFFFF)))
header = st.tuples(
    st.sampled_from([0, 1, 4, 8, 0, 1, 13, 1 << 31]), st.sampled_from([0, 1, 63, 64, 1 << 55, (1 << 64) - 1])
)


@pytest.mark.parametrize("fetch", strategies("split"))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    table=st.lists(descriptor, min_size=SIZE, max_size=SIZE),
    inner=st.lists(descriptor, min_size=4, max_size=4),
    headers=st.lists(header, min_size=4, max_size=4),
    heads=st.lists(st.one_of(st.integers(0, SIZE - 1), st.just(SIZE)), min_size=1, max_size=4),
    data=st.binary(min_size=64, max_size=64),
)
def test_any_ring_ends_as_on_the_twin(
    fetch: str,
    table: list[tuple[int, int, int, int]],
    inner: list[tuple[int, int, int, int]],
    headers: list[tuple[int, int]],
    heads: list[int],
    data: bytes,
) -> None:
    ends = []
    for slow in (False, True):
        rig = Rig()
        disk = Disk(rig, fetch=fetch, size=SIZE, sectors=SECTORS)
        memory = rig.platform.guest
        memory[AREA : AREA + 0x2000] = data * 128
        for index, (kind, sector) in enumerate(headers):
            struct.pack_into("<IIQ", memory, AREA + 16 * index, kind, 0, sector)
        for index, each in enumerate(inner):
            disk.ring.descriptor(index, *each, table=AREA + 64)
        for index, each in enumerate(table):
            disk.ring.descriptor(index, *each)
        twin = Twin(disk.ring, SECTORS)
        rule = None
        for turn, head in enumerate(heads):  # one by one: what a batch does in another order is not compared here
            disk.ring.make_available(head)
            if slow:
                rule = twin.serve()
            else:
                disk.announce(credit=1 if turn else 0)
                rig.run()
                rule = rig.faults[0][2] if rig.faults else None
            if rule is not None:
                break
        ends.append((rule, None if rule else bytes(memory)))
    assert ends[0] == ends[1]
