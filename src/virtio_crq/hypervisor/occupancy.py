# SPDX-License-Identifier: Apache-2.0
"""Which process is which partition, and the watch over their deaths by pidfd."""

import asyncio
import contextlib
import logging
import os
import select
import signal
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

from virtio_crq.errors import UsageError
from virtio_crq.hypervisor.machine import Machine

_log = logging.getLogger(__name__)
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid
RETRY_SECONDS = 0.002  # a live partner's copy is at most that long in a dead partition's window


@dataclass(frozen=True)
class Process:
    """A process held by pidfd: its number cannot come to mean another one."""

    pid: int
    pidfd: int

    def dead(self) -> bool:
        poll = select.poll()  # select() would refuse descriptors beyond 1023
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(0))


def peer_process(connection: socket.socket) -> Process:
    """Who is at the other end. A pid taken over by somebody else between connecting and now is told by the hang-up."""
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(packed)
    if uid not in (os.getuid(), 0):
        raise UsageError(f"process {pid} of user {uid} may not be a partition of user {os.getuid()}'s machine")
    try:
        return Process(pid, os.pidfd_open(pid))
    except ProcessLookupError:
        raise UsageError(f"process {pid} ended before it was attached") from None


class Occupancy:
    """A partition is off, running as a process, or being cleaned up; only the first may be occupied."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._running: dict[str, Process] = {}
        self._cleaning: dict[str, asyncio.Task[None]] = {}

    def state(self, name: str) -> tuple[str, int | None]:
        """`running` with the pid, `ending`, or `off`."""
        if name in self._running:
            return "running", self._running[name].pid
        return ("ending" if name in self._cleaning else "off"), None

    async def occupy(self, name: str, process: Process) -> None:
        """Make `process` the partition; waits for the cleaning up after a predecessor that is dead."""
        try:
            while name in self._running or name in self._cleaning:
                if name in self._running:
                    if not self._running[name].dead():
                        raise UsageError(f"partition {name} runs already, as process {self._running[name].pid}")
                    self._died(name)  # the request overtook the news of the death
                await asyncio.shield(self._cleaning[name])
        except BaseException:
            os.close(process.pidfd)
            raise
        self._running[name] = process
        asyncio.get_running_loop().add_reader(process.pidfd, self._died, name)

    async def leave(self, name: str) -> None:
        """Orderly end: the same cleaning up, asked for by the partition itself."""
        if name in self._running:
            self._end(name, self._machine.power_off)
        if name in self._cleaning:
            await asyncio.shield(self._cleaning[name])

    def power_off_obstructors(self) -> None:
        """End the processes in whose calls guests wait. On hardware no partition can stop its hypervisor in a call."""
        for name in self._machine.obstructors():
            if name in self._running:
                _log.warning("partition %s, stopped in a call that a guest waits for, is powered off", name)
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._running[name].pidfd, signal.SIGKILL)

    def _died(self, name: str) -> None:
        if name in self._running:
            self._end(name, self._machine.reap)

    def _end(self, name: str, clean_up: Callable[[str], bool]) -> None:
        process = self._running.pop(name)
        asyncio.get_running_loop().remove_reader(process.pidfd)
        os.close(process.pidfd)
        self._cleaning[name] = asyncio.create_task(self._clean(name, clean_up))

    async def _clean(self, name: str, clean_up: Callable[[str], bool]) -> None:
        try:
            while not clean_up(name):
                await asyncio.sleep(RETRY_SECONDS)
        finally:
            del self._cleaning[name]

    async def close(self) -> None:
        """Stop watching; what still runs keeps its memory and is nobody's any more."""
        for process in self._running.values():
            asyncio.get_running_loop().remove_reader(process.pidfd)
            os.close(process.pidfd)
        self._running.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.gather(*self._cleaning.values(), return_exceptions=True)
