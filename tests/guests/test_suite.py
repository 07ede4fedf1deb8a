# SPDX-License-Identifier: Apache-2.0
"""The whole suite by command, on each kernel: everything passes, and the report has what one would ask for."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from virtio_crq.cli.guesthostile import acts
from virtio_crq.guests.cache import KERNELS, Lab
from virtio_crq.guests.suite.table import ORDER

SECONDS = 600  # a kernel may take so long


@pytest.mark.guest
@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_kernel_shows_all_that_it_has_to(kernel: str, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    command = [sys.executable, "-m", "virtio_crq.cli", "guests", "test", "--kernel", kernel, "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    (report,) = json.loads(file.read_text())
    assert report["release"] == Lab.open().kernel(kernel).release
    assert [(row["name"], row["result"]) for row in report["checks"]] == [(name, "passed") for name in ORDER]
    assert {"virtio_blk", "virtio_rng"} <= {row["driver"] for row in report["devices"]}
    stock = {name: facts for name, facts in report["hashes"].items() if not facts.get("ours")}
    assert all(len(facts["sha256"]) == 64 and facts["package"].startswith("linux-") for facts in stock.values())
    assert {"virtio", "virtio_ring", "virtio_blk"} <= set(stock) | set(report["builtin"])
    assert [row["act"] for row in report["hostile"]] == [act.name for act in acts()]
    assert report["longest_pause_seconds"] > 0
    assert report["seconds"] <= SECONDS
