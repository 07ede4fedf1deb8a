# SPDX-License-Identifier: Apache-2.0
"""A client that attached by itself ends, with one clear line, when its machine goes down or loses its hypervisor."""

import os
import select
import subprocess
from pathlib import Path

import pytest
from machinetext import machine_text, mapped
from runningmachine import COMMAND, RunningMachine

from virtio_crq.cli.clientpartition import client_partition
from virtio_crq.client.client import Client
from virtio_crq.client.disk import Disk
from virtio_crq.errors import VirtioCrqError

MACHINE = machine_text(mapped("web1/root", "ram:1M"))
LINE = "virtio-crq: the machine's hypervisor has ended\n"


def bring_down(machine: RunningMachine, how: str) -> None:
    if how == "down":
        machine.must("down", "--machine", machine.name)
    else:
        machine.kill("hypervisor")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("how", ["down", "kill -9"])
def test_an_export_ends_with_its_machine(tmp_path: Path, how: str) -> None:
    socket = tmp_path / "nbd"
    with RunningMachine(tmp_path, MACHINE) as machine:
        export = subprocess.Popen(
            [*COMMAND, "disk", "export", "--nbd", str(socket), "web1/root", "--machine", machine.name],
            env=machine.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        with export:
            assert export.stdout is not None
            while export.stdout.readline() != "Ctrl-C ends the export\n":
                assert export.poll() is None
            bring_down(machine, how)
            _, said = export.communicate(timeout=20)
        assert (export.returncode, said) == (1, LINE)
        assert not socket.exists()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("how", ["down", "kill -9"])
def test_a_waiting_call_ends_with_its_machine(tmp_path: Path, how: str) -> None:
    with RunningMachine(tmp_path, MACHINE) as machine, client_partition(machine.state, "web1") as client:
        disk = client.disk("root")
        bring_down(machine, how)
        with pytest.raises(VirtioCrqError, match="the machine's hypervisor has ended"):
            read_for_ever(client, disk)


def read_for_ever(client: Client, disk: Disk) -> None:
    """Its server may outlive a killed hypervisor for a while."""
    while True:
        disk.read(0, 4096)
        client.turn(0.01)


@pytest.mark.timeout(60)
def test_a_server_ends_with_its_hypervisor_and_says_why(tmp_path: Path) -> None:
    with RunningMachine(tmp_path, MACHINE) as machine:
        server = os.pidfd_open(machine.pid("vios1"))
        try:
            machine.kill("hypervisor")
            assert select.select([server], [], [], 20)[0], "the server outlives its machine"
        finally:
            os.close(server)
        assert LINE in (machine.state / "vios1.log").read_text()
