# SPDX-License-Identifier: Apache-2.0
"""The I/O server is killed with -9 under verified writes and comes back: nothing is lost, nothing hangs."""

import subprocess
from pathlib import Path

import pytest
from runningmachine import COMMAND, RunningMachine, reads_without_waiting
from verifiedload import VerifiedLoad, load_on

from combinations import PLAIN, Combination, selected
from virtio_crq.cli.clientpartition import client_partition

BLOCKS = 1024
KILLS = 20
FEW_KILLS = 3
LONGEST = 5.0  # seconds for any request once the server is back

MACHINE = """
[machine]
name = "system"
{platform}
[partition.vios1]
memory = "32M"
{server}
[partition.web1]
memory = "32M"
[[adapter]]
client = "web1"
slot = 2
server = "vios1"
{adapter}
[[map]]
client = "web1"
target = "root"
backing = "file:root.img"
queues = {queues}
"""


def prepared(directory: Path, combination: Combination = PLAIN, more: str = "", queues: int = 1) -> RunningMachine:
    """A machine with one disk; `more` lines for its server's table."""
    with (directory / "root.img").open("wb") as image:
        image.truncate(BLOCKS * 4096)
    return RunningMachine(directory, combination.described(MACHINE, more, queues=str(queues)))


@pytest.fixture
def machine(tmp_path: Path) -> RunningMachine:
    return prepared(tmp_path)


def restart_under(load: VerifiedLoad, machine: RunningMachine) -> None:
    """Kill the server, start it again, and keep the client running all the while."""
    machine.kill("vios1")
    restart = subprocess.Popen(
        [*COMMAND, "start", "vios1", "--machine", machine.name],
        env=machine.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while restart.poll() is None:
        load.step(0.02)
    said = restart.communicate()[0]
    assert restart.returncode == 0, said + machine.logs()
    load.forgive()


@pytest.mark.timeout(240)
@pytest.mark.clause("CRQ-D-85", "CRQ-D-88", "CRQ-D-89", "CRQ-F-31", "CRQ-F-32", "CRQ-F-33")
def test_twenty_kills_lose_nothing_and_delay_nobody(machine: RunningMachine) -> None:
    survives(machine, KILLS, 300, PLAIN)


@pytest.mark.timeout(120)
@pytest.mark.clause("CRQ-D-37", "CRQ-D-85", "CRQ-D-88", "CRQ-D-124", "CRQ-D-129", "CRQ-D-130", "CRQ-F-52")
@pytest.mark.clause("CRQ-D-149", "CRQ-D-151", "CRQ-F-68", "CRQ-D-171", "CRQ-D-174", "CRQ-F-95", "CRQ-F-97")
@pytest.mark.clause("CRQ-D-162", "CRQ-D-163", "CRQ-F-83", "CRQ-F-84", "CRQ-F-85")
@pytest.mark.parametrize(("combination", "queues"), selected(queues=("1", "2", "4")))
def test_kills_lose_nothing(tmp_path: Path, combination: Combination, queues: str) -> None:
    machine = prepared(tmp_path, combination, queues=int(queues))
    survives(machine, FEW_KILLS, 100 if combination.copies else 300, combination)


def survives(machine: RunningMachine, kills: int, between: int, combination: Combination) -> None:
    with machine, load_on(machine.state, "web1", "root", BLOCKS, options=combination.options) as load:
        combination.shown_by(load.disk)
        load.run(between)
        for _kill in range(kills):
            restart_under(load, machine)
            load.run(between)
            assert load.slowest < LONGEST, f"a request took {load.slowest:.1f} s"
        load.check_all()
        combination.shown_by(load.disk)
        carries(combination, machine, load)
        assert machine.refused("web1") == {}
    final = (machine.directory / "root.img").read_bytes()
    for number in range(BLOCKS):
        load.ledger.check(number, final[number * 4096 : (number + 1) * 4096])


def carries(combination: Combination, machine: RunningMachine, load: VerifiedLoad) -> None:
    """Data went the way that the combination says, and by each of the disk's queues."""
    target = machine.adapter("web1")["targets"][0]
    combination.seen_in(target)
    counters = target["counters"]
    assert len(load.disk.lanes) == len(target["queues"])
    assert all(queue["enabled"] and queue["requests"] for queue in target["queues"]), target["queues"]
    if combination.data == "planned":
        pass  # it goes the way that costs less at that time
    elif combination.data == "copy" or reads_without_waiting(machine.directory):
        assert (counters.get("redirected", 0) > 100) == (combination.data == "redirect"), counters


@pytest.mark.timeout(120)
@pytest.mark.clause("CRQ-D-81", "CRQ-F-29")
def test_a_killed_client_is_forgotten_and_its_next_life_served(machine: RunningMachine) -> None:
    program = Path(__file__).with_name("verifiedload.py")
    with machine:
        for life in range(3):
            victim = subprocess.Popen(
                [COMMAND[0], str(program), str(machine.state), "web1", "root"],
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
            with client_partition(machine.state, "web1") as client:
                disk = client.disk("root")
                disk.write(0, bytes(4096))  # the dead client's generations mean nothing to the next
                assert disk.read(0, 4096) == bytes(4096)
                disk.write(0, bytes(BLOCKS * 4096))
            adapter = machine.adapter("web1")
            assert adapter["state"] == "waiting for client"
            assert adapter["targets"][0]["queues"][0]["in_flight"] == 0
            assert not adapter["targets"][0]["queues"][0]["enabled"]
            assert adapter["counters"]["sessions"] == 2 * (life + 1)
