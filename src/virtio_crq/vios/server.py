# SPDX-License-Identifier: Apache-2.0
"""The I/O server: opens the backings, ties each adapter to a worker, answers the control socket until told to stop."""

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from virtio_crq.dataplane.worker import Worker
from virtio_crq.errors import UsageError, VirtioCrqError
from virtio_crq.vios.adapter import Adapter, AdapterPlace, Connect, Target
from virtio_crq.vios.backing import (
    IDENTITY_BYTES,
    Backing,
    BackingSpec,
    open_backing,
    parse_backing,
    refuse_shared_images,
)
from virtio_crq.vios.blockdevice import BlockDevice
from virtio_crq.vios.cacherecord import CacheRecord
from virtio_crq.vios.consolebacking import open_terminals, parse_ports
from virtio_crq.vios.consoledevice import ConsoleDevice
from virtio_crq.vios.control import Command, ControlSocket
from virtio_crq.vios.entropydevice import EntropyDevice
from virtio_crq.vios.lock import Clock, SystemClock
from virtio_crq.vios.lsmap import to_json
from virtio_crq.vios.mapping import BLOCK, CONSOLE, MapEntry, by_client
from virtio_crq.vios.namerecord import NameRecord
from virtio_crq.vios.watch import Watch


@dataclass(frozen=True)
class Settings:
    """How to serve. `polling` is microseconds of looking before a worker sleeps; None: it never sleeps."""

    base: Path = Path()
    workers: int = 0
    polling: int | None = 50
    fetch: str = "batched"
    record: Path | None = None  # where to remember which drivers turned their write cache off
    ports: Path | None = None  # where to remember which ports of consoles drivers opened
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
        entries = list(entries)
        _refuse_strangers(entries, {place.client for place, _ in adapters})
        self._record = CacheRecord(settings.record)
        self._ports = NameRecord(settings.ports)
        self._settings = settings
        self._watch = Watch()
        self._backings: list[Backing | ConsoleDevice] = []
        self._workers: list[Worker] = []
        self._end: Callable[[], object] = lambda: None
        self.adapters: list[Adapter] = []
        try:
            targets = self._make_targets(entries, settings.base, clock or SystemClock())
            for place, connect in adapters:
                self.adapters.append(Adapter(place, targets.get(place.client, ()), connect, settings.fetch))
        except BaseException:
            self.close()
            raise
        count = settings.workers or os.cpu_count() or 1
        # More threads than connections would only sleep.
        for number in range(max(1, min(count, len(self.adapters)))):
            self._workers.append(Worker(f"worker-{number}", settings.polling, self._worker_ended))

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
            await stop.wait()
        for worker in self._workers:
            if worker.failure is not None:
                raise VirtioCrqError(f"worker {worker.name} has ended: {worker.failure!r}")

    def _worker_ended(self) -> None:
        self._end()

    def commands(self) -> Mapping[str, Command]:
        """What the control socket understands."""
        return {"lsmap": self._lsmap, "rescan": self._rescan, "ping": lambda request: os.getpid()}

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

    def _make_targets(self, entries: Sequence[MapEntry], base: Path, clock: Clock) -> Mapping[str, tuple[Target, ...]]:
        grouped = by_client(entries)
        specs = {id(entry): _parse(entry, base) for entry in entries if entry.device == BLOCK}
        refuse_shared_images([(specs[id(entry)], entry.readonly) for entry in entries if id(entry) in specs])
        return {
            client: tuple(self._make_target(entry, specs.get(id(entry)), clock) for entry in mine.entries)
            for client, mine in grouped.items()
        }

    def _make_target(self, entry: MapEntry, spec: BackingSpec | None, clock: Clock) -> Target:
        name = f"{entry.client}/{entry.target}"
        if entry.device == CONSOLE:
            return Target(entry, self._make_console(entry, name), None)
        if spec is None:
            return Target(entry, EntropyDevice(hashlib.sha256(name.encode()).digest()[:IDENTITY_BYTES]), None)
        try:
            backing = open_backing(spec, readonly=entry.readonly, clock=clock)
        except UsageError as error:
            raise entry.refuse(str(error)) from error
        self._backings.append(backing)
        device = BlockDevice(name, backing.identity(name), backing.store, readonly=entry.readonly, record=self._record)
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

    def _rescan(self, request: Mapping[str, Any]) -> Any:
        return [name for adapter in self.adapters for name in adapter.rescan()]


def _parse(entry: MapEntry, base: Path) -> BackingSpec:
    try:
        return parse_backing(entry.backing, base)
    except UsageError as error:
        raise entry.refuse(str(error)) from error


def _refuse_strangers(entries: Iterable[MapEntry], clients: set[str]) -> None:
    for entry in entries:
        if entry.client not in clients:
            raise entry.refuse(f"no adapter of this server leads to {entry.client!r}")
