# SPDX-License-Identifier: Apache-2.0
"""Litmus tests of the device side: what the client's memory holds at the moment of each copy and each announcement.

The scripted platform makes copies one by one, so every assertion here is about an order, and none about luck.
"""

import struct
from collections.abc import Callable

import pytest
from disk import IN, OUT, Disk
from layouts import guest_of
from rig import ARENA, CREDIT, USED, WINDOW, WRITE, Guest, Platform, Rig

from combinations import strategies
from virtio_crq.dataplane.entropyservice import EntropyService
from virtio_crq.dataplane.nullstore import NullStore
from virtio_crq.dataplane.ramstore import RamStore
from virtio_crq.platform.port import Port

both = pytest.mark.parametrize("fetch", strategies("split"))
events = pytest.mark.parametrize("event_idx", [False, True])


def watch_copies(rig: Rig, see: Callable[[int, int, bytes], None]) -> None:
    """Call `see(offset in the guest, length, bytes)` before each single copy of a vector; no bytes come inward."""
    whole = rig.platform.copy

    def copy(vector: list[tuple[int, int, int, int]]) -> tuple[int, int]:
        for done, one in enumerate(vector):
            at = one[1] - ARENA.bus + ARENA.offset
            see(one[0] - WINDOW, one[2], bytes(rig.platform.own[at : at + one[2]]) if one[3] else b"")
            code, _ = whole([one])
            if code:
                return code, done
        return 0, len(vector)

    rig.platform.copy = copy  # type: ignore[method-assign]


def covers(there: int, length: int, place: int) -> bool:
    return there <= place < there + length


def rounds(disk: Disk, turns: int = 4, depth: int = 3) -> None:
    """Reads and writes in batches, as a driver that returns its credits."""
    for turn in range(turns):
        for _ in range(depth):
            disk.submit(OUT, 1, bytes([turn + 1]) * 512)
            disk.submit(IN, 1, length=512)
        disk.ring.wish(disk.ring.next - 1 if disk.ring.event_idx else 0)
        disk.announce(credit=1 if disk.rig.said() and not used_credit(disk) else 0)
        disk.rig.run()
        assert len(disk.collect()) == 2 * depth


def used_credit(disk: Disk) -> int:
    service = disk.rig.link.service(disk.device, 0)
    assert service is not None
    return int(service.ring.used_credit)


@pytest.mark.clause("CRQ-D-38")
@both
@events
def test_when_a_used_entry_is_copied_status_and_data_are_there(fetch: str, event_idx: bool) -> None:
    disk = Disk(Rig(), fetch=fetch, size=32, event_idx=event_idx, store=RamStore(1 << 20))
    memory, ring = disk.rig.platform.guest, disk.ring
    reported: list[int] = []

    def see(there: int, length: int, data: bytes) -> None:
        if not data or not ring.used + 4 <= there < ring.used + 4 + 8 * ring.size:
            return
        for element in range(0, length, 8):
            (head,) = struct.unpack_from("<I", data, element)
            _, slot, size = disk.flying[head]
            at = 0x20000 + slot * 0x4000
            assert memory[at + 16] == 0, "the used entry went ahead of the status"
            assert bytes(memory[at + 512 : at + 512 + size]) == b"\xaa" * size, "the used entry went ahead of the data"
            reported.append(head)

    watch_copies(disk.rig, see)
    for turn in range(3):
        disk.submit(OUT, 1, b"\xaa" * 512)
        disk.submit(IN, 1, length=512)
        ring.wish(ring.next - 1 if event_idx else 0)
        disk.announce(credit=1 if turn else 0)
        disk.rig.run()
        assert len(disk.collect()) == 2
    assert len(reported) == 6


@pytest.mark.clause("CRQ-D-39")
@both
def test_when_the_used_index_is_copied_its_entries_are_there_and_their_vector_is_over(fetch: str) -> None:
    disk = Disk(Rig(), fetch=fetch, size=32)
    ring, memory = disk.ring, disk.rig.platform.guest
    memory[ring.used + 4 : ring.used + 4 + 8 * 32] = b"\xff" * 8 * 32
    vector = 0
    element_vectors: list[int] = []
    indices = 0
    own = disk.rig.platform.own

    whole = Platform.copy

    def copy(entries: list[tuple[int, int, int, int]]) -> tuple[int, int]:
        nonlocal vector, indices
        vector += 1
        for done, one in enumerate(entries):
            there = one[0] - WINDOW
            if one[3] and ring.used + 4 <= there < ring.used + 4 + 8 * 32:
                element_vectors.append(vector)
            if one[3] and covers(there, one[2], ring.used + 2):
                assert (there, one[2]) == (ring.used + 2, 2), "the index travels alone"
                assert element_vectors, "an index without entries"
                assert element_vectors[-1] < vector, "entries and index in one vector"
                (index,) = struct.unpack_from("<H", own, one[1] - ARENA.bus + ARENA.offset)
                for position in range(index):
                    assert struct.unpack_from("<I", memory, ring.used + 4 + 8 * position)[0] < 32
                indices += 1
            code, _ = whole(disk.rig.platform, [one])
            if code:
                return code, done
        return 0, len(entries)

    disk.rig.platform.copy = copy  # type: ignore[method-assign]
    rounds(disk, turns=3, depth=4)
    assert indices >= 3


@pytest.mark.clause("CRQ-D-40", "CRQ-D-31", "CRQ-D-27")
@both
@events
def test_at_an_announcement_the_index_is_there_and_at_a_returned_credit_avail_event(
    fetch: str, event_idx: bool
) -> None:
    disk = Disk(Rig(), fetch=fetch, size=32, event_idx=event_idx)
    seen: list[int] = []

    def see(kind: int, position: int, credit: int) -> None:
        seen.append(kind)
        if kind == USED:
            assert disk.ring.used_index() == position
        if kind == CREDIT or credit:
            service = disk.rig.link.service(0, 0)
            assert service is not None
            assert service.ring.fetched == disk.ring.next, "a credit came back before everything was fetched"
            if event_idx:
                assert disk.ring.avail_event() == disk.ring.next

    disk.rig.channel.watch = see
    rounds(disk)
    disk.ring.wish(disk.ring.next + 9 if event_idx else 1)  # no notice wanted: the credit goes alone
    disk.submit(IN, 0, length=512)
    disk.announce(credit=1 - used_credit(disk))
    disk.rig.run()
    assert USED in seen
    assert seen[-1] == CREDIT


@pytest.mark.clause("CRQ-D-32")
@both
@events
def test_a_wish_that_comes_while_the_index_is_copied_is_heard(fetch: str, event_idx: bool) -> None:
    """The driver re-arms, then looks at the index once more: one of the two sides has to see the other."""
    disk = Disk(Rig(), fetch=fetch, event_idx=event_idx)
    disk.ring.wish(100 if event_idx else 1)

    def see(there: int, length: int, data: bytes) -> None:
        if data and there == disk.ring.used + 2:  # not yet made: the driver found nothing, and sleeps
            disk.ring.wish(0)

    watch_copies(disk.rig, see)
    disk.submit(IN, 0, length=512)
    disk.announce()
    disk.rig.run()
    assert disk.rig.said() == [(1, 1)]


@pytest.mark.clause("CRQ-D-37", "CRQ-D-25")
@both
def test_no_copy_holds_an_index_and_the_entries_it_covers(fetch: str) -> None:
    disk = Disk(Rig(), fetch=fetch, size=16)
    ring = disk.ring
    rounds(disk, turns=4, depth=2)
    for there, length, outward in disk.rig.platform.log:
        if not outward and covers(there, length, ring.available + 2):
            assert (there, length) == (ring.available + 2, 2)
        if outward and covers(there, length, ring.used + 2):
            assert (there, length) == (ring.used + 2, 2)


@pytest.mark.clause("CRQ-D-41")
@both
@pytest.mark.parametrize("table", [False, True])
def test_ring_entries_descriptors_and_headers_are_fetched_once(fetch: str, table: bool) -> None:
    """A byte that the device acts on is copied once, and the driver changes it right behind the copy."""
    disk = Disk(Rig(), fetch=fetch, size=16)
    ring, memory = disk.ring, disk.rig.platform.guest
    disk.submit(OUT, 5, b"once" * 128, tag="write", table=table)
    disk.submit(IN, 5, length=512, tag="read", table=table)
    slots = [slot for _, slot, _ in disk.flying.values()]
    headers = [(0x20000 + slot * 0x4000, 16) for slot in slots]
    tables = [(0x20000 + slot * 0x4000 + 1024 * 15, 48) for slot in slots] if table else []
    places = [*headers, *tables, (ring.descriptors, 16 * ring.size), (ring.available + 4, 4)]
    fetched = {at for start, length in places for at in range(start, start + length)}
    before: set[int] = set()
    whole = disk.rig.platform.copy

    def copy(vector: list[tuple[int, int, int, int]]) -> tuple[int, int]:
        for done, one in enumerate(vector):
            code, _ = whole([one])
            if code:
                return code, done
            there = one[0] - WINDOW
            touched = fetched & set(range(there, there + one[2]))
            if touched and not one[3]:
                assert not touched & before, f"{min(touched & before):#x} was fetched twice"
                before.update(touched)
                for at in touched:
                    memory[at] = 0xFF  # whoever looks again finds nonsense
        return 0, len(vector)

    disk.rig.platform.copy = copy  # type: ignore[method-assign]
    disk.announce()
    disk.rig.run()
    assert not disk.rig.faults
    assert ring.used_index() == 2
    at = 0x20000 + slots[1] * 0x4000
    assert bytes(memory[at + 512 : at + 1024]) == b"once" * 128


@pytest.mark.clause("CRQ-D-42", "CRQ-D-25")
@both
@events
def test_without_an_announcement_the_clients_memory_is_left_alone(fetch: str, event_idx: bool) -> None:
    disk = Disk(Rig(), fetch=fetch, size=32, event_idx=event_idx)
    rounds(disk, turns=2)
    disk.rig.platform.log.clear()
    disk.submit(IN, 0, length=512)  # made available, never announced
    for _ in range(50):
        disk.rig.link.turn()
    service = disk.rig.link.service(0, 0)
    assert service is not None
    for _ in range(3):  # not even when it is the queue's turn
        service.turn()
    assert disk.rig.platform.log == []


@pytest.mark.clause("CRQ-D-64")
@both
def test_a_queue_that_is_enabled_again_has_both_credits(fetch: str) -> None:
    disk = Disk(Rig(), fetch=fetch)
    rig = disk.rig
    disk.submit(IN, 0, length=512)
    disk.announce()
    rig.run()
    assert rig.said() == [(1, 1)]
    disk.submit(IN, 0, length=512)
    disk.announce()  # the right to announce used entries is away, and stays away
    rig.link.close_queue(0, 0)
    disk.ring = Guest(rig.platform, 16)
    rig.platform.guest[: 2 * 4096] = bytes(2 * 4096)
    rig.channel.coming.clear()
    rig.channel.said.clear()
    disk.open()
    disk.submit(IN, 0, length=512)
    disk.announce()
    rig.run()
    assert not rig.faults
    assert rig.said() == [(1, 1)]


@pytest.mark.clause("CRQ-D-52", "CRQ-D-51", "CRQ-D-63")
@both
def test_after_a_reset_nothing_is_announced_or_copied(fetch: str) -> None:
    disk = Disk(Rig(), fetch=fetch)
    disk.rig.channel.code = 1  # the platform is busy: an announcement and a credit stay due
    disk.submit(IN, 0, length=512)
    disk.announce()
    disk.rig.run()
    assert disk.rig.link.unsaid
    disk.rig.link.close_queue(0, 0)
    disk.rig.channel.code = 0
    disk.rig.platform.log.clear()
    disk.submit(IN, 0, length=512)
    disk.announce()
    disk.rig.run()
    assert disk.rig.channel.said == []
    assert disk.rig.platform.log == []


@pytest.mark.clause("CRQ-D-96", "CRQ-D-79")
@both
def test_an_entropy_device_takes_only_writable_buffers(fetch: str) -> None:
    rig = Rig()
    ring = guest_of(fetch, rig.platform)
    ring.serve(rig, 0, EntropyService(NullStore(0)), indirect=True)
    ring.make_available(ring.chain([(0x20000, 40, WRITE), (0x21000, 24, WRITE)]))
    rig.announce(1)
    rig.run()
    assert ring.collect() == [(0, 64)]
    assert any(rig.platform.guest[0x20000:0x20028])
    ring.make_available(ring.chain([(0x22000, 16, 0), (0x23000, 16, WRITE)]))
    rig.announce(2, credit=1)
    rig.run()
    assert rig.faults == [(0, 0, "entropy-readable")]
    assert not any(rig.platform.guest[0x23000:0x23010])


def test_the_port_makes_a_vector_in_its_order() -> None:
    """What the tests above rely on."""
    assert Port.flush.__doc__ is not None
    rig = Rig()
    for number in range(3):
        rig.port.write(ARENA.offset, bytes([number]))
        rig.port.stage(WINDOW + number, ARENA.bus, 1, 1)
    assert rig.port.flush() == 0
    assert [there for there, _, _ in rig.platform.log] == [0, 1, 2]
