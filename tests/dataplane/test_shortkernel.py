# SPDX-License-Identifier: Apache-2.0
"""A kernel that is short of something delays requests and loses none; stable writes are asked for as such."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).with_name("shortkernel.py")
RWF_DSYNC = 2
here = pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of system calls are those of x86-64")


def run(what: str, image: Path, code: int, times: int) -> dict[str, Any]:
    with image.open("wb") as file:
        file.truncate(1 << 20)
    command = [sys.executable, str(PROGRAM), what, str(image), str(code), str(times)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.EBUSY, errno.EINTR])
def test_a_lone_request_that_the_kernel_does_not_take_at_once_is_taken_later(tmp_path: Path, code: int) -> None:
    found = run("lone", tmp_path / "image", code, 3)
    assert found["statuses"] == [0]
    assert len(found["calls"]) >= 4


def test_more_requests_than_slots_wait_their_turn_and_none_is_lost(tmp_path: Path) -> None:
    """The kernel takes nothing until all 256 slots are full."""
    image = tmp_path / "image"
    found = run("flood", image, errno.EAGAIN, 80)
    assert found["statuses"] == [0] * 300
    assert found["misses"] == 300
    assert image.read_bytes()[: 300 * 512] == b"".join(number.to_bytes(2, "little") * 256 for number in range(300))


@here
def test_more_writes_than_a_writer_has_room_for_wait_their_turn_and_none_is_lost(tmp_path: Path) -> None:
    """The first write does not end before all 256 slots are full; a signal then interrupts it and two more."""
    image = tmp_path / "image"
    found = run("apart", image, errno.EINTR, 3)
    assert found["statuses"] == [0] * 300
    assert len(found["calls"]) == 303
    assert image.read_bytes()[: 300 * 512] == b"".join(number.to_bytes(2, "little") * 256 for number in range(300))


@here
def test_writethrough_asks_for_a_stable_write_which_no_writer_makes_and_flush_for_fdatasync(tmp_path: Path) -> None:
    calls = dict(run("stable", tmp_path / "image", 0, 0)["calls"])
    assert set(calls) == {328, 75}
    assert calls[328][5] == RWF_DSYNC
