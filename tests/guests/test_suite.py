# SPDX-License-Identifier: Apache-2.0
"""The whole suite by command, on each kernel: everything passes, and the report has what one would ask for."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from virtio_crq.cli.guesthostile import acts
from virtio_crq.guests.cache import KERNELS, Lab
from virtio_crq.guests.rungs import BASE, DEFAULT, Rung
from virtio_crq.guests.suite.table import TABLE

SECONDS = 600  # a kernel may take so long
BEGIN_SECONDS = 120.0


@pytest.mark.guest
@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize(("kernel", "rung"), [*((kernel, DEFAULT) for kernel in KERNELS), (KERNELS[0], BASE)])
def test_a_kernel_shows_all_that_it_has_to(kernel: str, rung: Rung, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    command = [sys.executable, "-m", "virtio_crq.cli", "guests", "test", "--kernel", kernel, "--json", str(file)]
    command += ["--rung", rung.name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    (report,) = json.loads(file.read_text())
    assert report["release"] == Lab.open().kernel(kernel).release
    names = [row.name for row in TABLE]
    assert [(row["name"], row["result"]) for row in report["checks"]] == [(name, "passed") for name in names]
    assert {"virtio_blk", "virtio_rng", "virtio_console"} <= {row["driver"] for row in report["devices"]}
    stock = {name: facts for name, facts in report["hashes"].items() if not facts.get("ours")}
    assert all(len(facts["sha256"]) == 64 and facts["package"].startswith("linux-") for facts in stock.values())
    assert {"virtio", "virtio_ring", "virtio_blk"} <= set(stock) | set(report["builtin"])
    assert [row["act"] for row in report["hostile"]] == [act.name for act in acts(rung)]
    assert report["longest_pause_seconds"] > 0
    assert report["seconds"] <= SECONDS


def offspring(parent: int) -> set[int]:
    """Processes whose environment has the mark of those that `parent` started, whoever took them over."""
    found = set()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if f"SUITE_TEST={parent}".encode() in (place / "environ").read_bytes().split(b"\0"):
                found.add(int(place.name))
        except OSError:
            continue  # it has just ended
    return found


@pytest.fixture
def runtime() -> Iterator[Path]:
    """For sockets, whose names have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="crq-", dir="/tmp") as place:
        yield Path(place)


@pytest.mark.guest
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_suite_leaves_no_process_and_no_file(number: signal.Signals, runtime: Path) -> None:
    mark = os.getpid()
    command = [sys.executable, "-m", "virtio_crq.cli", "guests", "test", "--only", "boot", "--only", "kills"]
    environment = {**os.environ, "SUITE_TEST": str(mark), "XDG_RUNTIME_DIR": str(runtime), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as suite:
        assert suite.stdout is not None
        for line in suite.stdout:  # until the guest is up, and the next check at work
            if "passed  boot" in line:
                break
        assert len(offspring(mark)) > 4  # itself, the hypervisor, the servers, QEMU
        suite.send_signal(number)
        said = suite.stdout.read()
        assert suite.wait(BEGIN_SECONDS) == 130, said
    assert "stopped; nothing is left behind" in said
    deadline = time.monotonic() + BEGIN_SECONDS
    while offspring(mark):  # what was killed may still be on its way
        assert time.monotonic() < deadline
        os.sched_yield()
    assert [path for path in runtime.rglob("*") if not path.is_dir()] == []
