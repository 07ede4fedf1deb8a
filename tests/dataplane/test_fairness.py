# SPDX-License-Identifier: Apache-2.0
"""Large requests are served in shares: nobody else on the worker waits for all of them."""

import struct

import pytest
from disk import FIRST, IN, OUT, SLOT, Disk
from rig import WRITE, Rig

from combinations import strategies
from virtio_crq.dataplane.blockservice import CHUNK

PIECE, PIECES = 14336, 60  # one request of 840 KiB, all of it into (or from) the same piece of memory


def large(disk: Disk, kind: int) -> None:
    slot = disk.slots.pop(0)
    at = disk.base + FIRST + slot * SLOT
    struct.pack_into("<IIQ", disk.rig.platform.guest, at, kind, 0, 0)
    body = [(at + 512, PIECE, WRITE if kind == IN else 0)] * PIECES
    head = disk.ring.indirect([(at, 16, 0), *body, (at + 16, 1, WRITE)], at + 15 * 1024)
    disk.flying[head] = (slot, slot, 0)
    disk.ring.make_available(head)


@pytest.mark.parametrize("kind", [IN, OUT])
@pytest.mark.parametrize("fetch", strategies())
def test_a_turn_moves_no_more_than_a_share_and_a_chunk(kind: int, fetch: str) -> None:
    disk = Disk(Rig(), fetch=fetch)
    service, link = disk.service, disk.rig.link
    for _ in range(6):
        large(disk, kind)
    disk.announce()
    turns = 0
    while len(disk.results) < 6:
        assert link.turn() > 0, "a worker would go to sleep over what was put off"
        assert service.weight < service.share + CHUNK
        disk.collect()
        turns += 1
    assert turns >= 6 * PIECE * PIECES // (service.share + CHUNK)
    assert [status for _, status, _ in disk.results] == [0] * 6
    assert (service.bytes_in if kind == IN else service.bytes_out) == 6 * PIECE * PIECES


@pytest.mark.parametrize(("length", "batches"), [(512, 1), (8192, 4), (14336, 8)])
@pytest.mark.parametrize("fetch", [each for each in strategies() if not each.endswith("naive")])
def test_the_longer_requests_are_the_fewer_share_a_mini_batch(fetch: str, length: int, batches: int) -> None:
    """Eight are announced at once: the driver is to work on the first while the last are served."""
    disk = Disk(Rig(), fetch=fetch, size=64)
    disk.service.bulk = 14336
    for number in range(8):
        disk.submit(IN, 8 * number, length=length, tag=number)
    disk.announce()
    disk.rig.run()
    assert [tag for tag, _, _ in disk.collect()] == [*range(8)]
    assert disk.service.batches == batches


def test_a_mini_batch_asks_for_a_quarter_of_a_mebibyte_at_most_and_one_request() -> None:
    assert Disk(Rig()).service.bulk == CHUNK
