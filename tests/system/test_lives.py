# SPDX-License-Identifier: Apache-2.0
"""However many lives partitions have, no descriptor and no memory stays behind: not even until a collection."""

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from machinetext import machine_text, mapped
from runningmachine import RunningMachine

from virtio_crq.cli.clientpartition import client_partition, connects
from virtio_crq.cli.serving import places
from virtio_crq.client.client import Client
from virtio_crq.dataplane.worker import Worker
from virtio_crq.errors import OutOfBounds
from virtio_crq.hypervisor.machine import Machine
from virtio_crq.hypervisor.machinefile import parse_machine_file
from virtio_crq.hypervisor.machinerows import MachineFile
from virtio_crq.platform.partition import UnitAddress
from virtio_crq.vios.mapping import MapEntry
from virtio_crq.vios.server import Server, Settings

ROUNDS = 50
LIVES = 30
WARM = 5  # lives until allocators and caches have what they need
PASSING = 1  # a worker's epoll is there while it sleeps; a connection may just be going
SLACK = 1024  # KiB that a heap may move about

TEXT = machine_text(mapped("web1/root", "file:root.img"))


class House:
    """A machine, its server and its client in this process."""

    def __init__(self, directory: Path) -> None:
        (directory / "root.img").write_bytes(bytes(1 << 20))
        self.directory = directory
        self.content: MachineFile = parse_machine_file(TEXT, directory / "machine.toml")
        self.machine = Machine(self.content.definition())

    def attach(self) -> None:
        with self.machine.attach("web1") as partition:
            partition.open(UnitAddress(partition.adapters()[0].unit_address))

    def reap(self, name: str) -> None:
        """As the daemon does it: again, while a partner's call is still inside (it tells of an answer and goes on)."""
        for _try in range(100_000):
            if self.machine.reap(name):
                return
            os.sched_yield()
        raise AssertionError(f"{name} is not reaped")

    def client_life(self) -> None:
        with self.machine.attach("web1") as partition, Client(connects(partition)) as client:
            client.disk("root").write(0, b"x" * 4096)
        self.reap("web1")

    def client_death(self) -> None:
        """Nothing is closed by the client itself: the platform takes it all back."""
        with self.machine.attach("web1") as partition:
            client = Client(connects(partition))
            client.open()
            client.disk("root").write(0, b"x" * 4096)
        self.reap("web1")

    def server_life(self, during: Callable[[], None] = lambda: None) -> None:
        with self.machine.attach("vios1") as partition:
            entries = [MapEntry(row.client, row.target, row.backing) for row in self.content.maps]
            server = Server(
                places(self.content, "vios1", partition), entries, Settings(self.directory, workers=1, polling=0)
            )
            try:
                server.start()
                during()
            finally:
                server.close()
        self.reap("vios1")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    gc.collect()
    gc.disable()
    yield house
    gc.enable()
    house.machine.close()


def descriptors(process: int | str = "self") -> int:
    return len(os.listdir(f"/proc/{process}/fd"))


def repeats_flat(act: Callable[[], None]) -> None:
    act()
    before = descriptors()
    for _round in range(ROUNDS):
        act()
    assert descriptors() <= before + PASSING


def a_machine() -> None:
    Machine(parse_machine_file(TEXT, Path("machine.toml")).definition()).close()


def a_worker() -> None:
    worker = Worker("short")
    worker.start()
    worker.stop()
    worker.wake()  # a late caller writes into no descriptor of somebody else


def test_machines_and_workers_leave_no_descriptor(house: House) -> None:
    repeats_flat(a_machine)
    repeats_flat(a_worker)
    repeats_flat(house.attach)


def test_clients_that_leave_or_die_and_come_back_leave_no_descriptor(house: House) -> None:
    house.server_life(lambda: repeats_flat(house.client_life))
    house.server_life(lambda: repeats_flat(house.client_death))


def test_a_server_that_is_started_again_and_again_leaves_no_descriptor(house: House) -> None:
    repeats_flat(house.server_life)
    repeats_flat(lambda: house.server_life(house.client_life))


def test_a_port_of_a_closed_partition_has_neither_memory_nor_platform(house: House) -> None:
    with house.machine.attach("web1") as partition:
        port = partition.open(UnitAddress(partition.adapters()[0].unit_address))
        port.stage(0, 0, 16, 1)
    assert port.fileno() == -1
    assert port.send(0x80 << 56, 0) == -1
    assert port.signal(1) == -1
    assert port.map(0, 0, 4096, 3) == -1
    assert port.unmap(0, 4096) == -1
    assert port.call(0x64)[0] == -1
    assert port.flush() == 0, "nothing is staged any more"
    port.stage(0, 0, 16, 1)
    assert port.flush() == -1
    for access in (port.load64, port.acquire8, port.acquire16):
        with pytest.raises(OutOfBounds):
            access(0)
    with pytest.raises(OutOfBounds):
        port.read(0, 1)


def resident(process: int) -> int:
    """KiB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


@pytest.mark.timeout(90)
def test_a_running_server_and_hypervisor_stay_as_they_are_over_thirty_clients(tmp_path: Path) -> None:
    (tmp_path / "root.img").write_bytes(bytes(1 << 20))
    with RunningMachine(tmp_path, TEXT) as machine:
        roles = {role: machine.pid(role) for role in ("vios1", "hypervisor")}
        before: dict[str, tuple[int, int]] = {}
        for life in range(WARM + LIVES):
            if life == WARM:
                before = {role: (descriptors(pid), resident(pid)) for role, pid in roles.items()}
            with client_partition(machine.state, "web1") as client:
                client.disk("root").write(0, b"x" * 65536)
        assert machine.adapter("web1")["counters"]["sessions"] == WARM + LIVES
        for role, pid in roles.items():
            assert descriptors(pid) <= before[role][0] + PASSING, role
            assert resident(pid) <= before[role][1] + SLACK, role
