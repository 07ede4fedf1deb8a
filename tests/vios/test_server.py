# SPDX-License-Identifier: Apache-2.0
"""A server over a machine in this process: it starts whole or not at all, shows how it stands, tells of a new size."""

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from virtio_crq.cli.clientpartition import connects
from virtio_crq.cli.serving import places
from virtio_crq.client.client import Client
from virtio_crq.crq import ring
from virtio_crq.errors import UsageError
from virtio_crq.hypervisor.machine import Machine
from virtio_crq.hypervisor.machinefile import parse_machine_file
from virtio_crq.papr.returncodes import ReturnCode
from virtio_crq.platform.partition import Partition
from virtio_crq.vios.lsmap import render
from virtio_crq.vios.mapping import MapEntry
from virtio_crq.vios.rates import rates, render_rates
from virtio_crq.vios.server import Server, Settings

TEXT = """
[machine]
name = "server"
[partition.vios1]
memory = "16M"
[partition.web1]
memory = "16M"
[partition.web2]
memory = "16M"
[[adapter]]
client = "web1"
slot = 2
server = "vios1"
[[adapter]]
client = "web2"
slot = 2
server = "vios1"
"""
SIZE = 1 << 20
ROOT = MapEntry("web1", "root", "file:root.img")
RNG = MapEntry("web1", "rng", "kernel", device="entropy")
CONTENT = parse_machine_file(TEXT, Path("machine.toml"))


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    (tmp_path / "root.img").write_bytes(bytes(SIZE))
    with Machine(CONTENT.definition()) as machine:
        yield machine


@pytest.fixture
def partition(machine: Machine) -> Iterator[Partition]:
    with machine.attach("vios1") as partition:
        yield partition


def made(partition: Partition, directory: Path, *entries: MapEntry) -> Server:
    return Server(places(CONTENT, "vios1", partition), entries, Settings(directory, workers=2, polling=0))


@pytest.fixture
def server(partition: Partition, tmp_path: Path) -> Iterator[Server]:
    server = made(partition, tmp_path, ROOT, RNG)
    server.start()
    yield server
    server.close()


@pytest.mark.expects_warnings("virtio_crq.vios")
@pytest.mark.parametrize("how", ["truncated", "deleted"])
def test_an_image_that_somebody_spoils_is_told_of_once_and_shown(
    server: Server, machine: Machine, tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    image = tmp_path / "root.img"
    with machine.attach("web1") as partition, Client(connects(partition)) as client:
        disk = client.disk("root")
        server.inspect()
        assert server.commands()["lsmap"]({})[0]["targets"][0]["damage"] == ""
        if how == "truncated":
            os.truncate(image, SIZE // 2)
            with pytest.raises(OSError, match="failed") as lost:
                disk.read(SIZE // 2, 4096)
            assert lost.value.errno == errno.EIO
            with pytest.raises(OSError, match="failed"):
                disk.read(SIZE // 2 - 4096, 8192)
        else:
            image.unlink()
        assert disk.read(0, 4096) == bytes(4096), "what is there is served"
        view = server.commands()["lsmap"]({})
        assert how in view[0]["targets"][0]["damage"]
        assert f"\nDamage {' ' * 15}it" in render(view)
        assert f"{' ' * 12}damage: it" in render_rates(rates(view, view, 1.0))
        for _look in range(2):
            server.inspect()
        assert [message for message in caplog.messages if "damage" in message or how in message] == [
            f"web1/root: file:root.img: {view[0]['targets'][0]['damage']}"
        ]
        if how == "truncated":
            server.commands()["resize"]({"client": "web1", "target": "root", "size": None})
            assert server.commands()["lsmap"]({})[0]["targets"][0]["damage"] == "", "that is its size now"


@pytest.mark.expects_warnings("virtio_crq.vios")
def test_a_connection_that_gave_up_serves_again_when_the_platform_has_it(
    server: Server, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = server.adapters[0]
    connection: Any = adapter._connection

    def lose() -> None:
        connection.reset("a test wants it")
        connection.pump()

    assert adapter.worker is not None
    with monkeypatch.context() as platform:
        platform.setattr(ring, "free", lambda *_: int(ReturnCode.H_BUSY))
        platform.setattr(ring, "PAUSE", 0.0)
        adapter.worker.call(lose)
        adapter.tend()
        assert adapter.view().state == "failed"
    sleeps = adapter.worker.sleeps
    adapter.tend()
    assert adapter.view().state == "waiting for client"
    while adapter.worker.sleeps == sleeps:
        os.sched_yield()  # from now on only its interrupt wakes it
    with machine.attach("web1") as partition, Client(connects(partition)) as client:
        assert client.disk("root").read(0, 512) == bytes(512)


def test_views_follow_a_clients_life(server: Server, machine: Machine) -> None:
    first, second = server.commands()["lsmap"]({})
    assert (first["client"], first["state"], second["client"], second["targets"]) == (
        *("web1", "waiting for client", "web2"),
        (),
    )
    with machine.attach("web1") as partition, Client(connects(partition)) as client:
        client.disk("root").write(0, b"x" * 4096)
        client.entropy().read(16)
        first = server.commands()["lsmap"]({})[0]
        assert (first["state"], first["counters"]["sessions"], first["counters"]["losses"]) == ("open", 1, 0)
        root, rng = first["targets"]
        assert root["counters"]["bytes_out"] == 4096
        assert "DRIVER_OK" in root["state"]
        assert (rng["backing"], rng["size"]) == ("kernel generator", 0)
    assert machine.reap("web1")
    deadline = time.monotonic() + 10
    while (first := server.adapters[0].view()).state != "waiting for client":
        assert time.monotonic() < deadline
        os.sched_yield()
    assert (first.session, first.counters["losses"]) == (0, 1)
    assert server.commands()["ping"]({}) == os.getpid()


def test_a_connection_moves_to_the_idle_worker_and_its_client_never_knows(server: Server, machine: Machine) -> None:
    with machine.attach("web1") as partition, Client(connects(partition)) as client:
        disk = client.disk("root")
        first, second = server.adapters
        busy, idle = first.worker, second.worker
        assert busy is not idle
        disk.write(0, b"before" * 512 + bytes(1024))
        server.balance({first: first.heard - 10, second: second.heard - 10})
        assert first.worker is busy, "so little is no load"
        second.move(busy)
        server.balance({first: first.heard - 5000, second: second.heard - 4000})
        assert (first.worker, second.worker) in [(busy, idle), (idle, busy)]
        first.move(idle)
        assert disk.read(0, 3072) == b"before" * 512
        first.move(busy)
        disk.write(4096, b"after!" * 512 + bytes(1024))
        assert disk.read(4096, 3072) == b"after!" * 512
        assert server.commands()["lsmap"]({})[0]["counters"]["losses"] == 0


def test_workers_may_be_pinned_to_processors_that_there_are(partition: Partition, tmp_path: Path) -> None:
    allowed = sorted(os.sched_getaffinity(0))
    for pin in (0, len(allowed) - 1):
        server = Server(places(CONTENT, "vios1", partition), [], Settings(tmp_path, workers=2, pin=pin))
        placed = [worker.processor for worker in server._workers]
        server.close()
        assert placed == [allowed[(pin + number) % len(allowed)] for number in range(2)]
    with pytest.raises(UsageError, match=f"pin {len(allowed)} is not in 0 to {len(allowed) - 1}, the processors"):
        Server(places(CONTENT, "vios1", partition), [], Settings(tmp_path, workers=2, pin=len(allowed)))


@pytest.mark.clause("CRQ-D-54")
def test_a_grown_image_reaches_the_clients_disk(server: Server, machine: Machine, tmp_path: Path) -> None:
    with machine.attach("web1") as partition, Client(connects(partition)) as client:
        disk = client.disk("root")
        told: list[int] = []
        disk.on_capacity = told.append
        assert server.commands()["rescan"]({}) == []
        os.truncate(tmp_path / "root.img", 2 * SIZE)
        assert server.commands()["rescan"]({}) == ["web1/root"]
        deadline = time.monotonic() + 10
        while not told:
            assert time.monotonic() < deadline
            client.turn(0.1)
        assert told == [2 * SIZE]
        assert disk.capacity == 2 * SIZE
        disk.write(2 * SIZE - 4096, b"z" * 4096)
    assert (tmp_path / "root.img").read_bytes()[-4096:] == b"z" * 4096


def test_a_closed_server_is_seen_to_leave_and_its_image_is_free(
    server: Server, machine: Machine, tmp_path: Path, partition: Partition
) -> None:
    with machine.attach("web1") as attached, Client(connects(attached)) as client:
        disk = client.disk("root")
        server.close()
        waits = disk.start_write(0, b"y" * 4096)
        client.turn(0.1)
        assert not waits.done
        assert client.connections[0].losses == 1
        again = made(partition, tmp_path, ROOT, RNG)
        again.start()
        try:
            client.wait([waits])
            assert waits.result() == b""
        finally:
            again.close()
    assert (tmp_path / "root.img").read_bytes()[:4096] == b"y" * 4096
    server.close()  # once more is nothing


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (MapEntry("web3", "root", "ram:1M", where="m.toml:9"), "m.toml:9: map web3/root: no adapter of this server"),
        (MapEntry("web2", "data", "file:none.img"), "none.img: no such image"),
        (MapEntry("web2", "data", "file:./root.img"), "mapped twice"),
        (MapEntry("web2", "data", "tape:1"), "not one of null, ram, file"),
    ],
)
def test_a_server_that_cannot_serve_all_holds_nothing(
    partition: Partition, tmp_path: Path, entry: MapEntry, says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        made(partition, tmp_path, ROOT, entry)
    made(partition, tmp_path, ROOT).close()  # the lock of the first image was given back
