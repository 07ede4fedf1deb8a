# SPDX-License-Identifier: Apache-2.0
"""Whatever a driver writes into a packed ring, the fast path ends as the slow twin does: same memory, or same fault."""

import struct

import pytest
from disk import Disk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packedguest import PackedGuest
from packedtwin import PackedTwin
from rig import NEXT, WRITE, Rig
from test_twin import AREA, SECTORS, SIZE, address, header, length

from combinations import strategies

marks = st.sampled_from([0] * 12 + [1 << 7, 1 << 15, 3 << 7])
flags = st.one_of(st.sampled_from([0, WRITE, NEXT, NEXT | WRITE, 4, 5]), st.integers(0, 7))
descriptor = st.tuples(address, length, flags, st.one_of(st.integers(0, SIZE - 1), st.just(SIZE)), marks)
chain = st.lists(descriptor, min_size=1, max_size=4)
good = st.tuples(st.integers(0, 3), st.sampled_from([512, 1024, 1]), st.integers(0, SIZE - 1), st.booleans())


@pytest.mark.clause("CRQ-D-122", "CRQ-D-123")
@pytest.mark.parametrize("fetch", strategies("packed"))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    chains=st.lists(st.one_of(good, chain), min_size=1, max_size=6),
    inner=st.lists(st.tuples(address, length, flags, st.integers(0, 9)), min_size=4, max_size=4),
    headers=st.lists(header, min_size=4, max_size=4),
    start=st.sampled_from([0, 6, 13, 65531]),
    data=st.binary(min_size=64, max_size=64),
)
def test_any_packed_ring_ends_as_on_the_twin(
    fetch: str,
    chains: list[tuple[int, int, int, bool] | list[tuple[int, int, int, int, int]]],
    inner: list[tuple[int, int, int, int]],
    headers: list[tuple[int, int]],
    start: int,
    data: bytes,
) -> None:
    ends = []
    for slow in (False, True):
        rig = Rig()
        disk = Disk(rig, fetch=fetch, size=SIZE, sectors=SECTORS)
        ring, memory = disk.ring, rig.platform.guest
        assert isinstance(ring, PackedGuest)
        rig.link.close_queue(0, 0)
        ring.next = start
        disk.open((start, start, []))
        memory[AREA : AREA + 0x2000] = data * 128
        for index, (kind, sector) in enumerate(headers):
            struct.pack_into("<IIQ", memory, AREA + 16 * index, kind, 0, sector)
        for index, (at, size, flag, name) in enumerate(inner):
            struct.pack_into("<QIHH", memory, AREA + 64 + 16 * index, at & (1 << 64) - 1, size, name, flag)
        twin = PackedTwin(ring, SECTORS)
        twin.done = start
        rule = None
        for turn, each in enumerate(chains):  # one by one: what a batch does in another order is not compared here
            if isinstance(each, tuple):
                request(ring, *each)
            else:
                whole(ring, each)
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


def request(ring: PackedGuest, which: int, size: int, name: int, outward: bool) -> None:
    """A request that could have been made by an honest driver, or nearly."""
    at = 0x10000000 + AREA
    ring.raw(
        (at + 16 * which, 16, name, NEXT),
        (at + 0x400, size, name, NEXT if outward else NEXT | WRITE),
        (at + 0x1000 + which, 1, name, WRITE),
    )


def whole(ring: PackedGuest, parts: list[tuple[int, int, int, int, int]]) -> None:
    """One chain; it is cut short where its last descriptor says NEXT."""
    for index, (at, size, flag, name, mark) in enumerate(parts):
        ring.raw((at, size, name, flag | NEXT if index + 1 < len(parts) else flag))
        if mark:
            place = ring.descriptors + 16 * ((ring.next - 1) % ring.size) + 14
            (word,) = struct.unpack_from("<H", ring.memory, place)
            struct.pack_into("<H", ring.memory, place, word ^ mark)
