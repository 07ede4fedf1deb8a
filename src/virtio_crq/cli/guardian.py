# SPDX-License-Identifier: Apache-2.0
"""Takes a machine down when the command that it belongs to is killed, which then can do nothing itself.

A process of its own, with nothing else to do: its standard input is a pipe whose other end only the command has.
"""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from virtio_crq.cli.processes import ProcessTable
from virtio_crq.cli.roles import HYPERVISOR
from virtio_crq.cli.teardown import take_down
from virtio_crq.errors import VirtioCrqError

STOP_SECONDS = 10.0
DONE = "done"


class Guardian:
    """The command's end of the pipe."""

    def __init__(self, directory: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "virtio_crq.cli.guardian", str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # it outlives the terminal
            text=True,
        )

    def watch(self, pid: int) -> None:
        """This process belongs to the machine, which is known by its hypervisor; to be said before it is ready."""
        self._say(str(pid))

    def dismiss(self) -> None:
        """The command has cleaned up itself; that may be said again."""
        assert self._process.stdin is not None
        if self._process.stdin.closed:
            return
        self._say(DONE)
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self._process.communicate(timeout=STOP_SECONDS)

    def _say(self, word: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # somebody killed it
            print(word, file=self._process.stdin, flush=True)


@contextlib.contextmanager
def guarded(directory: Path) -> Iterator[Guardian]:
    """A guardian who is gone afterwards."""
    guardian = Guardian(directory)
    try:
        yield guardian
    finally:
        guardian.dismiss()


def guard(directory: Path, words: Iterator[str]) -> bool:
    """Read until the command's end; whether it had left a machine, which is then no more."""
    said = [word.strip() for word in words]
    if not said or said[-1] == DONE:
        return False
    hypervisor = ProcessTable(directory).running().get(HYPERVISOR)
    if hypervisor is None or str(hypervisor.pid) not in said:
        return False  # what is there now is somebody else's
    with contextlib.suppress(VirtioCrqError):  # somebody else just takes it down
        take_down(directory)
    return True


if __name__ == "__main__":
    guard(Path(sys.argv[1]), iter(sys.stdin))
