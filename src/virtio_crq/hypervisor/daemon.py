# SPDX-License-Identifier: Apache-2.0
"""The hypervisor's process: owns the machine, hands partitions to processes, and cleans up after those that die.

It takes no part in hypercalls: those run in the callers' processes. It must run when a partition comes or goes.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from virtio_crq.errors import UsageError, VirtioCrqError
from virtio_crq.hypervisor.conversation import LONGEST_REQUEST, PROTOCOL, line, send_with_descriptors
from virtio_crq.hypervisor.machine import Machine
from virtio_crq.hypervisor.occupancy import Occupancy, peer_process
from virtio_crq.hypervisor.statedirectory import ATTACH_SOCKET
from virtio_crq.hypervisor.view import counters_view, machine_view, trace_view
from virtio_crq.papr.returncodes import ReturnCode, code_name
from virtio_crq.platform.partition import UnitAddress

LOCK_FILE = "hypervisor.lock"
HOME_SECONDS = 1.0  # between looks whether anybody can still find this machine
OBSTRUCTION_SECONDS = 1.0  # between looks for partitions that a guest waits for
BUSY_LOOKS, BUSY_SECONDS = 200, 0.005  # how often, and how far apart, a busy platform is asked to post an event
Request = Mapping[str, Any]


class Daemon:
    """Serves one machine from one state directory. `run` returns after a shutdown request, SIGTERM or SIGINT.

    It raises when its socket was removed, and with it all ways to the machine.
    """

    def __init__(self, machine: Machine, state_directory: Path) -> None:
        self.machine = machine
        self.occupancy = Occupancy(machine)
        self._directory = state_directory
        self._stop = asyncio.Event()
        self._conversations: set[asyncio.Task[None]] = set()
        self._controls: dict[str, Callable[[Request], Any]] = {
            "show": lambda request: machine_view(machine, self.occupancy),
            "counters": lambda request: counters_view(machine),
            "reset_counters": lambda request: machine.reset_counters(),
            "trace": lambda request: machine.trace_on(bool(request.get("on", True))),
            "read_trace": lambda request: trace_view(machine, int(request.get("after", 0))),
            "shutdown": lambda request: self._stop.set(),
        }

    async def run(self, ready: Callable[[], None] = lambda: None) -> None:
        lock = _lock(self._directory)
        path = self._directory / ATTACH_SOCKET
        path.unlink(missing_ok=True)  # left by a killed predecessor; the lock says that it is gone
        mine: os.stat_result | None = None
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            listener.bind(str(path))
            mine = path.stat()
            path.chmod(0o600)
            listener.listen(64)
            self._stop_on_signals()
            accepting = asyncio.create_task(self._accept(listener))
            watching = asyncio.create_task(self._watch_for_guests())
            at_home = asyncio.create_task(self._watch_home(path, mine))
            ready()
            await self._stop.wait()
            homeless = at_home.done()
            for task in (accepting, watching, at_home, *self._conversations):
                task.cancel()
            await asyncio.gather(accepting, watching, at_home, *self._conversations, return_exceptions=True)
            await self.occupancy.close()
        finally:
            if mine is not None and _stands(path, mine):  # and not another machine's
                with contextlib.suppress(OSError):
                    path.unlink()
            listener.close()  # afterwards: until then nobody else's socket has the number of our inode
            os.close(lock)
        if homeless:
            raise VirtioCrqError(f"{path} was removed: nobody could reach this machine any more, or end it")

    async def _watch_for_guests(self) -> None:
        """Only guests wait inside of calls; user-space partitions call again."""
        while any(partition.guest for partition in self.machine.definition.partitions):
            self.occupancy.power_off_obstructors()
            await asyncio.sleep(OBSTRUCTION_SECONDS)

    async def _watch_home(self, path: Path, mine: os.stat_result) -> None:
        """Somebody removes the state directory: all that is left of the machine ends, as after `down`."""
        while _stands(path, mine):
            await asyncio.sleep(HOME_SECONDS)
        self._stop.set()

    def _stop_on_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(ValueError, RuntimeError):  # not in a thread of a test
                asyncio.get_running_loop().add_signal_handler(number, self._stop.set)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(listener)
            task = asyncio.create_task(self._converse(connection))
            self._conversations.add(task)
            task.add_done_callback(self._conversations.discard)

    async def _converse(self, connection: socket.socket) -> None:
        """Requests of one connection, in order. Losing it says nothing: only detaching or dying ends a partition."""
        loop = asyncio.get_running_loop()
        mine: list[str] = []
        received = b""
        with connection, contextlib.suppress(ConnectionError):
            while len(received) <= LONGEST_REQUEST:
                request, newline, rest = received.partition(b"\n")
                if newline:
                    received = rest
                    await self._answer(connection, request, mine)
                    continue
                data = await loop.sock_recv(connection, LONGEST_REQUEST)
                if not data:
                    return
                received += data
            await loop.sock_sendall(connection, line({"error": f"a request is at most {LONGEST_REQUEST} bytes"}))

    async def _answer(self, connection: socket.socket, text: bytes, mine: list[str]) -> None:
        loop = asyncio.get_running_loop()
        conversational: dict[str, Callable[[], Awaitable[None]]] = {
            "attach": lambda: self._attach(connection, request, mine),
            "detach": lambda: self._detach(connection, mine),
            "post_event": lambda: self._post_event(connection, request),
        }
        try:
            request = _parsed(text)
            do = str(request.get("do"))
            if do in conversational:
                await conversational[do]()
            elif do in self._controls:
                await loop.sock_sendall(connection, line({"ok": self._controls[do](request)}))
            else:
                known = ", ".join(sorted({*conversational, *self._controls}))
                raise UsageError(f"unknown request {do!r}; there are {known}")
        except (VirtioCrqError, ValueError, TypeError) as error:
            await loop.sock_sendall(connection, line({"error": str(error)}))

    async def _attach(self, connection: socket.socket, request: Request, mine: list[str]) -> None:
        if request.get("protocol") != PROTOCOL:
            raise UsageError(f"attach protocol {request.get('protocol')!r}, but this hypervisor speaks {PROTOCOL}")
        if mine:
            raise UsageError(f"this connection is partition {mine[0]} already")
        name = str(request.get("partition"))
        self.machine.definition.partition(name)
        await self.occupancy.occupy(name, peer_process(connection))
        try:
            handover = self.machine.descriptors_for(name)
            answer = line({"ok": handover.description, "descriptors": len(handover.descriptors)})
            send_with_descriptors(connection, answer, handover.descriptors)
        except BaseException:
            await self.occupancy.leave(name)
            raise
        mine.append(name)

    async def _post_event(self, connection: socket.socket, request: Request) -> None:
        """`event` (one byte) for the adapter `unit_address` of `partition`, as the platform sends it.

        A partner that is sending right now is done in a moment, unless it was stopped in the middle of that.
        """
        name, unit, event = (request.get(key) for key in ("partition", "unit_address", "event"))
        if not (isinstance(name, str) and type(unit) is int and type(event) is int and 0 < event < 0x100):
            raise UsageError("post_event takes a partition, a unit_address, and an event from 1 to 255")
        for _ in range(BUSY_LOOKS):
            code = self.machine.post_event(name, UnitAddress(unit), event)
            if code != ReturnCode.H_BUSY:
                break
            await asyncio.sleep(BUSY_SECONDS)
        if code:
            said = code_name(code)
            state = self.machine.queue_state(name, UnitAddress(unit))
            why = {"H_CLOSED": f"its CRQ is {state}", "H_DROPPED": "its CRQ is full"}.get(said, said)
            raise UsageError(f"event {event:#x} cannot be posted to adapter {unit:#x} of {name}: {why}")
        await asyncio.get_running_loop().sock_sendall(connection, line({"ok": None}))

    async def _detach(self, connection: socket.socket, mine: list[str]) -> None:
        if not mine:
            raise UsageError("this connection is no partition")
        await self.occupancy.leave(mine.pop())
        await asyncio.get_running_loop().sock_sendall(connection, line({"ok": None}))


def _stands(path: Path, mine: os.stat_result) -> bool:
    """Whether what was `mine` is still there. When that cannot be told it may be, and may be reached again."""
    try:
        return os.path.samestat(path.stat(), mine)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def _parsed(text: bytes) -> Request:
    try:
        request = json.loads(text)
    except ValueError:
        raise UsageError("a request is one line of JSON") from None
    if not isinstance(request, dict):
        raise UsageError("a request is a JSON object")
    return request


def _lock(directory: Path) -> int:
    """One hypervisor per machine; the lock is the kernel's, so that a killed one leaves nothing behind."""
    descriptor = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UsageError(f"machine {directory.name} is up already") from None
    return descriptor
