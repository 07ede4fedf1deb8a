# SPDX-License-Identifier: Apache-2.0
"""The device side of a packed ring: what is copied when, what becomes visible when, and in which order it is used."""

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from disk import IN, OUT, Disk
from packedguest import PackedGuest
from rig import ARENA, CREDIT, USED, WINDOW, Rig
from test_stores import Gate, settle

from combinations import strategies
from virtio_crq.dataplane.filestore import FileStore
from virtio_crq.dataplane.ramstore import RamStore
from virtio_crq.dataplane.threads import Threads

both = pytest.mark.parametrize("fetch", strategies("packed"))
events = pytest.mark.parametrize("event_idx", [False, True])
Copy = tuple[int, int, int, bytes]  # vector, offset in the guest, length, bytes that go out


@pytest.fixture
def image(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "image", os.O_RDWR | os.O_CREAT)
    os.ftruncate(descriptor, 1 << 20)
    yield descriptor
    os.close(descriptor)


def packed(disk: Disk) -> PackedGuest:
    assert isinstance(disk.ring, PackedGuest)
    return disk.ring


def watch(rig: Rig, see: Callable[[Copy], None]) -> None:
    """Call `see` before each single copy."""
    whole = rig.platform.copy
    number = 0

    def copy(vector: list[tuple[int, int, int, int]]) -> tuple[int, int]:
        nonlocal number
        number += 1
        for done, one in enumerate(vector):
            at = one[1] - ARENA.bus + ARENA.offset
            see((number, one[0] - WINDOW, one[2], bytes(rig.platform.own[at : at + one[2]]) if one[3] else b""))
            code, _ = whole([one])
            if code:
                return code, done
        return 0, len(vector)

    rig.platform.copy = copy  # type: ignore[method-assign]


@pytest.mark.clause("CRQ-D-120", "CRQ-D-128")
@both
@pytest.mark.parametrize("table", [False, True])
@pytest.mark.parametrize("in_order", [False, True])
def test_requests_are_served_around_the_ring(fetch: str, table: bool, in_order: bool) -> None:
    rig = Rig()
    disk = Disk(rig, fetch=fetch, size=16, in_order=in_order)
    expected: dict[int, bytes] = {}
    for turn in range(40):
        for index in range(5):
            sector = (5 * turn + index) % 64
            expected[sector] = bytes([turn, index]) * 256
            disk.submit(OUT, sector, expected[sector], table=table, tag=("w", turn, index))
        disk.announce(credit=1 if turn else 0)
        rig.run()
        assert rig.faults == []
        assert [(tag, status) for tag, status, _ in disk.collect()] == [(("w", turn, index), 0) for index in range(5)]
        disk.submit(IN, sector, length=512, table=table, tag="r")
        disk.announce(credit=1)
        rig.run()
        assert disk.collect() == [("r", 0, expected[sector])]
        assert rig.said()[-1][0] == disk.ring.seen


@pytest.mark.clause("CRQ-D-120", "CRQ-D-122")
@both
@events
def test_positions_go_on_beyond_65535(fetch: str, event_idx: bool) -> None:
    disk = Disk(Rig(), fetch=fetch, size=8, event_idx=event_idx)
    disk.rig.link.close_queue(0, 0)
    disk.ring.next = disk.ring.seen = 65533
    disk.open((65533, 65533, []))
    for turn in range(9):
        disk.submit(OUT, turn, bytes([turn]) * 512)
        disk.submit(IN, turn, length=512, tag=turn)
        disk.ring.wish(disk.ring.seen if event_idx else 0)
        disk.announce(credit=1 if turn else 0)
        disk.rig.run()
        assert [data for tag, _, data in disk.collect() if tag == turn] == [bytes([turn]) * 512]
        assert disk.rig.said()[-1][0] in (disk.ring.seen, (disk.ring.seen - 3) & 0xFFFF)
    assert not disk.rig.faults


@pytest.mark.clause("CRQ-D-41", "CRQ-D-42")
@both
@events
@pytest.mark.parametrize("depth", [1, 2, 8])
def test_copies_per_read_are_those_of_the_design(fetch: str, event_idx: bool, depth: int) -> None:
    """Batched: 3 + 4/B. Naive, of each request: first flags, three descriptors, three parts, body, flags, the wish."""
    disk = Disk(Rig(), fetch=fetch, size=32, event_idx=event_idx)
    log = disk.rig.platform.log
    for turn in range(3):
        if disk.ring.next % 32 + 3 * depth > 32:
            break  # a copy more, where the ring turns
        for _ in range(depth):
            disk.submit(IN, 0, length=4096)
        log.clear()
        disk.announce(credit=1 if turn else 0)
        disk.ring.wish(disk.ring.next - 1 if event_idx else 0)
        disk.rig.run()
        assert len(disk.collect()) == depth
        disk.rig.channel.said.clear()
    # Without EVENT_IDX the right to announce is away after the first of them, and the wish is not looked up.
    naive = 10 * depth if event_idx else 9 * depth + 1
    assert len(log) == (3 * depth + 4 if fetch == "packed-batched" else naive)


@pytest.mark.clause("CRQ-D-25", "CRQ-D-42")
@both
def test_no_descriptor_beyond_the_announced_position_is_touched(fetch: str) -> None:
    disk = Disk(Rig(), fetch=fetch)
    disk.submit(IN, 0, length=512, tag="announced")
    disk.announce()
    disk.submit(IN, 0, length=512, tag="not yet")
    disk.rig.run()
    assert [tag for tag, _, _ in disk.collect()] == ["announced"]
    beyond = range(disk.ring.descriptors + 16 * 3, disk.ring.descriptors + 16 * 16)
    assert not [there for there, length, _ in disk.rig.platform.log if there + length - 1 in beyond]


@pytest.mark.clause("CRQ-D-38", "CRQ-D-124", "CRQ-D-125")
@both
@pytest.mark.parametrize("in_order", [False, True])
def test_when_the_first_flags_are_copied_everything_they_show_is_there(fetch: str, in_order: bool) -> None:
    disk = Disk(Rig(), fetch=fetch, size=32, in_order=in_order, store=RamStore(1 << 20))
    ring, memory = packed(disk), disk.rig.platform.guest
    bodies = 0
    shown: list[int] = []
    passed: dict[int, bytes] = {}

    def see(copy: Copy) -> None:
        nonlocal bodies
        vector, there, length, data = copy
        slot, offset = divmod(there - ring.descriptors, 16)
        if not data or not 0 <= slot < ring.size:
            return
        if length > 2:
            bodies = vector
            if not passed:
                passed.update({at: bytes(memory[at * 16 : at * 16 + 16]) for at in range(ring.size)})
            return
        assert offset == 14
        assert bodies < vector, "the flags are in one vector with the bodies they show"
        before = ring.peek()
        memory[there : there + 2] = data  # as if it had just been made: what would the driver find?
        for head, _ in ring.peek()[len(before) :]:
            _, number, size = disk.flying[head]
            at = 0x20000 + number * 0x4000
            assert memory[at + 16] == 0, "the used descriptor went ahead of the status"
            assert bytes(memory[at + 512 : at + 512 + size]) == b"\xaa" * size, "it went ahead of the data"
            shown.append(head)

    watch(disk.rig, see)
    for turn in range(6):
        for _ in range(2):
            disk.submit(OUT, 1, b"\xaa" * 512)
            disk.submit(IN, 1, length=512)
        start = ring.seen
        disk.announce(credit=1 if turn else 0)
        disk.rig.run()
        assert len(disk.collect()) == 4
        for position in range(start, ring.seen):  # addresses are the driver's, and so is all of what is passed over
            slot = position % 32
            assert bytes(memory[16 * slot : 16 * slot + 8]) == passed[slot][:8]
            used = (position - start) % 3 == 0 if not in_order or fetch == "packed-naive" else position == start
            if not used:
                assert bytes(memory[16 * slot : 16 * slot + 16]) == passed[slot]
        passed.clear()
    assert len(shown) == 24


@pytest.mark.clause("CRQ-D-40", "CRQ-D-27")
@both
@events
def test_at_an_announcement_what_it_covers_is_used(fetch: str, event_idx: bool) -> None:
    disk = Disk(Rig(), fetch=fetch, size=16, event_idx=event_idx)
    told: list[int] = []

    def see(kind: int, position: int, credit: int) -> None:
        told.append(kind)
        if credit:
            assert disk.rig.link.service(0, 0).ring.fetched == disk.ring.next  # type: ignore[union-attr]
        if kind == USED:
            disk.collect()
            assert disk.ring.seen == position

    disk.rig.channel.watch = see
    for turn in range(5):
        for _ in range(4):
            disk.submit(IN, 1, length=512)
        disk.ring.wish(disk.ring.next - 1 if event_idx else 0)
        disk.announce(credit=1 if turn and not disk.rig.link.service(0, 0).ring.used_credit else 0)  # type: ignore[union-attr]
        disk.rig.run()
        disk.collect()
    assert told.count(USED) == 5


@pytest.mark.clause("CRQ-D-126")
@both
@events
def test_a_wish_that_comes_while_the_first_flags_are_copied_is_heard(fetch: str, event_idx: bool) -> None:
    """The driver re-arms, then looks at the flags once more: one of the two sides has to see the other."""
    disk = Disk(Rig(), fetch=fetch, event_idx=event_idx)
    disk.ring.wish(14 if event_idx else 1)

    def see(copy: Copy) -> None:
        if copy[1] == disk.ring.descriptors + 14 and copy[3]:
            disk.ring.wish(0)

    watch(disk.rig, see)
    disk.submit(IN, 0, length=512)
    disk.announce()
    disk.rig.run()
    assert disk.rig.said() == [(3, 1)]


@pytest.mark.clause("CRQ-D-126", "CRQ-D-33")
@both
@events
def test_a_driver_that_wants_no_notice_gets_its_credit_by_itself(fetch: str, event_idx: bool) -> None:
    disk = Disk(Rig(), fetch=fetch, event_idx=event_idx)
    disk.ring.wish(5 if event_idx else 1)
    disk.submit(IN, 0, length=512)
    disk.announce()
    disk.rig.run()
    assert disk.rig.channel.said == [(CREDIT, 0, 0, 0, 1)]
    assert len(disk.collect()) == 1


@pytest.mark.clause("CRQ-D-126")
def test_an_event_position_is_honoured_across_the_turn_of_the_ring() -> None:
    disk = Disk(Rig(), fetch="packed-batched", size=8, event_idx=True)
    for position, told in ((8, []), (8, []), (8, [9]), (13, []), (13, [15]), (18, []), (18, [21])):
        disk.ring.wish(position)
        before = len(disk.rig.said())
        disk.submit(IN, 0, length=512)
        disk.announce(credit=1 if disk.rig.said() and not disk.rig.link.service(0, 0).ring.used_credit else 0)  # type: ignore[union-attr]
        disk.rig.run()
        disk.collect()
        assert [at for at, _ in disk.rig.said()[before:]] == told, position


@pytest.mark.clause("CRQ-D-128")
def test_in_order_one_used_descriptor_stands_for_a_batch_unless_one_was_written_short() -> None:
    disk = Disk(Rig(), fetch="packed-batched", size=32, in_order=True)
    ring = packed(disk)
    for sector, tag in ((0, "a"), (1, "b"), (1 << 40, "beyond the disk"), (2, "c")):
        disk.submit(IN, sector, length=512, tag=tag)
    disk.announce()
    disk.rig.run()
    used = [position for position in range(12) if ring.used_at(position)]
    assert used == [0, 9], "one for a, b and the short one; one for c"
    assert ring.used_at(0) is not None
    assert ring.used_at(0)[:2] == (0, 2)  # type: ignore[index]
    assert [(tag, status) for tag, status, _ in disk.collect()] == [
        ("a", 0),
        ("b", 0),
        ("beyond the disk", 1),
        ("c", 0),
    ]


@pytest.mark.clause("CRQ-D-128")
@pytest.mark.parametrize("fetch", [each for each in strategies() if not each.endswith("naive")])  # that is one by one
@pytest.mark.parametrize("in_order", [False, True])
def test_what_a_store_finishes_early_is_used_early_unless_in_order(image: int, fetch: str, in_order: bool) -> None:
    gate = Gate()
    store = FileStore(image, 1 << 20, Threads(image, gate), write_now=False)
    disk = Disk(Rig(), fetch=fetch, store=store, in_order=in_order)
    for tag in ("first", "second", "third"):
        disk.submit(OUT, 8, tag.encode() * 512 if tag != "first" else b"f" * 512, tag=tag)
    disk.announce()
    disk.rig.run()
    assert len(gate.jobs) == 3
    gate.open(1)
    disk.rig.run()
    early = [] if in_order else ["second"]
    assert [tag for tag, _, _ in disk.collect()] == early
    gate.open(0)
    gate.open(0)
    settle(disk, 3 - len(early))
    order = [tag for tag, _, _ in disk.results]
    assert order == (["first", "second", "third"] if in_order else ["second", "first", "third"])
    store.close()


@pytest.mark.clause("CRQ-D-130", "CRQ-D-127")
@both
def test_a_resumed_ring_is_served_from_the_used_position(fetch: str) -> None:
    disk = Disk(Rig(), fetch=fetch, size=16)
    ring, memory = packed(disk), disk.rig.platform.guest
    for sector in range(4):
        disk.submit(OUT, sector, bytes([sector]) * 512, tag=sector)
    disk.rig.link.close_queue(0, 0)
    # What the lost server left: a used descriptor without the first flags of its batch, and a wish of its own.
    struct.pack_into("<IHH", memory, ring.descriptors + 16 * 3 + 8, 1, 2, 0x8082)
    struct.pack_into("<I", memory, ring.used, 1 << 16)
    ring.lay_again()
    disk.submit(IN, 3, length=512, tag="later")
    disk.open((12, 0, []))
    assert bytes(memory[ring.used : ring.used + 4]) == bytes(4), "before any turn"
    disk.rig.run()
    assert [tag for tag, _, _ in disk.collect()] == [0, 1, 2, 3]
    disk.announce()
    disk.rig.run()
    assert disk.collect() == [("later", 0, bytes([3]) * 512)]
    assert disk.rig.faults == []


@pytest.mark.clause("CRQ-D-129")
@pytest.mark.parametrize("stopped", [(1, 0, (0,)), (17, 0, ()), (0, 1, ()), (70000, 70000, ())])
def test_a_ring_that_cannot_be_is_not_resumed(stopped: tuple[int, int, tuple[int, ...]]) -> None:
    disk = Disk(Rig(), fetch="packed-batched", size=16)
    disk.rig.link.close_queue(0, 0)
    free = disk.rig.link.staging.free
    with pytest.raises(Exception, match="resume-positions"):
        disk.open(stopped)  # type: ignore[arg-type]
    assert disk.rig.link.staging.free == free
