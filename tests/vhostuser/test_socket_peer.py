# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq bench peers --socket`: a back-end of others is measured as it is, and goes on when we leave."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from smallserver import SmallServer

FAST = ("--case", "randread-4k-qd1", "--rung", "batched", "--rounds", "1", "--seconds", "0.1", "--notify", "sleeping")


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with TemporaryDirectory(prefix="peers-") as name:  # a socket's path must be short
        monkeypatch.setenv("XDG_RUNTIME_DIR", name)
        yield Path(name)


@pytest.fixture
def server(place: Path) -> Iterator[SmallServer]:
    server = SmallServer(place / "blk.sock", bytearray(4 << 20))
    yield server
    server.close()


def peers(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    (place / "image").write_bytes(bytes(range(1, 129)) * (1 << 15))
    where = ("--socket", str(place / "blk.sock"), "--file", str(place / "image"))
    command = [sys.executable, "-m", "virtio_crq.cli", "bench", "peers", *FAST, *where, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def test_it_is_measured_beside_ours_and_left_with_its_ring_stopped(place: Path, server: SmallServer) -> None:
    done = peers(place, "--json", str(place / "peers.json"))
    assert done.returncode == 0, done.stderr
    found = json.loads((place / "peers.json").read_text())
    assert [row["rung"] for row in found["summary"]] == ["batched", "vhost-user"]
    assert found["setting"]["socket"] == str(place / "blk.sock")
    assert found["tuning"] == []
    assert server.asked[-1] == "GET_VRING_BASE"
    assert list((place / "virtio-crq").iterdir()) == []


def test_one_that_dies_meanwhile_is_one_line_and_leaves_nothing(place: Path, server: SmallServer) -> None:
    server.dies_after = 5
    done = peers(place)
    assert (done.returncode, done.stderr) == (1, "virtio-crq: the client: the back-end went away during a load\n")
    assert list((place / "virtio-crq").iterdir()) == []
