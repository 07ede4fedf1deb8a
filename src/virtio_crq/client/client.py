# SPDX-License-Identifier: Apache-2.0
"""The user-space client partition.

    with Client([connect]) as client:
        disk = client.disk("root")
        disk.write(0, b"x" * 4096)

Blocking calls drive the client themselves. Inside an event loop, `async with client.attached():` lets the loop drive
it instead, and transfers are awaited: `await disk.start_read(0, 4096)`.
"""

import asyncio
import select
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any

from virtio_crq.client.connection import Connect, Connection, State
from virtio_crq.client.console import Console
from virtio_crq.client.device import Options
from virtio_crq.client.disk import Disk
from virtio_crq.client.entropy import Entropy
from virtio_crq.client.transfer import Transfer
from virtio_crq.dataplane.kernel import now
from virtio_crq.dataplane.patience import Patience
from virtio_crq.errors import PartnerLost, UsageError, VirtioCrqError
from virtio_crq.platform.channel import AN_ENTRY, entry_waits
from virtio_crq.virtio.block import ID_BYTES

TICK = 0.1  # seconds between looks for what time alone makes due
SOON = 0.001  # the same while the platform was too busy for something
TURNS = 64  # pumps in one go before an event loop gets its other work done


class Client:
    """One partition over its connections. Everything happens in the thread that calls; nothing runs behind it.

    `lifeline` is a descriptor that becomes readable when the platform has ended: then nothing will ever come again, and
    whoever waits is told so by an error.
    """

    def __init__(
        self,
        connects: Iterable[Connect],
        options: Options | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        lifeline: int | None = None,
    ) -> None:
        self._clock = clock
        self._lifeline = lifeline
        self._looking = Patience(1000 * (options or Options()).polling)
        self._since = 0  # when something came last
        self._orphaned = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn_due = False
        self.on_idle: Callable[[], None] = lambda: None  # called every TICK or so while nothing comes
        self.connections = [Connection(connect, options or Options(), self._wait) for connect in connects]
        for connection in self.connections:
            connection.on_submitted = self._submitted

    def open(self, timeout: float = 10.0) -> None:
        """Start all connections and wait until every device is up."""
        for connection in self.connections:
            connection.start()
        deadline = self._clock() + timeout
        while not all(connection.state is State.UP for connection in self.connections):
            for connection in self.connections:
                if connection.failure is not None:
                    raise connection.failure
            left = deadline - self._clock()
            if left <= 0:
                raise PartnerLost(f"no server answered within {timeout:g} seconds")
            self.turn(left)

    def disks(self) -> list[Disk]:
        return [device for device in self._devices() if isinstance(device, Disk)]

    def disk(self, name: str) -> Disk:
        """The disk that the server calls `name`."""
        for disk in self.disks():
            if disk.name.encode() == name.encode()[:ID_BYTES]:  # GET_ID has no room for more
                return disk
        names = ", ".join(sorted(disk.name for disk in self.disks())) or "none"
        raise UsageError(f"no disk {name!r}; this client has: {names}")

    def entropy(self) -> Entropy:
        """The first entropy device."""
        for device in self._devices():
            if isinstance(device, Entropy):
                return device
        raise UsageError("this client has no entropy device")

    def console(self) -> Console:
        """The first console."""
        for device in self._devices():
            if isinstance(device, Console):
                return device
        raise UsageError("this client has no console")

    def _devices(self) -> list[Any]:
        return [device for connection in self.connections for device in connection.devices.values()]

    def turn(self, timeout: float) -> None:
        """Do what is due; sleep up to `timeout` seconds when nothing was."""
        if self._pump():
            self._since = now()
            return
        self.on_idle()
        pause = min(timeout, self._patience())
        if self._look(pause):
            return
        poller = select.poll()
        armed = []
        ready = True
        for connection in self.connections:
            armed.append(connection)
            poller.register(connection.endpoint.fileno(), select.POLLIN)
            ready = connection.arm() and ready
        if self._lifeline is not None:
            poller.register(self._lifeline, select.POLLIN)
        found = poller.poll(max(0.0, pause) * 1000 if ready else 0)
        for connection in armed:
            connection.disarm()
        self._looking.waited(now() - self._since)
        if any(descriptor == self._lifeline for descriptor, _ in found):
            raise _orphan()

    def _look(self, seconds: float) -> bool:
        """Whether an entry or a record came while it was worth looking for one."""
        end = now() + min(self._looking.granted, int(seconds * 1e9))
        while now() < end:
            for connection in self.connections:
                if entry_waits(connection.endpoint.channel) == AN_ENTRY or connection.arrived:
                    self._looking.waited(now() - self._since)
                    return True
        return False

    def _patience(self) -> float:
        """How long nothing but an entry needs anybody's attention."""
        dues = [due for connection in self.connections if (due := connection.endpoint.due()) is not None]
        busy = any(connection.busy for connection in self.connections)
        return max(0.0, min(SOON if busy else TICK, *dues, TICK))

    def _pump(self) -> int:
        return sum(connection.pump() for connection in self.connections)

    def _wait(self, transfer: Transfer[bytes]) -> None:
        if self._loop is not None:
            raise RuntimeError("an event loop drives this client: await the start_ method instead")
        while not transfer.done:
            self.turn(TICK)

    def wait(self, transfers: Iterable[Transfer[bytes]]) -> None:
        """Block until all have ended; their results, or errors, are then with each."""
        for transfer in list(transfers):
            self._wait(transfer)

    def _submitted(self) -> None:
        if self._loop is not None and not self._turn_due:
            self._turn_due = True
            self._loop.call_soon(self._loop_turn)

    @asynccontextmanager
    async def attached(self) -> AsyncIterator["Client"]:
        """Let the running event loop drive the client. What runs inside is cancelled when the platform has ended."""
        loop = asyncio.get_running_loop()
        self._loop = loop
        inside = asyncio.current_task()
        assert inside is not None
        if self._lifeline is not None:
            loop.add_reader(self._lifeline, self._cut, self._lifeline, inside)
        for connection in self.connections:
            loop.add_reader(connection.endpoint.fileno(), self._loop_turn)
        ticker = loop.create_task(self._tick())
        self._loop_turn()
        try:
            yield self
        except asyncio.CancelledError:
            if not self._orphaned:
                raise
            inside.uncancel()
            raise _orphan() from None
        finally:
            if self._lifeline is not None:
                loop.remove_reader(self._lifeline)
            ticker.cancel()
            for connection in self.connections:
                loop.remove_reader(connection.endpoint.fileno())
            self._loop = None
            await asyncio.gather(ticker, return_exceptions=True)

    def _cut(self, lifeline: int, inside: asyncio.Task[Any]) -> None:
        asyncio.get_running_loop().remove_reader(lifeline)
        if not inside.cancelling():
            self._orphaned = inside.cancel()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._patience())
            self._loop_turn()
            self.on_idle()

    def _loop_turn(self) -> None:
        """Pump until nothing waits and every interrupt is armed, but let the loop do its other work in between."""
        self._turn_due = False
        for connection in self.connections:
            connection.disarm()
        for _turn in range(TURNS):
            if not self._pump() and all(connection.arm() for connection in self.connections):
                return
        if self._loop is not None and not self._turn_due:
            self._turn_due = True
            self._loop.call_soon(self._loop_turn)

    def close(self) -> None:
        for connection in self.connections:
            connection.close()

    def __enter__(self) -> "Client":
        try:
            self.open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _orphan() -> VirtioCrqError:
    return VirtioCrqError("the machine's hypervisor has ended")
