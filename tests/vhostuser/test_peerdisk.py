# SPDX-License-Identifier: Apache-2.0
"""Our driver and our load, unchanged, over a vhost-user back-end: whole data, no needless wake, an end when it dies."""

import random
import select
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from smallserver import SmallServer

from virtio_crq.cli.peerdisk import PeerDisk, peer_disk
from virtio_crq.cli.peerload import run
from virtio_crq.dataplane.load import LoadGenerator
from virtio_crq.errors import DeviceFault, PartnerLost, UsageError
from virtio_crq.platform.channel import AVAIL

DISK = 1 << 20
READ, WRITE = 0, 1
Opened = Callable[..., PeerDisk]


@pytest.fixture(params=[True, False], ids=["event-idx", "flags"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SmallServer]:
    server = SmallServer(tmp_path / "blk.sock", bytearray(random.Random(1).randbytes(DISK)), event_idx=request.param)
    yield server
    server.close()


@pytest.fixture
def opened(tmp_path: Path, server: SmallServer) -> Iterator[Opened]:
    with ExitStack() as stack:

        def open_disk(*, asks: bool, transfer: int = 65536) -> PeerDisk:
            return stack.enter_context(peer_disk(tmp_path / "blk.sock", 8, transfer, asks))

        yield open_disk


@contextmanager
def lost(tmp_path: Path, asks: bool) -> Iterator[PeerDisk]:
    """A disk whose back-end will be gone: it is not asked to stop."""
    with pytest.raises(PartnerLost, match="went away"), peer_disk(tmp_path / "blk.sock", 8, 65536, asks) as disk:
        yield disk


def finish(disk: PeerDisk, slot: int) -> None:
    """Announce what is submitted and wait for the completion of `slot`."""
    disk.front.publish()
    disk.front.settle(disk.channel)
    while True:
        found = disk.driver.reap()
        if found >= 0:
            assert found == slot
            return
        if disk.front.asks and not disk.front.rearm():
            assert select.select([disk.channel.call], [], [], 10)[0], "the back-end did not tell of a completion"
            disk.channel.woken()


def transfer(disk: PeerDisk, kind: int, sector: int, data: bytes | int) -> bytes:
    """One request: what was read, or b""."""
    length = data if isinstance(data, int) else len(data)
    slot = disk.driver.acquire(length)
    place = disk.driver.data(slot)
    if isinstance(data, bytes):
        disk.driver.port.write(place, data)
    assert disk.driver.submit(slot, kind, sector, length) == 0
    finish(disk, slot)
    assert disk.driver.status(slot) == 0
    found = disk.driver.port.read(place, length) if kind == READ else b""
    disk.driver.release(slot)
    return found


@pytest.mark.parametrize("asks", [False, True], ids=["polling", "sleeping"])
def test_what_is_written_is_on_the_disk_and_what_is_read_was_there(
    opened: Opened, server: SmallServer, asks: bool
) -> None:
    disk = opened(asks=asks)
    before = bytes(server.disk)
    assert transfer(disk, READ, 3, 65536) == before[1536 : 1536 + 65536]
    data = random.Random(2).randbytes(12288)
    transfer(disk, WRITE, 100, data)
    assert server.disk[51200 : 51200 + 12288] == data
    assert transfer(disk, READ, 100, 12288) == data


def order(**words: Any) -> dict[str, Any]:
    return {"size": 4096, "depth": 8, "write": False, "sequential": False, "seconds": 0.05, "notify": ""} | words


@pytest.mark.parametrize("asks", [False, True], ids=["polling", "sleeping"])
@pytest.mark.parametrize("write", [False, True], ids=["read", "write"])
def test_the_load_runs_over_it(opened: Opened, asks: bool, write: bool) -> None:
    load = run(opened(asks=asks), order(write=write))
    assert load.requests > 8
    assert load.seconds > 0


def generator(disk: PeerDisk, depth: int) -> LoadGenerator:
    return LoadGenerator(disk.driver, disk.front, disk.channel, READ, 4096, depth, DISK)


def test_a_driver_that_polls_is_hardly_ever_told(opened: Opened, server: SmallServer) -> None:
    disk = opened(asks=False)
    load = generator(disk, 1)
    load.begin(0, 500)
    while load.turn(1000) != 0:
        pass
    assert load.completed == 500
    assert server.calls <= 1  # with EVENT_IDX once in 65536; by the flag never


def test_a_driver_that_sleeps_is_told_of_each_lone_completion(opened: Opened, server: SmallServer) -> None:
    disk = opened(asks=True)
    before = server.calls
    for sector in range(20):
        transfer(disk, READ, sector, 512)
    assert server.calls - before >= 18  # one that came before the ring was armed again is seen without


def test_the_back_end_is_woken_only_when_it_wishes_to_be(opened: Opened, server: SmallServer) -> None:
    disk = opened(asks=False)
    used = disk.front.ring.used  # type: ignore[attr-defined]
    port = disk.driver.port

    def submit() -> int:
        assert disk.driver.submit(disk.driver.acquire(512), READ, 0, 512) == 0
        return int(disk.front.publish())

    # The back-end's part of the used ring is idle here: nothing was announced yet, so it writes nothing.
    if disk.backend.event_idx:
        port.store16(used + 4 + 8 * disk.front.ring.size, 1)  # to be told when the second is available
    else:
        port.store16(used, 1)  # VRING_USED_F_NO_NOTIFY
    assert submit() == 0
    assert disk.front.settle(disk.channel) == 0
    assert disk.channel.kicks == 0
    if not disk.backend.event_idx:
        port.store16(used, 0)
    assert submit() == 1
    assert disk.front.settle(disk.channel) == 0
    assert disk.channel.kicks == 1
    assert disk.front.settle(disk.channel) == 0
    assert disk.channel.kicks == 1
    done = 0
    while done < 2:
        done += disk.driver.reap() >= 0


@pytest.mark.parametrize("asks", [False, True], ids=["polling", "sleeping"])
def test_a_back_end_that_dies_during_a_load_ends_it(tmp_path: Path, server: SmallServer, asks: bool) -> None:
    server.dies_after = 20
    with lost(tmp_path, asks) as disk:
        run(disk, order(seconds=60.0))


def test_a_request_that_does_not_fit_is_bad_input(opened: Opened) -> None:
    disk = opened(asks=False, transfer=4096)
    with pytest.raises(UsageError, match="a request of 8192 bytes; the back-end takes 4096 at once"):
        run(disk, order(size=8192))


def test_a_read_only_disk_is_not_written_to(tmp_path: Path, server: SmallServer) -> None:
    server.features |= 1 << 5
    with peer_disk(tmp_path / "blk.sock", 8, 4096, False) as disk:
        with pytest.raises(UsageError, match="read-only"):
            run(disk, order(write=True))


def test_a_used_ring_that_lies_is_caught_as_any_devices_is(opened: Opened) -> None:
    disk = opened(asks=False)
    ring = disk.front.ring
    disk.driver.port.store16(ring.used + 2, 5)  # type: ignore[attr-defined]
    with pytest.raises(DeviceFault, match="used-ahead"):
        disk.driver.reap()
    disk.driver.port.store16(ring.used + 2, 0)  # type: ignore[attr-defined]


def test_an_announcement_wakes_and_needs_no_credit(opened: Opened) -> None:
    disk = opened(asks=False)
    for _ in range(3):
        assert disk.channel.announce(AVAIL, 0, 0, 0, 0) == 0
    assert disk.channel.poll() == 0
    assert disk.channel.kicks == 3
