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
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from virtio_crq.cli.interruption import held_back
from virtio_crq.cli.roles import Role
from virtio_crq.errors import UsageError
from virtio_crq.hypervisor.statedirectory import listener

READY_SECONDS = 20.0
STOP_SECONDS = 10.0
LOCK_FILE = "up.lock"
_TICK = 0.02  # between looks at a starting process; it tells us nothing by itself


@dataclass(frozen=True)
class Running:
    name: str
    pid: int
    argv: tuple[str, ...]
    started: str  # with the pid it names a process for good


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
        lock = None
        while lock is None:
            lock = self._lock()
        try:
            yield
        finally:
            os.close(lock)

    def _lock(self) -> int | None:
        """None when the directory went away meanwhile, with the machine that was there: a lock nobody else can see."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        path = self._directory / LOCK_FILE
        try:
            lock = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(lock), path.stat()):
                return lock
        except BlockingIOError:
            os.close(lock)
            machine = self._directory.name
            raise UsageError(f"machine {machine} is just being started or stopped by another command") from None
        except FileNotFoundError:
            pass
        os.close(lock)
        return None

    def start(self, role: Role, begun: Callable[[int], None] = lambda pid: None) -> Running:
        """Start a role and wait until it is ready; one that ends instead is an error with its last words.

        `begun` is told its pid at once, before anybody else can know of it.
        """
        running = self.running().get(role.name)
        known = running.pid if running is not None else _lasting(role.ready)  # perhaps started by hand
        if known is not None:
            raise UsageError(f"{role.name} runs already, as process {known}")
        with self.log(role.name).open("ab") as log, held_back():  # or it would run on, and nobody know of it
            begin = log.tell()
            process = subprocess.Popen(
                role.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
            self._children[process.pid] = process
            begun(process.pid)
            made = Running(role.name, process.pid, role.argv, _start_time(process.pid) or "")
            record = {"pid": made.pid, "started": made.started, "argv": made.argv}
            self._pid_file(role.name).write_text(json.dumps(record))
        deadline = time.monotonic() + READY_SECONDS
        while listener(role.ready) != process.pid:
            if process.poll() is not None:
                self._forget(made)
                raise UsageError(self._last_words(role.name, begin, process.returncode))
            if time.monotonic() > deadline:
                self._end(made)
                self._forget(made)
                raise UsageError(f"{role.name} was not ready after {READY_SECONDS:.0f} s; see {self.log(role.name)}")
            time.sleep(_TICK)
        return made

    def running(self) -> dict[str, Running]:
        """Roles whose process is alive, by name."""
        found = {}
        for path in sorted(self._directory.glob("*.pid")):
            recorded = _recorded(path)
            if recorded is None:
                continue
            child = self._children.get(recorded.pid)
            ended = child is not None and child.poll() is not None
            if not ended and _start_time(recorded.pid) == recorded.started:
                found[path.stem] = recorded
        return found

    def stop(self, name: str) -> bool:
        """SIGTERM, and SIGKILL for one that does not end; False when it did not run."""
        running = self.running().get(name)
        if running is not None:
            self._end(running)
        self._pid_file(name).unlink(missing_ok=True)
        return running is not None

    def stop_all(self, last: str) -> list[str]:
        """Stop everything, `last` after all others; the names of what ran."""
        stopped = self._stop(self.running(), last)
        for path in self._directory.glob("*.pid"):
            path.unlink(missing_ok=True)
        return stopped

    def stop_mine(self, last: str) -> list[str]:
        """As `stop_all`, but nothing of another machine that was made here since.

        As long as `last`, which this table started, is alive, what runs here belongs to its machine.
        """
        running = self.running()  # before the look at our own: what begins here afterwards is not in it
        if last not in running or running[last].pid not in self._children:
            running = {name: each for name, each in running.items() if each.pid in self._children}
        return self._stop(running, last)

    def _stop(self, running: dict[str, Running], last: str) -> list[str]:
        names = sorted(running, key=lambda name: name == last)
        for name in names:
            self._end(running[name])
            self._forget(running[name])
        for child in self._children.values():
            child.poll()  # one that somebody else stopped is still ours to reap
        return names

    def wait(self, seconds: float, known: Iterable[Running] | None = None) -> None:
        """Until one of `known`, or of the table, is not alive, at most that long.

        Never for ever: a signal that comes just before the system call does not end it, and is heard of afterwards.
        """
        descriptors = []
        try:
            for running in self.running().values() if known is None else known:
                descriptor = _open(running)
                if descriptor is None:
                    return
                descriptors.append(descriptor)
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

    def _end(self, running: Running) -> None:
        descriptor = _open(running)
        if descriptor is not None:
            try:
                for number in (signal.SIGTERM, signal.SIGKILL):
                    with contextlib.suppress(ProcessLookupError):
                        signal.pidfd_send_signal(descriptor, number)
                        signal.pidfd_send_signal(descriptor, signal.SIGCONT)  # one that was stopped hears of it
                    if select.select([descriptor], [], [], STOP_SECONDS)[0]:
                        break
            finally:
                os.close(descriptor)
        if running.pid in self._children:
            self._children.pop(running.pid).wait()

    def _forget(self, running: Running) -> None:
        """Its pid file, unless another process stands in it by now."""
        path = self._pid_file(running.name)
        if _recorded(path) == running:
            path.unlink(missing_ok=True)

    def _pid_file(self, name: str) -> Path:
        return self._directory / f"{name}.pid"

    def _last_words(self, name: str, begin: int, status: int) -> str:
        written = self.log(name).read_bytes()[begin:].decode(errors="replace").split("\n")
        words = [text.strip() for text in written if text.strip()]
        if not words:
            return f"{name} ended with status {status} and said nothing"
        return f"{name}: {words[-1].removeprefix('virtio-crq: ')}"


def _recorded(path: Path) -> Running | None:
    """What a pid file says; None when it is gone or says nothing of the kind."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        record = json.loads(path.read_text())
        pid, started = record["pid"], record["started"]
        if isinstance(pid, int) and pid > 0 and isinstance(started, str):
            return Running(path.stem, pid, tuple(record["argv"]), started)
    return None


def _open(running: Running) -> int | None:
    """A descriptor of that very process; None when it has ended."""
    try:
        descriptor = os.pidfd_open(running.pid)
    except OSError:
        return None
    if _start_time(running.pid) == running.started:  # after opening: from now on the pid stays its own
        return descriptor
    os.close(descriptor)
    return None


def _lasting(socket: Path) -> int | None:
    """Who answers at `socket`, once a process that was killed has let go of it: its threads outlive its first one."""
    deadline = time.monotonic() + STOP_SECONDS
    while (known := listener(socket)) is not None and _start_time(known) is None and time.monotonic() < deadline:
        time.sleep(_TICK)
    return known


def _start_time(pid: int) -> str | None:
    """Field 22 of /proc/PID/stat. None when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]
