# SPDX-License-Identifier: Apache-2.0
"""The planner moves what it was asked to move, in that order, by few copies; and it measures what they cost."""

import pytest
from disk import IN, OUT, Disk
from hypothesis import given, settings
from hypothesis import strategies as st
from rig import ARENA, GUEST_SIZE, WINDOW, Platform, Rig

from virtio_crq.dataplane.planner import Planner
from virtio_crq.dataplane.ramstore import RamStore
from virtio_crq.dataplane.staging import Staging
from virtio_crq.errors import DriverFault
from virtio_crq.platform.hosted import host
from virtio_crq.platform.port import Port

HEADS = 8
AGE, DEEPEST, EVERY = 16, 64, 64  # constants of the compiled module, which only it sees
VECTOR = 1024  # copies that a port stages at most
Piece = tuple[int, int, int, int]  # in the guest, in own RAM, length, outward


class PricedPlatform(Platform):
    """Every copy takes `call` nanoseconds and a byte `byte`, of a clock that stands still otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.call, self.byte = 0.0, 0.0
        self.planner: Planner | None = None

    def copy(self, vector: list[tuple[int, int, int, int]]) -> tuple[int, int]:
        if self.planner is not None:
            self.planner.clock.held += round(sum(self.call + self.byte * length for _, _, length, _ in vector))
        return super().copy(vector)


def planned(platform: Platform, max_copy: int = 131072) -> Planner:
    return Planner(Port(host(platform, platform.own)), Staging(ARENA), max_copy, HEADS)


def bytes_of(there: int, here: int, length: int, outward: int) -> list[tuple[int, int, int]]:
    return [(there + index, here + index, outward) for index in range(length)]


# Small places, so that pieces are often neighbours; now and then a page or two, so that they are split.
piece = st.tuples(
    st.one_of(st.integers(0, 64), st.just(4096)),
    st.one_of(st.integers(0, 64), st.just(4096)),
    st.one_of(st.integers(1, 40), st.integers(4000, 9000)),
    st.integers(0, 1),
)
follows = st.tuples(st.one_of(st.integers(1, 40), st.integers(4000, 9000)), st.integers(0, 1))


@st.composite
def pieces(draw: st.DrawFn) -> list[Piece]:
    """Some begin anywhere, some go on where the last one ended, in both places or in one."""
    found: list[Piece] = []
    for _ in range(draw(st.integers(1, 12))):
        if found and draw(st.booleans()):
            there, here, before, outward = found[-1]
            length, odd = draw(follows)
            found.append((there + before, here + before + odd, length, outward))
        else:
            found.append(draw(piece))
    return found


@settings(deadline=None, max_examples=200)
@given(asked=pieces(), most=st.sampled_from([1, 7, 64, 4096, 6000, 131072]), joining=st.booleans())
def test_copies_move_exactly_the_bytes_of_the_pieces_in_their_order(
    asked: list[Piece], most: int, joining: bool
) -> None:
    asked = [one if most > 7 else (*one[:2], min(one[2], 40), one[3]) for one in asked]
    platform = Platform()
    made: list[Piece] = []
    whole = platform.copy

    def copy(vector: list[tuple[int, int, int, int]]) -> tuple[int, int]:
        made.extend((remote - WINDOW, local - ARENA.bus, length, outward) for remote, local, length, outward in vector)
        return whole(vector)

    platform.copy = copy  # type: ignore[method-assign]
    planner = planned(platform, most)
    planner.joining = int(joining)
    for there, here, length, outward in asked:
        planner.copy(0, WINDOW + there, ARENA.offset + here, length, outward)
    planner.flush()
    # The twin: byte after byte, as asked.
    assert [byte for one in made for byte in bytes_of(*one)] == [byte for one in asked for byte in bytes_of(*one)]
    assert max(length for _, _, length, _ in made) <= most
    if not joining:
        assert len(made) == sum(-(-length // most) for _, _, length, _ in asked)


def test_neighbours_are_one_copy_across_pages_segments_and_requests() -> None:
    platform = Platform()
    planner = planned(platform)
    for index in range(5):
        planner.copy(index, WINDOW + 5000 * index, ARENA.offset + 5000 * index, 5000, 1)
    planner.flush()
    assert platform.log == [(0, 25000, 1)]


def test_what_is_no_neighbour_at_both_ends_is_a_copy_of_its_own() -> None:
    platform = Platform()
    planner = planned(platform)
    for there, here, outward in ((0, 0, 0), (16, 32, 0), (64, 48, 0), (80, 64, 1)):
        planner.copy(0, WINDOW + there, ARENA.offset + here, 16, outward)
    planner.flush()
    planner.copy(0, WINDOW + 96, ARENA.offset + 80, 16, 1)  # a neighbour, of a copy that was made
    planner.flush()
    assert [length for _, length, _ in platform.log] == [16] * 5


def test_a_copy_is_filled_up_to_the_longest_and_no_small_field_is_torn() -> None:
    platform = Platform()
    planner = planned(platform, 10000)
    planner.copy(0, WINDOW, ARENA.offset, 9999, 1)
    planner.copy(0, WINDOW + 9999, ARENA.offset + 9999, 2, 1)
    planner.copy(0, WINDOW + 10001, ARENA.offset + 10001, 20000, 1)
    planner.flush()
    assert platform.log == [(0, 9999, 1), (9999, 10000, 1), (19999, 10000, 1), (29999, 2, 1)]


def test_a_naive_queue_has_every_piece_copied_by_itself() -> None:
    for fetch, expected in (("split-naive", [512, 512, 1]), ("split-batched", [1024, 1])):
        disk = Disk(Rig(), fetch=fetch)
        disk.submit(IN, 0, length=1024, pieces=2)
        disk.announce()
        disk.rig.run()
        outward = [length for _, length, out in disk.rig.platform.log if out]
        assert outward[: len(expected)] == expected


def test_one_vector_in_so_many_is_timed_and_both_prices_are_found() -> None:
    platform = PricedPlatform()
    planner = platform.planner = planned(platform)
    planner.clock.held = 0
    platform.call, platform.byte = 1000.0, 0.5
    lengths = [1, 16, 512, 4096, 65536]
    for vector in range(40 * EVERY):
        planner.copy(0, WINDOW, ARENA.offset, lengths[vector // EVERY % len(lengths)], 0)
        planner.flush()
    assert planner.copying.samples == 40
    assert planner.copying.call_ns == pytest.approx(1000, rel=0.05)
    assert planner.copying.byte_ns == pytest.approx(0.5, rel=0.05)


def test_pieces_that_are_joined_share_a_price_and_leave_that_of_a_byte_as_it_is() -> None:
    """Records come one to a vector, data eight to a copy: a price for each piece would fit neither."""
    platform = PricedPlatform()
    planner = platform.planner = planned(platform)
    planner.clock.held = 0
    platform.call, platform.byte = 3000.0, 0.1
    for _ in range(100):
        planner.time_next()
        planner.copy(0, WINDOW, ARENA.offset, 256, 0)
        planner.flush()
        planner.time_next()
        for number in range(8):
            planner.copy(0, WINDOW + 4096 * number, ARENA.offset + 4096 * number, 4096, 1)
        planner.flush()
    assert planner.copying.call_ns == pytest.approx(3000, rel=0.05)
    assert planner.copying.byte_ns == pytest.approx(0.1, rel=0.1)
    assert planner.share == pytest.approx(2 / 9, rel=0.1)
    assert planner.of(1, 4096) < 1200
    assert planner.of(1, 131072) > 12000


def test_a_vector_that_was_full_is_timed_without_what_comes_after_it() -> None:
    platform = PricedPlatform()
    planner = platform.planner = planned(platform)
    planner.clock.held = 0
    planner.joining = 0
    platform.call, platform.byte = 500.0, 0.1
    for _ in range(10):
        planner.time_next()
        for _piece in range(VECTOR):
            planner.copy(0, WINDOW, ARENA.offset, 16, 0)
        planner.copy(0, WINDOW, ARENA.offset, 3 << 19, 0)
        planner.flush()
    assert planner.copying.samples == 10
    assert planner.copying.of(VECTOR, 16 * VECTOR) == pytest.approx(500 * VECTOR + 1.6 * VECTOR, rel=0.01)


def test_prices_that_change_are_followed_and_one_long_vector_is_not() -> None:
    platform = PricedPlatform()
    planner = platform.planner = planned(platform)
    planner.clock.held = 0
    platform.call, platform.byte = 100.0, 0.1

    def run(samples: int) -> None:
        for vector in range(samples):
            planner.time_next()
            planner.copy(0, WINDOW, ARENA.offset, [16, 4096, 65536][vector % 3], 0)
            planner.flush()

    run(60)
    assert planner.copying.of(1, 4096) == pytest.approx(510, rel=0.1)
    platform.call = 1e8  # a thread that had to wait for its processor
    run(1)
    assert planner.copying.of(1, 4096) < 1000
    platform.call = 3000.0
    run(60)
    assert planner.copying.of(1, 4096) == pytest.approx(3410, rel=0.1)


def test_a_refused_copy_is_the_drivers_fault_and_is_not_timed() -> None:
    planner = planned(Platform())
    planner.copy(0, WINDOW + GUEST_SIZE, ARENA.offset, 16, 0)
    with pytest.raises(DriverFault, match="copy"):
        planner.flush()
    assert planner.copying.samples == 0
    planner.copy(0, WINDOW, ARENA.offset, 16, 0)
    planner.flush()


def test_as_many_descriptors_are_brought_as_chains_had_of_late() -> None:
    planner = planned(Platform())
    planner.went(3)
    assert planner.depth == 3
    planner.went(1000)
    assert planner.depth == DEEPEST
    for _ in range(2 * AGE):
        planner.went(2)
    assert planner.depth == 2


def test_a_long_direct_chain_takes_few_vectors_and_the_next_one_is_brought_at_once() -> None:
    disk = Disk(Rig(), size=128, store=RamStore(1 << 20), sectors=2048)
    for expected in (7, 1):  # 1, 1, 2, 4, 8, 16 and 32 descriptors; then all 42 of them
        disk.rig.platform.log.clear()
        disk.submit(OUT, 0, bytes(range(200)) * 40 + bytes(192), tag="long", pieces=40)
        before = [copy for copy in disk.rig.platform.log if copy[0] < 16 * 128]
        disk.announce(credit=1 if disk.rig.said() else 0)
        disk.rig.run()
        assert disk.collect()[-1][:2] == ("long", 0)
        table = [copy for copy in disk.rig.platform.log if copy[0] < 16 * 128 and not copy[2]]
        assert before == []
        assert len(table) == expected


def test_entries_that_were_announced_come_by_one_copy_though_few_are_walked_at_a_time() -> None:
    disk = Disk(Rig(), size=256, store=RamStore(1 << 20), sectors=2048)
    for _ in range(60):
        disk.submit(IN, 0, length=512)
    disk.announce()
    disk.rig.run()
    assert len(disk.collect()) == 60
    entries = [copy for copy in disk.rig.platform.log if copy[0] == disk.ring.available + 4 and not copy[2]]
    assert entries == [(disk.ring.available + 4, 120, 0)]


def test_heads_far_apart_are_brought_each_with_its_chain() -> None:
    disk = Disk(Rig(), size=1024, store=RamStore(1 << 20), sectors=2048)
    low = disk.submit(IN, 0, length=512, tag="low")
    disk.ring.free = disk.ring.free[600:] + disk.ring.free[:600]
    high = disk.submit(IN, 1, length=512, tag="high")
    assert high - low > 256
    disk.announce()
    disk.rig.run()
    assert [(tag, status) for tag, status, _ in disk.collect()] == [("low", 0), ("high", 0)]
    disk.rig.platform.log.clear()
    disk.ring.free = disk.ring.free[:3] + disk.ring.free[500:] + disk.ring.free[3:500]
    heads = [disk.submit(IN, 0, length=512), disk.submit(IN, 0, length=512)]
    assert abs(heads[0] - heads[1]) > 256
    disk.announce(credit=1)
    disk.rig.run()
    assert len(disk.collect()) == 2
    table = sorted((place, length) for place, length, out in disk.rig.platform.log if place < 16 * 1024 and not out)
    assert table == sorted((16 * head, 48) for head in heads)
