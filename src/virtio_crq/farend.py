# SPDX-License-Identifier: Apache-2.0
"""Who is at the far end of a Unix socket, for who waits there in vain: a process that was stopped answers nobody."""

import logging
import select
import socket
import struct
from pathlib import Path

from virtio_crq.errors import UsageError

FIRST_SECONDS = 5.0  # of silence, until it is told of
STOPPED = ("T", "t")  # of /proc/PID/stat: by a signal, or by a debugger
log = logging.getLogger("virtio_crq.waiting")  # which commands show


def await_word(connection: socket.socket, who: str, remedy: str, seconds: float) -> None:
    """Until there is something to read, or the end; UsageError after `seconds`.

    `remedy` is a command against a process that hangs; against one that was stopped there is a better one.
    """
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    first = min(FIRST_SECONDS, seconds)
    if poll.poll(1000 * first):
        return
    if first < seconds:
        log.info("%s has not answered for %g s; still waiting. %s", who, first, _advice(connection, remedy))
        if poll.poll(1000 * (seconds - first)):
            return
    raise UsageError(f"{who} has not answered for {seconds:g} s. {_advice(connection, remedy)}")


def _advice(connection: socket.socket, remedy: str) -> str:
    pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        state = ""
    if state in STOPPED:
        return f"It is process {pid}, which was stopped; let it go on with: kill -CONT {pid}"
    return f"It is process {pid}; if that hangs, end it with: {remedy.format(pid=pid)}"
