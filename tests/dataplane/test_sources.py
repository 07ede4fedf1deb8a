# SPDX-License-Identifier: Apache-2.0
"""The same tests pass on the compiled data plane and on its sources."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from virtio_crq.dataplane import chains, kernel, ring, sources

HERE = Path(__file__).parent
DEVICE_SIDE = [
    "test_blockservice.py",
    "test_chains.py",
    "test_ordering.py",
    "test_stores.py",
    "test_twin.py",
    "test_worker.py",
    "test_writer.py",
]


@pytest.mark.skipif(sources.interpreted(), reason="this is the interpreted run")
def test_without_being_asked_the_data_plane_is_compiled() -> None:
    assert [sources.form(module) for module in (ring, chains, kernel)] == ["compiled"] * 3


@pytest.mark.skipif(sources.interpreted(), reason="this is the interpreted run")
@pytest.mark.timeout(120)
def test_the_device_side_passes_interpreted() -> None:
    paths = os.pathsep.join([str(Path(sources.__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *DEVICE_SIDE, f"{Path(__file__).name}"],
        cwd=HERE, env={**os.environ, sources.VARIABLE: "1", "PYTHONPATH": paths}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr


@pytest.mark.skipif(not sources.interpreted(), reason="this is the compiled run")
def test_when_asked_the_data_plane_runs_from_its_sources() -> None:
    assert [sources.form(module) for module in (ring, chains)] == ["interpreted"] * 2
    assert sources.form(kernel) == "compiled"
