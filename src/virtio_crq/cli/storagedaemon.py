# SPDX-License-Identifier: Apache-2.0
"""QEMU's storage daemon as a peer: the same file as a vhost-user-blk device on a Unix socket."""

import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from virtio_crq.cli.interruption import held_back
from virtio_crq.errors import UsageError, VirtioCrqError

PROGRAM = "qemu-storage-daemon"
MISSING = (
    f"{PROGRAM} is not installed; on Debian 12 type: sudo apt-get install -y --no-install-recommends qemu-system-common"
)
AIO = ("io_uring", "threads")
READY_SECONDS = 20.0
STOP_SECONDS = 10.0
_TICK = 0.01


def find_daemon(given: Path | None = None) -> str:
    """The program to run; a missing one is told by the one line that installs it."""
    found = shutil.which(str(given) if given else PROGRAM)
    if found is None:
        raise UsageError(f"{given}: there is no such program" if given else MISSING)
    return found


def version(program: str) -> str:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    return said.partition("\n")[0].rpartition("version ")[2] or "of an unknown version"


def arguments(
    program: str, image: Path, socket: Path, pid_file: Path, aio: str, polling: int, queues: int = 1
) -> list[str]:
    """Through the page cache, as our own server does it, in an iothread that polls for at most `polling` ns."""
    return [
        program,
        "--blockdev", f"driver=file,node-name=disk,filename={_escaped(image)},aio={aio},cache.direct=off",
        "--object", f"iothread,id=io,poll-max-ns={polling}",
        "--export", f"type=vhost-user-blk,id=peer,node-name=disk,addr.type=unix,addr.path={_escaped(socket)},"
        f"writable=on,iothread=io,num-queues={queues}",
        "--pidfile", str(pid_file),
    ]  # fmt: skip


def _escaped(path: Path) -> str:
    return str(path).replace(",", ",,")


@contextmanager
def storage_daemon(
    program: str, image: Path, directory: Path, aio: str, polling: int, queues: int = 1
) -> Iterator[Path]:
    """Where it listens; it is gone afterwards, whatever happens."""
    socket, pid_file, log = directory / "peer.sock", directory / "peer.pid", directory / "peer.log"
    for each in (socket, pid_file):
        each.unlink(missing_ok=True)
    with ExitStack() as stack:
        with log.open("wb") as said, held_back():
            process = subprocess.Popen(
                arguments(program, image, socket, pid_file, aio, polling, queues),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,  # Ctrl-C is for the command, which ends it
            )
            stack.callback(_end, process)
        _await(process, pid_file, log)
        yield socket


def _await(process: subprocess.Popen[bytes], pid_file: Path, log: Path) -> None:
    """It writes its pid file once it listens. Connecting would not do: it takes one front-end at a time."""
    deadline = time.monotonic() + READY_SECONDS
    while not pid_file.exists():
        if process.poll() is not None:
            words = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
            raise VirtioCrqError(words[-1] if words else f"{PROGRAM} ended with status {process.returncode}")
        if time.monotonic() > deadline:
            raise VirtioCrqError(f"{PROGRAM} was not ready after {READY_SECONDS:g} s; see {log}")
        time.sleep(_TICK)


def _end(process: subprocess.Popen[bytes]) -> None:
    descriptor = os.pidfd_open(process.pid) if process.poll() is None else -1
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if descriptor < 0:
                break
            process.send_signal(number)
            if select.select([descriptor], [], [], STOP_SECONDS)[0]:
                break
    finally:
        if descriptor >= 0:
            os.close(descriptor)
        process.wait()
