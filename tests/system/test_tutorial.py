# SPDX-License-Identifier: Apache-2.0
"""The tutorial, followed as it is written: its machine file, its commands one after the other in one shell."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from runningmachine import PATIENCE

import virtio_crq

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial" / "first-machine.md"


def blocks(language: str) -> list[str]:
    fences = re.findall(r"^```(\w*)\n(.*?)^```", TUTORIAL.read_text(), re.MULTILINE | re.DOTALL)
    return [body for kind, body in fences if kind == language]


@pytest.mark.timeout(90)
def test_the_tutorial_works_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "first.toml").write_text(blocks("toml")[0])
    command = tmp_path / "bin" / "virtio-crq"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m virtio_crq.cli "$@"\n')
    command.chmod(0o755)
    runtime = tempfile.mkdtemp(prefix="vc")
    environment = os.environ | {
        "PATH": f"{command.parent}:{os.environ['PATH']}:/usr/sbin:/sbin",
        "PYTHONPATH": str(Path(virtio_crq.__file__).parents[1]),
        "XDG_RUNTIME_DIR": runtime,
        "COLUMNS": "200",
    }

    def shell(script: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["sh", "-ec", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE
        )

    try:
        done = shell("".join(blocks("sh")))
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
        for said in (
            "machine first is up",
            "vhost0",
            "\nidentical\n",
            "H_COPY_RDMA(length=0x1000",
            "machine first is down",
        ):
            assert said in done.stdout, done.stdout
    finally:
        shell("virtio-crq down")
        shutil.rmtree(runtime, ignore_errors=True)


def test_the_mistake_in_the_tutorial_is_answered_as_it_says(tmp_path: Path) -> None:
    """In the tutorial the message of a mistake in the machine file is quoted; it has to be what is said."""
    quoted = next(line for body in blocks("") for line in body.splitlines() if "first.toml:" in line)
    file = tmp_path / "first.toml"
    file.write_text(blocks("toml")[0].replace('client = "web1"\ntarget', 'client = "web2"\ntarget'))
    done = subprocess.run(
        [sys.executable, "-m", "virtio_crq.cli", "up", "first.toml"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(virtio_crq.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip() == quoted
