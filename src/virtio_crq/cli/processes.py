# SPDX-License-Identifier: Apache-2.0
"""A machine's processes: started in sessions of their own, remembered in pid files, stopped by those.

A pid file holds pid, start time and command: a pid that was given to another process since is not ours to end.
"""

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from virtio_crq.cli.roles import Role
from virtio_crq.errors import UsageError
from virtio_crq.hypervisor.statedirectory import answers

READY_SECONDS = 20.0
STOP_SECONDS = 10.0
LOCK_FILE = "up.lock"
_TICK = 0.02  # between looks at a starting process; it tells us nothing by itself


@dataclass(frozen=True)
class Running:
    name: str
    pid: int
    argv: tuple[str, ...]


class ProcessTable:
    """The processes of the machine that lives in one state directory."""

    def __init__(self, state_directory: Path) -> None:
        self._directory = state_directory
        self._children: dict[int, subprocess.Popen[bytes]] = {}  # ours to reap, when this process started them

    def log(self, name: str) -> Path:
        return self._directory / f"{name}.log"

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """Held by the one command that starts this machine: two would each stop what the other has just started."""
        with (self._directory / LOCK_FILE).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(f"machine {self._directory.name} is just being started by another command") from None
            yield

    def start(self, role: Role) -> Running:
        """Start a role and wait until it is ready; one that ends instead is an error with its last words."""
        running = self.running().get(role.name)
        if running is not None:
            raise UsageError(f"{role.name} runs already, as process {running.pid}")
        with self.log(role.name).open("ab") as log:
            begin = log.tell()
            process = subprocess.Popen(
                role.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._children[process.pid] = process
        record = {"pid": process.pid, "started": _start_time(process.pid), "argv": role.argv}
        self._pid_file(role.name).write_text(json.dumps(record))
        deadline = time.monotonic() + READY_SECONDS
        while not answers(role.ready):
            if process.poll() is not None:
                self._pid_file(role.name).unlink(missing_ok=True)
                raise UsageError(self._last_words(role.name, begin, process.returncode))
            if time.monotonic() > deadline:
                self.stop(role.name)
                raise UsageError(f"{role.name} was not ready after {READY_SECONDS:.0f} s; see {self.log(role.name)}")
            time.sleep(_TICK)
        return Running(role.name, process.pid, role.argv)

    def running(self) -> dict[str, Running]:
        """Roles whose process is alive, by name."""
        found = {}
        for path in sorted(self._directory.glob("*.pid")):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                record = json.loads(path.read_text())
                child = self._children.get(record["pid"])
                ended = child is not None and child.poll() is not None
                if not ended and _start_time(record["pid"]) == record["started"]:
                    found[path.stem] = Running(path.stem, record["pid"], tuple(record["argv"]))
        return found

    def stop(self, name: str) -> bool:
        """SIGTERM, and SIGKILL for one that does not end; False when it did not run."""
        running = self.running().get(name)
        if running is not None:
            self._end(running.pid)
        self._pid_file(name).unlink(missing_ok=True)
        return running is not None

    def stop_all(self, last: str) -> list[str]:
        """Stop everything, `last` after all others; the names of what ran."""
        names = sorted(self.running(), key=lambda name: name == last)
        stopped = [name for name in names if self.stop(name)]
        for path in self._directory.glob("*.pid"):
            path.unlink(missing_ok=True)
        for child in self._children.values():
            child.poll()  # one that somebody else stopped is still ours to reap
        return stopped

    def wait(self, seconds: float | None) -> None:
        """Until a process of the table ends, at most that long; None waits for ever."""
        descriptors = []
        try:
            for running in self.running().values():
                with contextlib.suppress(ProcessLookupError):
                    descriptors.append(os.pidfd_open(running.pid))
            select.select(descriptors, [], [], seconds)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def ended(self, pid: int) -> str:
        """How a process that this table started ended."""
        child = self._children.get(pid)
        code = child.poll() if child is not None else None
        if code is None:
            return "ended"
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"

    def _end(self, pid: int) -> None:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            for number in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(descriptor, number)
                if select.select([descriptor], [], [], STOP_SECONDS)[0]:
                    break
        finally:
            os.close(descriptor)
        if pid in self._children:
            self._children.pop(pid).wait()

    def _pid_file(self, name: str) -> Path:
        return self._directory / f"{name}.pid"

    def _last_words(self, name: str, begin: int, status: int) -> str:
        written = self.log(name).read_bytes()[begin:].decode(errors="replace").split("\n")
        words = [text.strip() for text in written if text.strip()]
        if not words:
            return f"{name} ended with status {status} and said nothing"
        return f"{name}: {words[-1].removeprefix('virtio-crq: ')}"


def _start_time(pid: int) -> str | None:
    """Field 22 of /proc/PID/stat: with the pid it names a process for good. None when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]
