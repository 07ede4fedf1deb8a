# SPDX-License-Identifier: Apache-2.0
"""An error of the server itself: one client loses its server, the others notice nothing; or the process says why."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from machinetext import machine_text, mapped
from runningmachine import RunningMachine

from virtio_crq.cli.clientpartition import connects
from virtio_crq.cli.mapentry import map_entry
from virtio_crq.cli.serving import places
from virtio_crq.client.client import Client
from virtio_crq.errors import PartnerLost, VirtioCrqError
from virtio_crq.hypervisor.machine import Machine
from virtio_crq.hypervisor.machinefile import read_machine_file
from virtio_crq.vios.server import Server, Settings

MACHINE = machine_text(mapped("web1/root", "ram:1M"), mapped("web2/root", "ram:1M"), clients=("web1", "web2"))


class House:
    """Hypervisor, server and clients in this process; both clients are on one worker."""

    def __init__(self, file: Path) -> None:
        content = read_machine_file(file)
        self.machine = Machine(content.definition())
        partition = self.machine.attach("vios1")
        entries = [map_entry(row) for row in content.maps_of("vios1")]
        self.server = Server(places(content, "vios1", partition), entries, Settings(workers=1))

    def client(self, name: str) -> Client:
        return Client(connects(self.machine.attach(name)))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    file = tmp_path / "machine.toml"
    file.write_text(MACHINE)
    house = House(file)
    yield house
    house.server.close()


def fail(*arguments: object) -> None:
    raise ZeroDivisionError("injected")


@pytest.mark.timeout(60)
@pytest.mark.expects_warnings("virtio_crq.vios")
@pytest.mark.parametrize("where", ["bring-up", "farewell"])
def test_an_error_in_serving_one_client_ends_that_service_alone(
    house: House, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    house.server.start()
    with house.client("web2") as other:
        device = house.server.adapters[0].targets[0].device
        if where == "bring-up":
            device.driver_ok = fail  # type: ignore[method-assign]
            with pytest.raises((PartnerLost, VirtioCrqError)):
                house.client("web1").open(1.0)
        else:
            with house.client("web1"):
                device.reset = fail  # type: ignore[assignment]
            while house.server.adapters[0].failure is None:
                other.disk("root").write(0, bytes(4096))
        failed, going = house.server.adapters
        assert isinstance(failed.failure, ZeroDivisionError)
        assert (failed.view().state, going.view().state) == ("failed", "open")
        other.disk("root").write(0, b"x" * 4096)
        assert other.disk("root").read(0, 4096) == b"x" * 4096
    assert "ZeroDivisionError: injected" in caplog.text, "with its traceback"
    assert [record.name for record in caplog.records if record.exc_info] == ["virtio_crq.vios"]


@pytest.mark.timeout(60)
@pytest.mark.expects_warnings("virtio_crq.dataplane")
def test_a_worker_that_cannot_go_on_ends_the_server(house: House, tmp_path: Path) -> None:
    async def serve() -> None:
        stop = asyncio.Event()
        await house.server.serve(tmp_path / "vios.sock", stop, lambda: break_worker(house.server))

    with pytest.raises(VirtioCrqError, match="worker worker-0 has ended"):
        asyncio.run(asyncio.wait_for(serve(), 30))


class Stranger:
    """No link: no turn of a worker can be over it."""

    restless = 1
    next = None


def break_worker(server: Server) -> None:
    worker = server._workers[0]
    worker.call(lambda: worker.awake.append(Stranger()))  # type: ignore[arg-type]


PROGRAM = """
import sys
from virtio_crq.cli import main
from virtio_crq.vios.server import Server
start = Server.start
class Stranger:
    restless = 1
    next = None
def broken(self):
    start(self)
    worker = self._workers[0]
    worker.call(lambda: worker.awake.append(Stranger()))
Server.start = broken
sys.argv = ["virtio-crq", *sys.argv[1:]]
main()
"""


@pytest.mark.timeout(60)
def test_a_server_process_without_its_worker_ends_with_status_1_and_says_why(tmp_path: Path) -> None:
    with RunningMachine(tmp_path, MACHINE) as machine:
        machine.kill("vios1")
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, "vios", "run", "vios1", "--file", str(machine.file)],
            env=machine.environment, capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert done.returncode == 1, done.stderr
        assert done.stderr.splitlines()[-1].startswith("virtio-crq: worker worker-0 has ended: ")
        assert "Traceback" in done.stderr
        machine.start("vios1")
        assert [adapter["state"] for adapter in machine.lsmap()] == ["waiting for client"] * 2


FILTER = str(Path(__file__).parents[1] / "dataplane" / "syscallfilter.py")


def files(directory: Path, engine: str) -> str:
    text = MACHINE
    for number in (1, 2):
        with (directory / f"{number}.img").open("wb") as image:
            image.truncate(1 << 20)
        text = text.replace("ram:1M", f"file:{number}.img{engine}", 1)
    return text


def up(machine: RunningMachine) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, FILTER, sys.executable, "-m", "virtio_crq.cli", "up", str(machine.file), "--detach"]
    return subprocess.run(
        command, env=machine.environment, cwd=machine.directory, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.timeout(60)
def test_where_io_uring_is_forbidden_threads_serve_and_one_line_says_so(tmp_path: Path) -> None:
    machine = RunningMachine(tmp_path, files(tmp_path, ""))
    try:
        done = up(machine)
        assert done.returncode == 0, done.stderr
        machine.must("disk", "copy", "2.img", "web1/root")
        said = (machine.state / "vios1.log").read_text()
        assert said.count("io_uring cannot be used here: Operation not permitted; threads do the I/O of files") == 1
        assert said.count("\n") == 2, f"that line, and that it serves:\n{said}"
    finally:
        machine.__exit__()


@pytest.mark.timeout(60)
def test_where_io_uring_is_forbidden_asking_for_it_is_the_users_error(tmp_path: Path) -> None:
    machine = RunningMachine(tmp_path, files(tmp_path, ",engine=io_uring"))
    try:
        done = up(machine)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert (
            "1.img: io_uring cannot be used here: Operation not permitted; engine=auto would take threads"
            in done.stderr
        )
        assert not os.path.exists(machine.state / "vios1.pid")
    finally:
        machine.__exit__()
