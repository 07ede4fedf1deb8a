# SPDX-License-Identifier: Apache-2.0
"""Every rule a driver can break on a ring ends in a fault of that name, and in nothing else."""

import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from disk import IN, Disk
from rig import INDIRECT, NEXT, WINDOW, WRITE, Guest, Rig

from combinations import strategies
from virtio_crq.dataplane.faults import RULES
from virtio_crq.dataplane.ringterms import RingResume, RingTerms
from virtio_crq.errors import DriverFault

HEADER, DATA, STATUS = WINDOW + 0x20000, WINDOW + 0x21000, WINDOW + 0x22000
TABLE = 0x23000


def put(ring: Guest, *descriptors: tuple[int, int, int, int], heads: tuple[int, ...] = (0,)) -> None:
    """Write descriptors 0.. as given (address, length, flags, next) and make heads available."""
    for index, descriptor in enumerate(descriptors):
        ring.descriptor(index, *descriptor)
    for head in heads:
        ring.make_available(head)


def table(ring: Guest, *descriptors: tuple[int, int, int, int], length: int | None = None, flags: int = 0) -> None:
    for index, descriptor in enumerate(descriptors):
        ring.descriptor(index, *descriptor, table=TABLE)
    put(ring, (WINDOW + TABLE, 16 * len(descriptors) if length is None else length, INDIRECT | flags, 1))


GOOD = ((HEADER, 16, NEXT, 1), (DATA, 512, NEXT | WRITE, 2), (STATUS, 1, WRITE, 0))
LONG = tuple((HEADER, 16, NEXT, index + 1) for index in range(129))

ACTS: list[tuple[str, str, Callable[[Guest], None]]] = [
    ("to itself", "chain-loop", lambda ring: put(ring, (HEADER, 16, NEXT, 0))),
    ("of two", "chain-loop", lambda ring: put(ring, (HEADER, 16, NEXT, 1), (DATA, 16, NEXT, 0))),
    ("in a table", "chain-loop", lambda ring: table(ring, (HEADER, 16, NEXT, 1), (DATA, 16, NEXT, 0))),
    ("one past the end", "head-range", lambda ring: put(ring, heads=(16,))),
    ("far away", "head-range", lambda ring: put(ring, heads=(0xFFFF,))),
    ("one past the end", "descriptor-range", lambda ring: put(ring, (HEADER, 16, NEXT, 16))),
    ("far away", "descriptor-range", lambda ring: put(ring, (HEADER, 16, NEXT, 0xFFFF))),
    ("out of its table", "descriptor-range", lambda ring: table(ring, (HEADER, 16, NEXT, 2), (DATA, 16, 0, 0))),
    ("wraps", "address-wrap", lambda ring: put(ring, ((1 << 64) - 8, 16, 0, 0))),
    ("wraps by 4 GiB", "address-wrap", lambda ring: put(ring, ((1 << 64) - 2, 0xFFFFFFFF, 0, 0))),
    ("a table that wraps", "address-wrap", lambda ring: put(ring, ((1 << 64) - 16, 32, INDIRECT, 0))),
    ("first", "zero-length", lambda ring: put(ring, (HEADER, 0, 0, 0))),
    ("in the middle", "zero-length", lambda ring: put(ring, GOOD[0], (DATA, 0, NEXT | WRITE, 2), GOOD[2])),
    ("in a table", "zero-length", lambda ring: table(ring, (HEADER, 0, 0, 0))),
    ("direct", "readable-after-writable", lambda ring: put(ring, (DATA, 16, NEXT | WRITE, 1), (HEADER, 16, 0, 0))),
    (
        "in a table", "readable-after-writable",
        lambda ring: table(ring, (DATA, 16, NEXT | WRITE, 1), (HEADER, 16, 0, 0)),
    ),
    ("empty", "indirect-size", lambda ring: table(ring)),
    ("not whole descriptors", "indirect-size", lambda ring: table(ring, *GOOD, length=47)),
    ("larger than served", "indirect-size", lambda ring: table(ring, *GOOD, length=16 * 131)),
    ("four gigabytes", "indirect-size", lambda ring: table(ring, *GOOD, length=0xFFFFFFF0)),
    ("nested", "indirect-nested", lambda ring: table(ring, (WINDOW + TABLE, 16, INDIRECT, 0))),
    ("with next", "indirect-next", lambda ring: table(ring, *GOOD, flags=NEXT)),
    (
        "too many with a table", "chain-too-long",
        lambda ring: (
            [ring.descriptor(index, *each, table=TABLE) for index, each in enumerate((*LONG, (HEADER, 16, 0, 0)))],
            put(ring, GOOD[0], (WINDOW + TABLE, 16 * 130, INDIRECT, 0)),
        )[0],
    ),
    ("eight bytes", "header-short", lambda ring: put(ring, (HEADER, 8, NEXT, 1), (STATUS, 1, WRITE, 0))),
    ("none", "header-short", lambda ring: put(ring, (STATUS, 1, WRITE, 0))),
    ("readable only", "status-missing", lambda ring: put(ring, (HEADER, 16, 0, 0))),
    ("header below", "copy-refused", lambda ring: put(ring, (WINDOW - 4096, 16, NEXT, 1), (STATUS, 1, WRITE, 0))),
    ("header beyond", "copy-refused", lambda ring: put(ring, (WINDOW + (1 << 31), 16, NEXT, 1), (STATUS, 1, WRITE, 0))),
    ("data beyond", "copy-refused", lambda ring: put(ring, GOOD[0], (WINDOW + (1 << 31), 512, 3, 2), GOOD[2])),
    ("status beyond", "copy-refused", lambda ring: put(ring, *GOOD[:2], (WINDOW + (1 << 31), 1, WRITE, 0))),
    ("table beyond", "copy-refused", lambda ring: put(ring, (WINDOW + (1 << 31), 48, INDIRECT, 0))),
]  # fmt: skip


@pytest.mark.clause(
    "CRQ-D-67", "CRQ-D-69", "CRQ-D-70", "CRQ-D-71", "CRQ-D-72", "CRQ-D-73", "CRQ-D-75", "CRQ-D-95", "CRQ-D-43"
)
@pytest.mark.parametrize("fetch", strategies("split"))
@pytest.mark.parametrize(("act", "rule", "do"), ACTS, ids=[f"{rule}: {act}" for act, rule, _ in ACTS])
def test_a_broken_chain_stops_its_queue_by_name_and_no_other(
    fetch: str, act: str, rule: str, do: Callable[[Guest], None]
) -> None:
    rig = Rig()
    bad = Disk(rig, fetch=fetch)
    good = Disk(rig, fetch=fetch, device=1, base=0x100000)
    do(bad.ring)
    bad.announce()
    good.submit(IN, 1, length=512, tag="good")
    good.announce()
    rig.run()
    assert rig.faults == [(0, 0, rule)]
    assert rig.link.refusals == {rule: 1}
    assert [tag for tag, status, _ in good.collect() if status == 0] == ["good"]
    assert rig.link.service(0, 0) is None
    free = rig.link.staging.free
    bad.open()  # the driver reset the device: it is served again, by the same service
    assert rig.link.staging.free < free


@pytest.mark.clause("CRQ-D-68")
def test_a_head_that_is_in_flight_is_not_available_again() -> None:
    disk = Disk(Rig())
    put(disk.ring, *GOOD, heads=(0, 0))
    disk.announce()
    disk.rig.run()
    assert disk.rig.faults == [(0, 0, "head-in-flight")]


def test_a_table_may_follow_direct_descriptors() -> None:
    """§2.7.5.3.2; and WRITE on the descriptor of the table means nothing."""
    disk = Disk(Rig())
    disk.ring.descriptor(0, DATA, 512, NEXT | WRITE, 1, table=TABLE)
    disk.ring.descriptor(1, STATUS, 1, WRITE, 0, table=TABLE)
    put(disk.ring, (HEADER, 16, NEXT, 1), (WINDOW + TABLE, 32, INDIRECT | WRITE, 0))
    disk.ring.chains[0] = [0, 1]
    disk.announce()
    disk.rig.run()
    assert disk.ring.collect() == [(0, 513)]
    assert not disk.rig.faults


@pytest.mark.clause("CRQ-D-74")
def test_a_table_that_was_not_negotiated_is_refused() -> None:
    disk = Disk(Rig(), indirect=False)
    table(disk.ring, *GOOD)
    disk.announce()
    disk.rig.run()
    assert disk.rig.faults == [(0, 0, "indirect-refused")]


@pytest.mark.clause("CRQ-D-43", "CRQ-D-71")
@pytest.mark.parametrize("fetch", strategies("split"))
def test_a_window_revoked_between_two_copies_is_a_refused_copy(fetch: str) -> None:
    disk = Disk(Rig(), fetch=fetch)
    disk.submit(IN, 0, length=512)
    disk.rig.platform.revoked.append(range(0x20000 + 512, 0x20000 + 1024))
    disk.announce()
    disk.rig.run()
    assert disk.rig.link.refusals == {"copy-refused": 1}
    assert disk.ring.used_index() == 0


@pytest.mark.clause("CRQ-D-29")
@pytest.mark.parametrize(("position", "rule"), [(17, "avail-overrun"), (0xFFFF, "avail-overrun")])
def test_an_announced_position_is_within_the_queue(position: int, rule: str) -> None:
    disk = Disk(Rig())
    disk.rig.announce(position)
    disk.rig.run()
    assert disk.rig.faults == [(0, 0, rule)]


@pytest.mark.clause("CRQ-D-29")
def test_avail_index_racing_ahead_is_noticed_where_it_is_read() -> None:
    disk = Disk(Rig(), fetch="split-naive")
    disk.submit(IN, 0, length=512)
    struct.pack_into("<H", disk.ring.memory, disk.ring.available + 2, 900)
    disk.announce()
    disk.rig.run()
    assert disk.rig.faults == [(0, 0, "avail-overrun")]


@pytest.mark.clause("CRQ-D-29")
def test_a_position_ahead_of_the_avail_index_is_noticed_where_it_is_read() -> None:
    disk = Disk(Rig(), fetch="split-naive")
    disk.submit(IN, 0, length=512)
    disk.rig.announce(2)
    disk.rig.run()
    assert disk.rig.faults == [(0, 0, "announced-ahead")]


@pytest.mark.clause("CRQ-D-26")
def test_two_announcements_on_one_credit_are_a_fault() -> None:
    disk = Disk(Rig())
    disk.announce()
    disk.announce()
    disk.rig.run()
    assert disk.rig.faults == [(0, 0, "credit-overrun")]


@pytest.mark.clause("CRQ-D-97")
def test_a_credit_that_was_not_away_is_a_fault() -> None:
    disk = Disk(Rig())
    disk.rig.give_credit()
    disk.rig.run()
    assert disk.rig.faults == [(0, 0, "credit-unowed")]


@pytest.mark.clause("CRQ-D-30")
def test_announcements_for_queues_that_are_not_there_are_counted() -> None:
    rig = Rig()
    rig.announce(1, device=5)
    rig.give_credit(queue=3)
    rig.run()
    assert rig.link.refusals == {"announcement-queue": 2}
    assert not rig.faults


@pytest.mark.clause("CRQ-D-58", "CRQ-D-59", "CRQ-D-84")
@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"size": 0}, "queue-size"), ({"size": 12}, "queue-size"), ({"size": 65536}, "queue-size"),
        ({"descriptors": 8}, "queue-address"), ({"driver_area": 1}, "queue-address"),
        ({"device_area": 2}, "queue-address"),
        ({"descriptors": (1 << 64) - 16}, "address-wrap"),
        ({"resume": (3, 1, (0,))}, "resume-positions"), ({"resume": (1, 2, ())}, "resume-positions"),
        ({"resume": (70000, 70000, ())}, "resume-positions"),
        ({"resume": (2, 0, (0, 0))}, "head-in-flight"), ({"resume": (1, 0, (16,))}, "head-range"),
    ],
)  # fmt: skip
def test_a_queue_that_cannot_be_is_not_opened(change: dict[str, Any], rule: str) -> None:
    rig = Rig()
    disk = Disk(rig)
    rig.link.close_queue(0, 0)
    free = rig.link.staging.free
    stopped = change.pop("resume", None)
    terms = replace(RingTerms(16, WINDOW, WINDOW + 512, WINDOW + 1024, indirect=True), **change)
    with pytest.raises(DriverFault) as caught:
        rig.link.open_queue(0, 0, disk.service, terms, stopped and RingResume(*stopped))
    assert caught.value.rule == rule
    assert rig.link.staging.free == free


def test_each_rule_has_a_text_with_room_for_its_numbers() -> None:
    for text in RULES.values():
        assert text.format(1, 2)
