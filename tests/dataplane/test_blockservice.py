# SPDX-License-Identifier: Apache-2.0
"""Block requests end as virtio 1.4 §5.2.6 says, whatever the fetch strategy and the framing of the chain."""

import pytest
from disk import FLUSH, GET_ID, IN, OUT, Disk
from rig import Rig

from combinations import strategies
from virtio_crq.dataplane.ramstore import RamStore

OK, IOERR, UNSUPP = 0, 1, 2
pytestmark = pytest.mark.parametrize("fetch", strategies())


def one(disk: Disk, kind: int, **request: object) -> tuple[int, bytes]:
    """Submit, announce, run; status and data."""
    disk.submit(kind, **request)  # type: ignore[arg-type]
    disk.announce(credit=1 - disk.rig.link.service(disk.device, 0).ring.used_credit)  # type: ignore[union-attr]
    disk.rig.run()
    ((_, status, data),) = disk.collect()
    assert not disk.rig.faults
    return status, data


@pytest.mark.parametrize("pieces", [1, 2, 7])
@pytest.mark.parametrize("table", [False, True])
def test_what_was_written_is_read_back(fetch: str, pieces: int, table: bool) -> None:
    disk = Disk(Rig(), fetch=fetch)
    data = bytes(range(256)) * 16
    assert one(disk, OUT, sector=5, data=data, pieces=pieces, table=table) == (OK, b"")
    assert one(disk, IN, sector=5, length=4096, pieces=pieces, table=table) == (OK, data)
    assert one(disk, IN, sector=6, length=512) == (OK, data[512:1024])


@pytest.mark.clause("CRQ-D-79")
def test_a_request_larger_than_a_chunk_goes_through_piece_by_piece(fetch: str) -> None:
    rig = Rig(max_copy=65536)
    disk = Disk(rig, fetch=fetch, sectors=4096)
    free = rig.link.staging.free
    memory, size = rig.platform.guest, 700 * 1024
    memory[0x100000 : 0x100000 + size] = bytes(i * 7 & 0xFF for i in range(size))
    first = bytes(memory[0x100000 : 0x100000 + size])
    for kind, flags in ((OUT, 0), (IN, 2)):
        at = 0x8000
        memory[at : at + 16] = kind.to_bytes(8, "little") + (3).to_bytes(8, "little")
        disk.ring.make_available(disk.ring.chain([(at, 16, 0), (0x100000, size, flags), (at + 16, 1, 2)]))
        disk.announce(credit=1 - rig.link.service(0, 0).ring.used_credit)  # type: ignore[union-attr]
        rig.run()
        assert [written for _, written in disk.ring.collect()] == [size + 1 if kind == IN else 1]
        assert memory[at + 16] == OK
        assert bytes(memory[0x100000 : 0x100000 + size]) == first
        memory[0x100000 : 0x100000 + size] = bytes(size) if kind == OUT else first
    assert max(length for _, length, _ in rig.platform.log) <= 65536
    assert rig.link.staging.free == free, "own RAM was not given back"


@pytest.mark.clause("CRQ-D-76", "CRQ-D-78")
@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"kind": IN, "sector": 2048, "length": 512}, IOERR),  # behind the end
        ({"kind": IN, "sector": 2047, "length": 1024}, IOERR),  # over the end
        ({"kind": IN, "sector": (1 << 64) - 1, "length": 1024}, IOERR),  # a sum that wraps
        ({"kind": IN, "sector": 1 << 55, "length": 512}, IOERR),  # a product that wraps
        ({"kind": IN, "sector": 0, "length": 511}, IOERR),  # not whole sectors
        ({"kind": IN, "sector": 0}, IOERR),  # nothing to read
        ({"kind": OUT, "sector": 2048, "data": bytes(512)}, IOERR),
        ({"kind": OUT, "sector": 0, "data": bytes(100)}, IOERR),
        ({"kind": FLUSH}, OK),
        ({"kind": 11, "data": bytes(16)}, UNSUPP),  # DISCARD was not offered
        ({"kind": 256 + FLUSH}, UNSUPP),
        ({"kind": 0xFFFFFFFF, "length": 512}, UNSUPP),
    ],
)
def test_the_status_says_what_became_of_a_request(fetch: str, request_: dict[str, int], status: int) -> None:
    disk = Disk(Rig(), fetch=fetch)
    assert one(disk, **request_)[0] == status  # type: ignore[arg-type]
    assert disk.service.errors == (status != OK)


@pytest.mark.clause("CRQ-D-76")
@pytest.mark.parametrize("kind", [IN, OUT])
def test_the_end_is_where_the_device_says_whatever_the_store_holds(fetch: str, kind: int) -> None:
    disk = Disk(Rig(), fetch=fetch, sectors=2048, store=RamStore(4096 * 512))
    more = {"length": 1024} if kind == IN else {"data": bytes(1024)}
    for sector, status in ((2046, OK), (2047, IOERR), (2048, IOERR)):
        assert one(disk, kind, sector=sector, **more)[0] == status  # type: ignore[arg-type]


@pytest.mark.clause("CRQ-D-77")
def test_a_read_only_disk_refuses_writes_and_keeps_its_bytes(fetch: str) -> None:
    disk = Disk(Rig(), fetch=fetch, read_only=True)
    assert one(disk, OUT, sector=0, data=b"x" * 512)[0] == IOERR
    assert one(disk, IN, sector=0, length=512) == (OK, bytes(512))


@pytest.mark.parametrize(
    ("length", "answer"), [(20, b"serial-7" + bytes(12)), (4, b"seri"), (30, b"serial-7" + bytes(22))]
)
def test_identity_is_twenty_bytes_padded_with_zeroes(fetch: str, length: int, answer: bytes) -> None:
    assert one(Disk(Rig(), fetch=fetch), GET_ID, length=length) == (OK, answer)


@pytest.mark.clause("CRQ-D-76")
def test_offered_limits_are_held(fetch: str) -> None:
    disk = Disk(Rig(), fetch=fetch, seg_max=2, size_max=1024)
    assert one(disk, IN, length=2048, pieces=2)[0] == OK
    assert one(disk, IN, length=1536, pieces=3)[0] == IOERR
    assert one(disk, IN, length=2048, pieces=1)[0] == IOERR


def test_requests_of_one_queue_are_served_in_order(fetch: str) -> None:
    disk = Disk(Rig(), fetch=fetch, size=64)
    for turn in range(10):
        disk.submit(OUT, 9, bytes([turn]) * 512, tag=f"w{turn}")
        disk.submit(IN, 9, length=512, tag=turn)
    disk.announce()
    disk.rig.run()
    for tag, status, data in disk.collect():
        assert status == OK
        assert isinstance(tag, str) or data == bytes([tag]) * 512  # type: ignore[list-item]
