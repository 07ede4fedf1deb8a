# SPDX-License-Identifier: Apache-2.0
"""What a recorder of every copy sees: how many there are, in which order, and what is announced when."""

import os
import struct

import pytest
from disk import IN, OUT, Disk
from packedguest import PackedGuest
from rig import CREDIT, USED, Rig

from combinations import strategies
from virtio_crq.errors import DriverFault

both = pytest.mark.parametrize("fetch", strategies("split"))
events = pytest.mark.parametrize("event_idx", [False, True])


@pytest.mark.clause("CRQ-D-41")
@both
@events
@pytest.mark.parametrize("depth", [1, 2, 8])
def test_copies_per_read_are_those_of_the_design(fetch: str, event_idx: bool, depth: int) -> None:
    """Naive: 11, and one for avail_event. Batched: 3 + 5/B, and 1/B for avail_event."""
    disk = Disk(Rig(), fetch=fetch, size=32, event_idx=event_idx)
    disk.ring.wish(0)
    log = disk.rig.platform.log
    for turn in range(4):
        for _ in range(depth):
            disk.submit(IN, 0, length=4096)
        log.clear()
        disk.announce(credit=1 if turn else 0)
        disk.ring.wish(disk.ring.next - 1 if event_idx else 0)
        disk.rig.run()
        assert len(disk.collect()) == depth
        disk.rig.channel.said.clear()
    if fetch == "split-batched":
        assert len(log) == 3 * depth + 5 + event_idx
    elif event_idx:
        assert len(log) == 12 * depth
    else:
        # After the first announcement the right to announce is away: the driver's wish is not even looked up.
        assert len(log) == 10 * depth + 1


@pytest.mark.clause("CRQ-D-38", "CRQ-D-39")
@both
def test_used_elements_travel_before_the_index_and_status_before_both(fetch: str) -> None:
    disk = Disk(Rig(), fetch=fetch, size=32)
    ring = disk.ring
    for sector in range(5):
        disk.submit(IN, sector, length=512)
    disk.announce()
    disk.rig.run()
    log = disk.rig.platform.log
    index = [at for at, (there, _, _) in enumerate(log) if there == ring.used + 2]
    elements = [at for at, (there, _, _) in enumerate(log) if ring.used + 4 <= there < ring.used + 4 + 8 * 32]
    answers = [at for at, (there, length, outward) in enumerate(log) if outward and length == 1]
    assert len(answers) == 5
    for at in index:
        assert log[at][1] == 2, "the index travels alone"
        shown = sum(log[e][1] // 8 for e in elements if e < at)
        assert sum(1 for a in answers if a < at) == shown
    assert not [
        1 for there, length, outward in log if outward and there <= ring.used + 2 < there + length and length > 2
    ]
    boundaries = [sum(disk.rig.platform.vectors[: n + 1]) for n in range(len(disk.rig.platform.vectors))]
    for at in index:
        last = max(e for e in elements if e < at)
        assert any(last < boundary <= at for boundary in boundaries), "elements are made before the index is asked for"


@pytest.mark.clause("CRQ-D-38")
@both
def test_data_travels_before_its_status(fetch: str) -> None:
    disk = Disk(Rig(), fetch=fetch)
    disk.submit(IN, 0, length=1024, pieces=2)
    disk.announce()
    disk.rig.run()
    outward = [length for _, length, out in disk.rig.platform.log if out]
    # Both pieces of the data, which are neighbours on either side, then the status.
    expected = [512, 512, 1] if fetch == "split-naive" else [1024, 1]
    assert outward[: len(expected)] == expected


@pytest.mark.clause("CRQ-D-25")
@both
def test_nothing_beyond_the_announced_position_is_touched(fetch: str) -> None:
    disk = Disk(Rig(), fetch=fetch)
    disk.submit(IN, 0, length=512, tag="announced")
    disk.announce()
    disk.submit(IN, 0, length=512, tag="not yet")
    disk.rig.run()
    assert [tag for tag, _, _ in disk.collect()] == ["announced"]
    entries = range(disk.ring.available + 6, disk.ring.available + 4 + 2 * 16)
    assert not [there for there, length, _ in disk.rig.platform.log if there + length - 1 in entries]


@pytest.mark.clause("CRQ-D-37", "CRQ-D-42")
def test_batched_never_reads_the_avail_index() -> None:
    disk = Disk(Rig())
    disk.submit(IN, 0, length=512)
    disk.announce()
    disk.rig.run()
    place = disk.ring.available + 2
    assert not [there for there, length, _ in disk.rig.platform.log if there <= place < there + length]


@pytest.mark.clause("CRQ-D-31")
@both
@events
def test_ring_positions_wrap(fetch: str, event_idx: bool) -> None:
    disk = Disk(Rig(), fetch=fetch, size=8, event_idx=event_idx)
    disk.rig.link.close_queue(0, 0)
    disk.ring.next = disk.ring.seen = 65533
    disk.ring.memory[disk.ring.used + 2 : disk.ring.used + 4] = (65533).to_bytes(2, "little")
    disk.open((65533, 65533, []))
    for turn in range(8):
        disk.submit(OUT, turn, bytes([turn]) * 512)
        disk.submit(IN, turn, length=512, tag=turn)
        disk.ring.wish(disk.ring.seen if event_idx else 0)
        disk.announce(credit=1 if turn else 0)
        disk.rig.run()
        assert [data for tag, _, data in disk.collect() if tag == turn] == [bytes([turn]) * 512]
        assert disk.rig.said()[-1][0] in (disk.ring.seen, (disk.ring.seen - 1) & 0xFFFF)
        if event_idx:
            assert disk.ring.avail_event() == disk.ring.next
    assert not disk.rig.faults


@pytest.mark.clause("CRQ-D-27", "CRQ-D-28", "CRQ-D-33")
@both
def test_the_device_announces_only_on_credit_and_returns_the_drivers(fetch: str) -> None:
    disk = Disk(Rig(), fetch=fetch)
    rig = disk.rig
    disk.submit(IN, 0, length=512)
    disk.announce()
    rig.run()
    assert rig.channel.said == [(USED, 0, 0, 1, 1)]
    disk.submit(IN, 0, length=512)
    disk.announce()  # keeps the right to announce used entries away
    rig.run()
    assert rig.channel.said[1:] == [(CREDIT, 0, 0, 0, 1)], "no announcement is due: the credit goes by itself"
    assert disk.ring.used_index() == 2
    rig.give_credit()
    rig.run()
    assert rig.channel.said[2:] == [(USED, 0, 0, 2, 0)], "what was used meanwhile is announced"


@pytest.mark.clause("CRQ-D-32", "CRQ-D-33")
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


@pytest.mark.clause("CRQ-D-32")
def test_used_event_is_honoured_across_a_batch() -> None:
    disk = Disk(Rig(), event_idx=True)
    disk.ring.wish(2)  # tell me when entry 2 is used
    for _ in range(2):
        disk.submit(IN, 0, length=512)
    disk.announce()
    disk.rig.run()
    assert disk.rig.said() == []
    disk.submit(IN, 0, length=512)
    disk.announce()
    disk.rig.run()
    assert disk.rig.said() == [(3, 1)]


def test_an_announcement_that_could_not_be_sent_is_sent_later() -> None:
    disk = Disk(Rig())
    disk.rig.channel.code = 1  # busy
    disk.submit(IN, 0, length=512)
    disk.announce()
    disk.rig.run()
    assert disk.rig.link.unsaid
    disk.rig.channel.code = 0
    disk.rig.run()
    assert disk.rig.said() == [(1, 1)]


@pytest.mark.clause("CRQ-D-85")
@pytest.mark.parametrize("fetch", strategies())
def test_requests_in_flight_at_a_resume_are_served_first_and_in_order(fetch: str) -> None:
    disk = Disk(Rig(), fetch=fetch)
    heads = [disk.submit(OUT, 7, os.urandom(512), tag=tag) for tag in ("first", "second", "third")]
    disk.rig.link.close_queue(0, 0)
    # A packed ring has them in it, and none besides (CRQ-D-129).
    disk.open((disk.ring.next, 0, [] if isinstance(disk.ring, PackedGuest) else heads))
    disk.submit(IN, 7, length=512, tag="later")
    disk.announce()
    disk.rig.run()
    assert [tag for tag, _, _ in disk.collect()] == ["first", "second", "third", "later"]
    third = disk.base + 0x20000 + 2 * 0x4000 + 512
    assert disk.results[3][2] == bytes(disk.ring.memory[third : third + 512])


@pytest.mark.clause("CRQ-D-102")
@both
def test_the_wish_of_a_lost_server_is_overwritten_when_its_queue_is_taken_over(fetch: str) -> None:
    """A driver that adds entries and finds avail_event behind it stays silent, so it must not find that."""
    disk = Disk(Rig(), fetch=fetch, event_idx=True)
    heads = [disk.submit(IN, 0, length=512) for _ in range(3)]
    disk.rig.link.close_queue(0, 0)
    assert disk.ring.avail_event() == 0
    disk.open((3, 0, heads))
    assert disk.ring.avail_event() == 3, "before the answer to DRIVER_OK, so before any turn"
    assert disk.rig.channel.said == []


@pytest.mark.clause("CRQ-D-102")
def test_a_lost_server_that_wanted_no_announcements_is_not_heeded_any_more() -> None:
    disk = Disk(Rig())
    disk.rig.link.close_queue(0, 0)
    struct.pack_into("<H", disk.ring.memory, disk.ring.used, 1)  # used.flags: NO_NOTIFY
    disk.open((0, 0, []))
    assert struct.unpack_from("<H", disk.ring.memory, disk.ring.used) == (0,)


def test_a_resumed_queue_whose_wish_cannot_be_written_holds_nothing() -> None:
    disk = Disk(Rig(), event_idx=True)
    disk.rig.link.close_queue(0, 0)
    free = disk.rig.link.staging.free
    disk.rig.platform.revoked.append(range(disk.ring.used, disk.ring.used + 4096))
    with pytest.raises(DriverFault, match="copy-refused"):
        disk.open((0, 0, []))
    assert disk.rig.link.staging.free == free
    disk.rig.platform.revoked.clear()
    disk.open((0, 0, []))


def test_control_entries_and_losses_go_to_the_control_plane() -> None:
    rig = Rig()
    rig.channel.coming.append((4, 0, 0, 0, 0))
    rig.channel.coming.append((5, 0, 0, 0, 0))
    rig.run()
    assert rig.control == [(4, b"entry"), (5, b"entry")]
