# SPDX-License-Identifier: Apache-2.0
"""Lives of a partition's process that end at a stop point of the engine, one after the other, under loads of others."""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from runningmachine import RunningMachine
from verifiedload import VerifiedLoad

from combinations import COMBINATIONS, Row, selected


def dealt() -> list[Any]:
    """For `parametrize(("share", "combination"), dealt())`: which of the stop points which combination is killed at.

    Each point is somebody's; with CHECK_COMBINATIONS=all each is every combination's, one in this of what it may meet
    and one in that.
    """
    tables: dict[Row, list[Any]] = {}
    for row in selected():
        tables.setdefault(row.values[0].axes if COMBINATIONS == "all" else (), []).append(row)
    return [
        pytest.param(slice(index, None, len(rows)), *row.values, id=row.id)
        for rows in tables.values()
        for index, row in enumerate(rows)
    ]


class Lives:
    """`program` (`mortal.py`, `mortalserver.py`) takes one order a line and answers with the signal that ended it."""

    def __init__(self, machine: RunningMachine, program: str, *arguments: str | os.PathLike[str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name(program)), str(machine.state), *arguments],
            env=machine.environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def one(self, order: str, loads: Sequence[VerifiedLoad]) -> int:
        """How the life ended; the loads run meanwhile."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{order}\n")
        self.process.stdin.flush()
        answers: list[str] = []
        reader = threading.Thread(target=lambda: answers.append(self.process.stdout.readline()))  # type: ignore[union-attr]
        reader.start()
        while reader.is_alive():
            for load in loads:
                load.step(0.005)
        return int(answers[0])

    def close(self) -> None:
        with self.process:
            self.process.kill()
