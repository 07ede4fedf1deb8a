# SPDX-License-Identifier: Apache-2.0
"""The whole path: hypervisor, I/O server and client as processes; bytes written come back, and stand in the image."""

import hashlib
import json
import random
from pathlib import Path

import pytest
from machinetext import machine_text, mapped
from runningmachine import RunningMachine

from virtio_crq.cli.clientpartition import client_partition

MAPPED = (
    mapped("web1/scratch", "ram:8M"),
    mapped("web1/rng", "kernel", 'device = "entropy"'),
    mapped("web1/cd", "file:cd.img", "readonly = true"),
)
SIZE = 8 << 20


def image(path: Path, size: int) -> Path:
    path.write_bytes(random.Random(size).randbytes(size))
    return path


@pytest.mark.timeout(90)
@pytest.mark.parametrize(
    ("options", "engine"),
    [("", ""), ('fetch = "naive"', ",engine=threads"), ("polling = 0", ",engine=io_uring")],
    ids=["batched-auto", "naive-threads", "sleeping-uring"],
)
def test_what_a_client_writes_it_reads_back_and_the_image_has(tmp_path: Path, options: str, engine: str) -> None:
    image(tmp_path / "root.img", SIZE)
    disc = image(tmp_path / "cd.img", 1 << 20).read_bytes()
    data = random.Random(7).randbytes(SIZE)
    with RunningMachine(
        tmp_path, machine_text(mapped("web1/root", f"file:root.img{engine}"), *MAPPED, server=options)
    ) as machine:
        with client_partition(machine.state, "web1") as client:
            for name in ("root", "scratch"):
                disk = client.disk(name)
                assert disk.capacity == SIZE
                disk.write(0, data)
                disk.flush()
                assert hashlib.sha256(disk.read(0, SIZE)).digest() == hashlib.sha256(data).digest()
            assert client.disk("cd").readonly
            assert client.disk("cd").read(0, len(disc)) == disc
            assert client.entropy().read(4096) != bytes(4096)
            view = machine.adapter("web1")
            assert view["state"] == "open"
            assert [target["target"] for target in view["targets"]] == ["root", "scratch", "rng", "cd"]
            root = view["targets"][0]
            assert root["size"] == SIZE
            assert "FLUSH" in root["features"]
            assert "DRIVER_OK" in root["state"]
            assert root["counters"]["requests"] >= SIZE // (128 << 10)
            assert not machine.refused("web1")
            stat = json.loads(machine.must("vios", "stat", "--json", "--interval", "0.1"))
            assert {row["target"] for row in stat} == {"root", "scratch", "rng", "cd"}
            assert all(row["hcalls_per_io"] is row["copies_per_io"] is None for row in stat), "nobody asks for anything"
        assert (tmp_path / "root.img").read_bytes() == data
        assert (tmp_path / "cd.img").read_bytes() == disc
