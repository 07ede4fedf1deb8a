# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq guests image`: bad input is one line, status 2, and makes nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import virtio_crq


def image(lab: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "virtio_crq.cli", "guests", "image", *words],
        env=os.environ | {"VIRTIO_CRQ_LAB": str(lab), "PYTHONPATH": str(Path(virtio_crq.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("large", "a.img"), "kind 'large' is not one of small, debian"),
        (("small", "nowhere/a.img"), "nowhere: no such directory"),
        (("small", "there.img"), "there.img is there already; say --force to replace it"),
        (("small", "/dev/null"), "/dev/null is no ordinary file"),
        (("small", "a.img"), "run ./lab once, it fetches QEMU and the kernels"),
    ],
)
def test_what_cannot_be_made_is_one_line(
    words: tuple[str, str], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.img").write_bytes(b"mine")
    done = image(tmp_path / "lab", *words)
    assert done.returncode == 2
    assert why in done.stderr
    assert done.stderr.count("\n") == 1
    assert (tmp_path / "there.img").read_bytes() == b"mine"
    assert [path.name for path in tmp_path.iterdir()] == ["there.img"]
