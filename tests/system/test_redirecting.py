# SPDX-License-Identifier: Apache-2.0
"""A server that redirects the data of its files: verified I/O through kills, deaths and pages that are taken back."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from armedlives import Lives
from intruder import DATA, PAGE, Intruder
from machinetext import machine_text, mapped
from runningmachine import RunningMachine, reads_without_waiting
from verifiedload import load_on

from virtio_crq.cli.clientpartition import client_partition
from virtio_crq.hypervisor import binding_stops
from virtio_crq.hypervisor.attachment import attach
from virtio_crq.papr.profiles import EXTREMES
from virtio_crq.virtio import status

BLOCKS = 256
STORAGE = '[[storage]]\nserver = "vios1"\nslot = 10\nwindow = "16M"'
MAPPED = (
    mapped("web1/root", "file:web1.img"),
    mapped("web2/root", "file:web2.img"),
    mapped("web2/scratch", "ram:1M"),
)


@pytest.fixture(autouse=True)
def file_system(tmp_path: Path) -> None:
    """Where every read waits by what the kernel says, nothing is redirected, and nothing shown."""
    if not reads_without_waiting(tmp_path):
        pytest.skip(f"{tmp_path} is on a file system without RWF_NOWAIT")


def prepared(directory: Path, profile: str = "power9", server: str = "") -> RunningMachine:
    for name in ("web1", "web2"):
        (directory / f"{name}.img").write_bytes(bytes(BLOCKS * PAGE))
    text = machine_text(
        STORAGE,
        *MAPPED,
        clients=("web1", "web2"),
        machine=f'profile = "{profile}"',
        server=f'data = "redirect"\n{server}',
    )
    return RunningMachine(directory, text)


def counted(machine: RunningMachine, client: str) -> dict[str, int]:
    counters: dict[str, int] = machine.adapter(client)["targets"][0]["counters"]
    return counters


@pytest.mark.timeout(120)
@pytest.mark.clause("CRQ-D-174", "CRQ-H-15")
def test_a_server_killed_at_any_point_of_redirecting_loses_nothing_of_anybody(tmp_path: Path) -> None:
    points = [point for point in binding_stops.stop_points() if point.startswith(("clone_", "transfer_"))]
    machine = prepared(tmp_path)
    with (
        machine,
        load_on(machine.state, "web1", "root", BLOCKS, 8) as first,
        load_on(machine.state, "web2", "root", BLOCKS, 8) as second,
    ):
        machine.kill("vios1")
        lives = Lives(machine, "mortalserver.py", "vios1", machine.file)
        try:
            died = []
            for point in points:
                for skip in (0, 20):
                    if lives.one(f"{point} {skip} 0.4", [first, second]) == signal.SIGKILL:
                        died.append(point)
        finally:
            lives.close()
        machine.start("vios1")
        for load in (first, second):
            load.forgive()
            load.run(100)
            load.check_all()
        # Bit buckets are the client's to make, and its memory is its own here.
        assert set(died) == set(points) - {"clone_bucketed"}
        assert machine.refused("web1") == machine.refused("web2") == {}


@pytest.mark.timeout(60)
@pytest.mark.clause("CRQ-D-174")
def test_a_killed_client_is_forgotten_and_its_next_life_is_redirected(tmp_path: Path) -> None:
    program = Path(__file__).with_name("verifiedload.py")
    machine = prepared(tmp_path)
    with machine:
        for _ in range(3):
            victim = subprocess.Popen(
                [sys.executable, str(program), str(machine.state), "web1", "root"],
                env=machine.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            with victim:
                assert victim.stdout
                assert victim.stdin
                assert victim.stdout.readline() == "ready\n", machine.logs()
                victim.stdin.write("\n")
                victim.stdin.flush()
                assert victim.stdout.readline().strip().isdigit()
                victim.kill()
            before = counted(machine, "web1")["redirected"]
            with client_partition(machine.state, "web1") as client:
                disk = client.disk("root")
                disk.write(0, bytes(BLOCKS * PAGE))  # the dead client's generations mean nothing to the next
                assert disk.read(0, 8 * PAGE) == bytes(8 * PAGE)
            assert counted(machine, "web1")["redirected"] > before
        (storage,) = json.loads(machine.must("show", "--json", "--machine", machine.name))["storage"]
        assert (storage["server"], storage["slot"], storage["window"]) == ("vios1", 10, 16 << 20)
        assert storage["counters"]["transferred"] >= storage["counters"]["transfers"] * PAGE > 0
        shown = machine.must("show", "--machine", machine.name).splitlines()
        (header,) = [number for number, line in enumerate(shown) if line.startswith("storage of")]
        assert shown[header + 1].split()[:4] == ["vios1", "0x3000000a", "16", "MiB"]


@pytest.mark.timeout(60)
@pytest.mark.clause("CRQ-D-172")
def test_other_backings_of_the_same_server_go_by_copies(tmp_path: Path) -> None:
    machine = prepared(tmp_path)
    with machine:
        with client_partition(machine.state, "web2") as client:
            disk = client.disk("scratch")
            disk.write(0, b"r" * PAGE)
            assert disk.read(0, PAGE) == b"r" * PAGE
        targets = {row["target"]: row["counters"] for row in machine.adapter("web2")["targets"]}
        assert "redirected" not in targets["scratch"]
        assert targets["scratch"]["requests"] >= 2


@pytest.mark.timeout(60)
@pytest.mark.clause("CRQ-D-172", "CRQ-D-36")
@pytest.mark.parametrize("profile", EXTREMES, ids=lambda profile: profile.name)
def test_a_page_that_a_client_took_back_under_its_request_is_touched_no_more(tmp_path: Path, profile: object) -> None:
    """Whatever the server was doing with it; the worst is that this client's device stops. Another client goes on."""
    machine = prepared(tmp_path, profile.name)  # type: ignore[attr-defined]
    (tmp_path / "web2.img").write_bytes(b"\xd7" * PAGE * BLOCKS)
    came = 0
    with machine, load_on(machine.state, "web1", "root", BLOCKS, 8) as load:
        with attach(machine.state, "web2") as partition:
            intruder = Intruder(partition, machine.pid("vios1"))
            intruder.connect()
            intruder.hello()
            intruder.bring_up()
            for round in range(60):
                intruder.read_request(length=PAGE)
                intruder.make_available(0)
                intruder.announce()
                for _ in range(round % 20):
                    load.step(0)
                intruder.unmap(intruder.base + DATA, PAGE)
                came += intruder.port.load8(intruder.memory + DATA) == 0xD7
                intruder.port.write(intruder.memory + DATA, bytes(PAGE))
                for _ in range(20):
                    assert intruder.port.read(intruder.memory + DATA, PAGE) == bytes(PAGE)
                    load.step(0)
                intruder.remap()
                _recovered(intruder)
            intruder.close()
        load.run(100)
        load.check_all()
        assert machine.refused("web1") == {}
        assert set(machine.refused("web2")) <= {"copy-refused"}
        assert came, "no transfer ever came before the page was taken back: nothing was shown"


def _recovered(intruder: Intruder) -> None:
    """The next request can be made, after a reset where the device has stopped."""
    if intruder.status() & status.DEVICE_NEEDS_RESET:
        intruder.inbox.clear()
        intruder.bring_up()
    else:
        intruder.until(lambda: intruder.may_announce or intruder.status() & status.DEVICE_NEEDS_RESET, "credit")
        if not intruder.may_announce:
            intruder.inbox.clear()
            intruder.bring_up()
