# SPDX-License-Identifier: Apache-2.0
"""Every type of device works over packed rings, and goes on after its server was killed."""

import itertools
import random
from pathlib import Path

import pytest
from machinetext import machine_text, mapped
from runningmachine import RunningMachine

from virtio_crq.cli.clientpartition import client_partition
from virtio_crq.client.client import Client
from virtio_crq.client.device import Options

MAPPED = (
    mapped("web1/root", "file:root.img"),
    mapped("web1/rng0", "random", 'device = "entropy"'),
    mapped("web1/tty", "log:tty.log", 'device = "console"', 'ports = ["agent=log:agent.log"]'),
)
SIZE = 1 << 20


@pytest.mark.timeout(90)
@pytest.mark.clause("CRQ-D-104", "CRQ-F-52", "CRQ-D-128")
@pytest.mark.parametrize(
    ("server", "options"),
    [
        ("", Options(fetch="batched", ring="packed")),
        ('fetch = "naive"', Options(fetch="batched", ring="packed", event_idx=False)),
        ("", Options(fetch="batched", ring="packed", in_order=True, indirect=True)),
    ],
    ids=["batched", "naive", "in-order"],
)
def test_disk_entropy_and_console_over_packed_rings(tmp_path: Path, server: str, options: Options) -> None:
    (tmp_path / "root.img").write_bytes(bytes(SIZE))
    with RunningMachine(tmp_path, machine_text(*MAPPED, server=f'ring = "packed"\n{server}')) as machine:
        with client_partition(machine.state, "web1", options) as client:
            said = b""
            for life in range(3):
                if life:
                    machine.kill("vios1")
                    machine.start("vios1")
                said += speak(client, life)
            for device in (client.disk("root"), client.entropy(), client.console()):
                assert device.ring_layout == "packed"
        assert not machine.refused("web1")
    assert (tmp_path / "agent.log").read_bytes() == said


def speak(client: Client, life: int) -> bytes:
    """Some work for each device; what went to the console."""
    data = random.Random(life).randbytes(SIZE)
    disk = client.disk("root")
    disk.write(0, data)
    disk.flush()
    assert disk.read(0, SIZE) == data
    assert len(set(client.entropy().read(4096))) > 200
    console = client.console()
    for _ in itertools.count():
        if any(port.name == "agent" for port in console.ports):
            break
        client.turn(0.01)
    agent = console.port("agent").number
    if life == 0:
        console.open_port(agent)
    lines = [b"%d lives, line %d\n" % (life, number) for number in range(30)]
    client.wait([console.start_write(line, agent) for line in lines])
    return b"".join(lines)
