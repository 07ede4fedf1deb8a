# SPDX-License-Identifier: Apache-2.0
"""Every rule a driver can break on a packed ring ends in a fault of that name, and in nothing else."""

import struct
from collections.abc import Callable

import pytest
from disk import IN, Disk
from packedguest import PackedGuest
from rig import INDIRECT, NEXT, WINDOW, WRITE, Rig

from combinations import strategies

HEADER, DATA, STATUS = WINDOW + 0x20000, WINDOW + 0x21000, WINDOW + 0x22000
TABLE = 0x23000
GOOD = ((HEADER, 16, 0, NEXT), (DATA, 512, 0, NEXT | WRITE), (STATUS, 1, 5, WRITE))
both = pytest.mark.parametrize("fetch", strategies("packed"))


def remark(ring: PackedGuest, slot: int, flags: int) -> None:
    struct.pack_into("<H", ring.memory, ring.descriptors + 16 * slot + 14, flags)


def unmarked(ring: PackedGuest, slot: int, flags: int) -> None:
    ring.raw(*GOOD)
    remark(ring, slot, flags)


def table(ring: PackedGuest, *parts: tuple[int, int, int], length: int | None = None, flags: int = 0) -> None:
    for index, (address, size, flag) in enumerate(parts):
        struct.pack_into("<QIHH", ring.memory, TABLE + 16 * index, address & (1 << 64) - 1, size, 0, flag)
    ring.raw((WINDOW + TABLE, 16 * len(parts) if length is None else length, 1, INDIRECT | flags))


ACTS: list[tuple[str, str, Callable[[PackedGuest], None]]] = [
    ("used already, first", "descriptor-unmarked", lambda ring: unmarked(ring, 0, NEXT | 0x8080)),
    ("of the turn before, first", "descriptor-unmarked", lambda ring: unmarked(ring, 0, NEXT | 0x8000)),
    ("never written, second", "descriptor-unmarked", lambda ring: unmarked(ring, 1, NEXT | WRITE)),
    ("of the turn before, last", "descriptor-unmarked", lambda ring: unmarked(ring, 2, WRITE | 0x8000)),
    ("beyond the position", "chain-cut", lambda ring: ring.raw(*GOOD[:2])),
    ("alone and continued", "chain-cut", lambda ring: ring.raw(GOOD[0])),
    ("one past the end", "head-range", lambda ring: ring.raw(*GOOD[:2], (STATUS, 1, 16, WRITE))),
    ("far away", "head-range", lambda ring: ring.raw(*GOOD[:2], (STATUS, 1, 0xFFFF, WRITE))),
    ("wraps", "address-wrap", lambda ring: ring.raw(((1 << 64) - 8, 16, 0, 0))),
    ("a table that wraps", "address-wrap", lambda ring: ring.raw(((1 << 64) - 16, 32, 0, INDIRECT))),
    ("without bytes", "zero-length", lambda ring: ring.raw(GOOD[0], (DATA, 0, 0, NEXT | WRITE), GOOD[2])),
    ("in a table", "zero-length", lambda ring: table(ring, (HEADER, 0, 0))),
    ("direct", "readable-after-writable", lambda ring: ring.raw((DATA, 16, 0, NEXT | WRITE), (HEADER, 16, 0, 0))),
    ("in a table", "readable-after-writable", lambda ring: table(ring, (DATA, 16, WRITE), (HEADER, 16, 0))),
    ("empty", "indirect-size", lambda ring: table(ring)),
    ("not whole descriptors", "indirect-size", lambda ring: table(ring, (HEADER, 16, 0), length=47)),
    ("larger than served", "indirect-size", lambda ring: table(ring, (HEADER, 16, 0), length=16 * 131)),
    ("nested", "indirect-nested", lambda ring: table(ring, (WINDOW + TABLE, 16, INDIRECT))),
    ("with next", "indirect-next", lambda ring: table(ring, (HEADER, 16, 0), flags=NEXT)),
    (
        "after another", "indirect-next",
        lambda ring: (ring.raw(GOOD[0]), table(ring, (DATA, 512, WRITE), (STATUS, 1, WRITE)))[0],
    ),
    ("eight bytes", "header-short", lambda ring: ring.raw((HEADER, 8, 0, NEXT), GOOD[2])),
    ("readable only", "status-missing", lambda ring: ring.raw((HEADER, 16, 3, 0))),
    ("header below", "copy-refused", lambda ring: ring.raw((WINDOW - 4096, 16, 0, NEXT), GOOD[2])),
    ("data beyond", "copy-refused", lambda ring: ring.raw(GOOD[0], (WINDOW + (1 << 31), 512, 0, 3), GOOD[2])),
    ("table beyond", "copy-refused", lambda ring: ring.raw((WINDOW + (1 << 31), 48, 0, INDIRECT))),
]  # fmt: skip


@pytest.mark.clause("CRQ-D-122", "CRQ-D-123", "CRQ-D-71", "CRQ-D-72", "CRQ-D-73", "CRQ-D-75", "CRQ-D-95")
@both
@pytest.mark.parametrize(("act", "rule", "do"), ACTS, ids=[f"{rule}: {act}" for act, rule, _ in ACTS])
def test_a_broken_packed_chain_stops_its_queue_by_name_and_no_other(
    fetch: str, act: str, rule: str, do: Callable[[PackedGuest], None]
) -> None:
    rig = Rig()
    bad = Disk(rig, fetch=fetch)
    good = Disk(rig, fetch=fetch, device=1, base=0x100000)
    assert isinstance(bad.ring, PackedGuest)
    do(bad.ring)
    bad.announce()
    good.submit(IN, 1, length=512, tag="good")
    good.announce()
    before = bytes(rig.platform.guest[0x20000:0x23000])
    rig.run()
    assert rig.faults == [(0, 0, rule)]
    assert rig.link.refusals == {rule: 1}
    assert bytes(rig.platform.guest[0x20000:0x23000]) == before, "nothing is touched on behalf of the chain"
    assert [tag for tag, status, _ in good.collect() if status == 0] == ["good"]
    free = rig.link.staging.free
    bad.open()  # the driver reset the device: it is served again, by the same service
    assert rig.link.staging.free < free


@pytest.mark.clause("CRQ-D-123")
@both
def test_a_buffer_id_that_is_in_flight_is_not_available_again(fetch: str) -> None:
    disk = Disk(Rig(), fetch=fetch)
    ring = disk.ring
    assert isinstance(ring, PackedGuest)
    # The first is held by a fault of the second only where both are fetched before one is used.
    ring.raw(*GOOD, *GOOD)
    disk.announce()
    disk.rig.run()
    assert disk.rig.faults == ([(0, 0, "head-in-flight")] if fetch == "packed-batched" else [])


@pytest.mark.clause("CRQ-D-69")
@both
def test_a_chain_of_too_many_descriptors_is_refused(fetch: str) -> None:
    disk = Disk(Rig(), fetch=fetch, size=256)
    assert isinstance(disk.ring, PackedGuest)
    disk.ring.raw(*[(HEADER, 16, 0, NEXT)] * 130, (HEADER, 16, 0, 0))
    disk.announce()
    disk.rig.run()
    assert disk.rig.faults == [(0, 0, "chain-too-long")]


@pytest.mark.clause("CRQ-D-74")
def test_a_table_that_was_not_negotiated_is_refused() -> None:
    disk = Disk(Rig(), fetch="packed-batched", indirect=False)
    assert isinstance(disk.ring, PackedGuest)
    table(disk.ring, (HEADER, 16, 0))
    disk.announce()
    disk.rig.run()
    assert disk.rig.faults == [(0, 0, "indirect-refused")]


@pytest.mark.clause("CRQ-D-29")
@pytest.mark.parametrize("position", [17, 0xFFFF])
def test_an_announced_position_is_within_the_queue(position: int) -> None:
    disk = Disk(Rig(), fetch="packed-batched")
    disk.rig.announce(position)
    disk.rig.run()
    assert disk.rig.faults == [(0, 0, "avail-overrun")]
