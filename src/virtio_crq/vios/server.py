# SPDX-License-Identifier: Apache-2.0
"""The I/O server: opens the backings, ties each adapter to a worker, answers the control socket until told to stop."""

import asyncio
import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from virtio_crq.axes import CARRIER, COPY, FETCH, RING
from virtio_crq.dataplane.worker import Worker
from virtio_crq.errors import UsageError, VirtioCrqError
from virtio_crq.vios.adapter import Adapter, AdapterPlace, Connect, Target
from virtio_crq.vios.backing import (
    IDENTITY_BYTES,
    Backing,
    BackingSpec,
    open_backing,
    parse_backing,
    parse_size,
    refuse_shared_images,
)
from virtio_crq.vios.blockdevice import BlockDevice
from virtio_crq.vios.cacherecord import CacheRecord
from virtio_crq.vios.consolebacking import open_terminals, parse_ports
from virtio_crq.vios.consoledevice import ConsoleDevice
from virtio_crq.vios.control import Command, ControlSocket
from virtio_crq.vios.entropydevice import EntropyDevice
from virtio_crq.vios.inspection import Inspection
from virtio_crq.vios.lock import Clock, SystemClock
from virtio_crq.vios.lsmap import to_json
from virtio_crq.vios.mapping import BLOCK, CONSOLE, DEFAULT_QUEUES, ENTROPY, MapEntry, by_client, numbered
from virtio_crq.vios.maprecord import MapRecord, Numbered
from virtio_crq.vios.namerecord import NameRecord
from virtio_crq.vios.placement import better
from virtio_crq.vios.watch import Watch

BALANCE_SECONDS = 1.0
INSPECTION_SECONDS = 5.0  # between looks at what nothing tells of: images, and what the platform answered
log = logging.getLogger("virtio_crq.vios")
RECENT = 64  # requests of a queue that its planner remembers


@dataclass(frozen=True)
class Settings:
    """How to serve. `polling` is microseconds of looking before a worker sleeps, at most; None: it never sleeps."""

    base: Path = Path()
    workers: int = 0
    polling: int | None = 32
    pin: int | None = None  # the processor of the first worker, the next one's is the next; None: wherever
    fetch: str = FETCH.server[0]  # where a client can; of others rings are read, batched
    data: str = COPY  # how the data of files moves
    ring: str = RING.server[0]  # packed: a driver may choose
    carrier: str = CARRIER.server[0]  # of pushed requests
    record: Path | None = None  # where to remember which drivers turned their write cache off
    ports: Path | None = None  # where to remember which ports of consoles drivers opened
    maps: Path | None = None  # where to remember what was mapped at run time
    links: Path | None = None  # where the stable names of ptys stand


class Server:
    """Made with every lock held and every backing open, or not at all; `serve` runs it; `close` gives all back."""

    def __init__(
        self,
        places: Iterable[tuple[AdapterPlace, Connect]],
        entries: Iterable[MapEntry],
        settings: Settings,
        clock: Clock | None = None,
    ) -> None:
        adapters = list(places)
        _refuse_missing(settings.pin)
        self._maps = MapRecord(settings.maps)
        rows = self._maps.read() or numbered(entries)
        _refuse_strangers([entry for _, entry in rows], {place.client for place, _ in adapters})
        self._clock = clock or SystemClock()
        self._record = CacheRecord(settings.record)
        self._ports = NameRecord(settings.ports)
        self._settings = settings
        self._watch = Watch()
        self._inspection = Inspection()
        self._backings: list[Backing | ConsoleDevice] = []
        self._workers: list[Worker] = []
        self._end: Callable[[], object] = lambda: None
        self.adapters: list[Adapter] = []
        try:
            targets = self._make_targets(rows)
            for place, connect in adapters:
                self.adapters.append(
                    Adapter(
                        place, targets.get(place.client, {}), connect, settings.fetch, settings.ring, settings.carrier
                    )
                )
        except BaseException:
            self.close()
            raise
        count = settings.workers or os.cpu_count() or 1
        # More threads than connections would only sleep.
        for number in range(max(1, min(count, len(self.adapters)))):
            processor = _processor(settings.pin, number)
            self._workers.append(Worker(f"worker-{number}", settings.polling, self._worker_ended, processor))

    def start(self) -> None:
        """Serve from now on."""
        for worker in self._workers:
            worker.start()
        for number, adapter in enumerate(self.adapters):
            adapter.start(self._workers[number % len(self._workers)])

    async def serve(self, socket: Path, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        """Start, say `ready`, answer on the control socket, and return when `stop` is set.

        A worker that cannot go on takes the server with it: its clients must see their partner leave.
        """
        loop = asyncio.get_running_loop()
        self._end = lambda: loop.call_soon_threadsafe(stop.set)
        async with ControlSocket(socket, self.commands()):
            self.start()
            ready()
            tending = [loop.create_task(self._balance()), loop.create_task(self._inspect())]
            await stop.wait()
            for task in tending:
                task.cancel()
            await asyncio.gather(*tending, return_exceptions=True)
        for worker in self._workers:
            if worker.failure is not None:
                raise VirtioCrqError(f"worker {worker.name} has ended: {worker.failure!r}")

    async def _balance(self) -> None:
        """Now and then move a connection to where there is less to do. Without two workers there is nowhere to."""
        before = {adapter: adapter.heard for adapter in self.adapters}
        while len(self._workers) > 1:
            await asyncio.sleep(BALANCE_SECONDS)
            try:
                self.balance(before)
            except Exception:
                log.exception("balancing ends: from now on each connection stays with its worker")
                return
            before = {adapter: adapter.heard for adapter in self.adapters}

    async def _inspect(self) -> None:
        while True:
            self.inspect()
            await asyncio.sleep(INSPECTION_SECONDS)

    def inspect(self) -> None:
        """See to images and connections of which nothing tells."""
        self._inspection.look(self.adapters)

    def balance(self, before: Mapping[Adapter, int]) -> None:
        """One look at what each worker's connections heard since `before`, and at most one move."""
        loads: dict[Worker, list[tuple[Adapter, int]]] = {worker: [] for worker in self._workers}
        for adapter in self.adapters:
            if adapter.worker is not None:
                loads[adapter.worker].append((adapter, adapter.heard - before.get(adapter, 0)))
        move = better(loads)
        if move is not None:
            move[0].move(move[1])

    def _worker_ended(self) -> None:
        self._end()

    def commands(self) -> Mapping[str, Command]:
        """What the control socket understands."""
        return {
            "lsmap": self._lsmap,
            "rescan": self._rescan,
            "ping": lambda request: os.getpid(),
            "map": self._map,
            "unmap": self._unmap,
            "resize": self._resize,
            "console-size": self._console_size,
            "explain": self._explain,
        }

    def close(self) -> None:
        """Leave every client, end the workers, then give back stores and locks, in this order."""
        for adapter in self.adapters:
            adapter.close()
        for worker in self._workers:
            worker.stop()
        for backing in self._backings:
            backing.close()
        self._watch.close()
        self.adapters, self._workers, self._backings = [], [], []

    def _make_targets(self, rows: Sequence[Numbered]) -> Mapping[str, Mapping[int, Target]]:
        self._check([entry for _, entry in rows])
        made: dict[str, dict[int, Target]] = {}
        for number, entry in rows:
            made.setdefault(entry.client, {})[number] = self._make_target(entry)
        return made

    def _check(self, entries: Sequence[MapEntry]) -> None:
        """Refuse what could not be served all together."""
        by_client(entries)
        disks = [entry for entry in entries if entry.device == BLOCK]
        refuse_shared_images([(_parse(entry, self._settings.base), entry.readonly) for entry in disks])

    def _make_target(self, entry: MapEntry) -> Target:
        name = f"{entry.client}/{entry.target}"
        if entry.device == CONSOLE:
            return Target(entry, self._make_console(entry, name), None)
        if entry.device == ENTROPY:
            return Target(entry, EntropyDevice(hashlib.sha256(name.encode()).digest()[:IDENTITY_BYTES]), None)
        try:
            backing = open_backing(_parse(entry, self._settings.base), readonly=entry.readonly, clock=self._clock)
        except UsageError as error:
            raise entry.refuse(str(error)) from error
        self._backings.append(backing)
        data = self._settings.data if backing.descriptor is not None else COPY  # only a file can be lent
        identity = backing.identity(name)
        device = BlockDevice(
            *(name, identity, backing.store),
            readonly=entry.readonly,
            queues=entry.queues,
            record=self._record,
            data=data,
        )
        return Target(entry, device, backing)

    def _make_console(self, entry: MapEntry, name: str) -> ConsoleDevice:
        try:
            specs = parse_ports(entry.backing, entry.ports, self._settings.base)
            terminals = open_terminals(specs, self._settings.links, f"{entry.client}:{entry.target}", self._watch)
        except UsageError as error:
            raise entry.refuse(str(error)) from error
        said = "\0".join([name, *map(str, specs)])
        identity = hashlib.sha256(said.encode()).digest()[:IDENTITY_BYTES]
        device = ConsoleDevice(name, identity, [spec.name for spec in specs], terminals, self._ports)
        self._backings.append(device)
        return device

    def _lsmap(self, request: Mapping[str, Any]) -> Any:
        return to_json([adapter.view() for adapter in self.adapters])

    def _map(self, request: Mapping[str, Any]) -> Any:
        """One more target, from now on and for the next server of this machine."""
        entry = _requested(request)
        adapter = self._adapter(entry.client)
        self._check([*(entry for _, entry in self._rows()), entry])
        target = self._make_target(entry)
        try:
            number = adapter.add(target)
            self._maps.write(self._rows())
        except BaseException:
            if adapter.target(entry.target) is target:
                adapter.remove(target, force=True)
            self._give_back(target)
            raise
        return number

    def _unmap(self, request: Mapping[str, Any]) -> Any:
        adapter, target = self._find(request)
        try:
            adapter.remove(target, force=bool(request.get("force")))
            self._give_back(target)
        finally:
            # Also when its I/O does not end: the client has it no more, and the next server must not bring it back.
            if adapter.target(target.entry.target) is not target:
                self._maps.write(self._rows())
        return None

    def _resize(self, request: Mapping[str, Any]) -> Any:
        """Grow a file to the size asked for, or take the size that it has now; the size, and whether it is new."""
        adapter, target = self._find(request)
        if target.backing is None or target.backing.descriptor is None:
            raise target.entry.refuse("only a target with file: behind it has a size that changes")
        size = request.get("size")
        if size is not None:
            target.backing.grow(parse_size(str(size)))
        changed = adapter.resized(target)
        return {"size": target.backing.size, "changed": changed}

    def _console_size(self, request: Mapping[str, Any]) -> Any:
        """The window of whoever is attached to a console changed."""
        _, target = self._find(request)
        columns, rows = request.get("columns"), request.get("rows")
        if not isinstance(target.device, ConsoleDevice):
            raise target.entry.refuse("not a console")
        if not all(isinstance(value, int) and 0 <= value < 1 << 16 for value in (columns, rows)):
            raise UsageError("a size is columns and rows, each below 65536")
        target.device.terminals[0].resize(int(columns or 0), int(rows or 0))
        return None

    def _explain(self, request: Mapping[str, Any]) -> Any:
        """How recent requests of a target were carried, and why."""
        adapter, target = self._find(request)
        last = request.get("last", RECENT)
        if not isinstance(last, int) or not 0 <= last <= RECENT:
            raise UsageError(f"of each queue 0 to {RECENT} requests are remembered")
        return adapter.explain(target, last)

    def _rows(self) -> list[Numbered]:
        """What is mapped now."""
        return [(number, target.entry) for adapter in self.adapters for number, target in adapter.by_number.items()]

    def _adapter(self, client: str) -> Adapter:
        for adapter in self.adapters:
            if adapter.place.client == client:
                return adapter
        raise UsageError(f"no adapter of this server leads to {client!r}")

    def _find(self, request: Mapping[str, Any]) -> tuple[Adapter, Target]:
        adapter = self._adapter(str(request.get("client")))
        name = str(request.get("target"))
        target = adapter.target(name)
        if target is None:
            names = ", ".join(target.entry.target for target in adapter.targets) or "none"
            raise UsageError(f"{adapter.place.client} has no target {name!r}; it has: {names}")
        return adapter, target

    def _give_back(self, target: Target) -> None:
        held = target.backing if target.backing is not None else target.device
        if held in self._backings:
            assert isinstance(held, Backing | ConsoleDevice)
            self._backings.remove(held)
            held.close()

    def _rescan(self, request: Mapping[str, Any]) -> Any:
        return [name for adapter in self.adapters for name in adapter.rescan()]


def _refuse_missing(pin: int | None) -> None:
    """A machine file may come from a machine with more processors."""
    count = len(os.sched_getaffinity(0))
    if pin is not None and pin >= count:
        raise UsageError(f"pin {pin} is not in 0 to {count - 1}, the processors that it may use; -1: any")


def _processor(pin: int | None, number: int) -> int | None:
    """Where a worker runs: counted among the processors that this process may use. Those after the last wrap."""
    if pin is None:
        return None
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[(pin + number) % len(allowed)]


def _parse(entry: MapEntry, base: Path) -> BackingSpec:
    try:
        return parse_backing(entry.backing, base)
    except UsageError as error:
        raise entry.refuse(str(error), "backing") from error


def _requested(request: Mapping[str, Any]) -> MapEntry:
    """The entry that a request describes."""
    words = [request.get(key) for key in ("client", "target", "backing")]
    ports = request.get("ports", [])
    if not all(isinstance(word, str) for word in [*words, request.get("device", BLOCK)]):
        raise UsageError("a mapping says client, target, backing and device, each a string")
    if not isinstance(ports, list) or not all(isinstance(port, str) for port in ports):
        raise UsageError("ports are a list of strings")
    queues = request.get("queues", DEFAULT_QUEUES)
    if not isinstance(queues, int):
        raise UsageError("queues are a number")
    client, target, backing = (str(word) for word in words)
    device = str(request.get("device", BLOCK))
    return MapEntry(client, target, backing, bool(request.get("readonly")), device, "", tuple(ports), queues)


def _refuse_strangers(entries: Iterable[MapEntry], clients: set[str]) -> None:
    for entry in entries:
        if entry.client not in clients:
            raise entry.refuse(f"no adapter of this server leads to {entry.client!r}", "client")
