# SPDX-License-Identifier: Apache-2.0
"""One server adapter: the connection to one client, its devices, and how both halves are tied together.

    endpoint (bus) ── control, lost ──► back end (message) ──► device models ──► link (data plane) ──► stores
         ▲                                    ▲                                        │
         └── entries the link cannot read ────┼──────────── a queue broke a rule ──────┘

Everything here runs in the worker's thread once `start` was called; the views only read.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

from virtio_crq import axes
from virtio_crq.dataplane.link import Link
from virtio_crq.dataplane.worker import Worker
from virtio_crq.errors import UsageError, VirtioCrqError
from virtio_crq.message.backend import DEVICE_NUMBERS, BackEnd
from virtio_crq.message.bus import Bus
from virtio_crq.message.device import DeviceModel
from virtio_crq.message.session import PAIR, PUSH
from virtio_crq.vios.backing import Backing
from virtio_crq.vios.blockdevice import BlockDevice
from virtio_crq.vios.consoledevice import ConsoleDevice
from virtio_crq.vios.entropydevice import EntropyDevice
from virtio_crq.vios.lsmap import AdapterView, PortView, TargetView
from virtio_crq.vios.mapping import MOST_TARGETS, MapEntry
from virtio_crq.vios.ringdevice import OnFault
from virtio_crq.virtio import block, console, status
from virtio_crq.virtio.deviceid import DeviceId
from virtio_crq.virtio.features import NAMES, bits_of

CLOSED, WAITING, OPEN, FAILED = "closed", "waiting for client", "open", "failed"
SETTLE_SECONDS = 10.0  # for what a removed device had in its store
T = TypeVar("T")
log = logging.getLogger("virtio_crq.vios")
ServedDevice = BlockDevice | EntropyDevice | ConsoleDevice


class Connection(Protocol):
    """What the server asks of an endpoint; every bus's server half has it."""

    on_opened: Callable[[], None]
    on_lost: Callable[[str], None]

    @property
    def failure(self) -> Exception | None: ...  # why it gave up; only `retry` brings it back
    @property
    def session(self) -> int: ...
    @property
    def window(self) -> int: ...
    @property
    def refusals(self) -> Counter[str]: ...
    def partner_going(self) -> bool: ...
    def control(self, kind: int, entry: bytes) -> None: ...
    def start(self) -> None: ...
    def retry(self) -> bool: ...
    def close(self) -> None: ...


# Given the maker of the back end, the queues and the devices of all targets together: the endpoint and a maker of its
# link. `cli` provides it, since the server knows no bus.
OnControl = Callable[[int, bytes], None]
MakeLink = Callable[[OnControl, OnFault], Link]
Connect = Callable[[Callable[[Bus], BackEnd], int, int], tuple[Connection, MakeLink]]


@dataclass(frozen=True)
class AdapterPlace:
    """Where an adapter is and who stands at its far end."""

    adapter: str
    location: str
    unit_address: int
    client: str
    client_number: int


@dataclass(frozen=True)
class Target:
    """A map entry with the device made for it, and the backing of a block device."""

    entry: MapEntry
    device: ServedDevice
    backing: Backing | None


class Adapter:
    """One connection and its targets, by device number."""

    def __init__(
        self,
        place: AdapterPlace,
        targets: Mapping[int, Target],
        connect: Connect,
        fetch: str,
        ring: str,
        carrier: str,
    ) -> None:
        self.place = place
        self.by_number = dict(targets)
        self._fetch = fetch
        self._ring = ring
        self._carrier = carrier
        self.opened = 0
        self.lost = 0
        self.cut_off = 0  # copies that were refused because the client had gone
        self.failure: Exception | None = None  # our own error that ended the service of this client
        self.last_loss = ""
        self._given_up = False  # the connection, by the platform's answers; somebody was told
        self._faults: Counter[str] = Counter()
        self._worker: Worker | None = None
        queues = sum(len(target.device.services) for target in self.targets)
        self._connection, make_link = connect(self._make_back_end, queues, MOST_TARGETS)
        self._connection.on_opened = self._on_opened
        self._connection.on_lost = self._on_lost
        self._link = make_link(self._connection.control, self._on_fault)
        self._link.on_failure = self._fail
        for number, target in self.by_number.items():
            self._bind(number, target)

    @property
    def targets(self) -> tuple[Target, ...]:
        return tuple(self.by_number.values())

    def target(self, name: str) -> Target | None:
        return next((target for target in self.targets if target.entry.target == name), None)

    def add(self, target: Target) -> int:
        """Show the client one more device; its number."""
        return self._in_worker(partial(self._add, target))

    def remove(self, target: Target, force: bool) -> None:
        """Take a device from the client. What it had in its store is over when this returns."""
        self._in_worker(partial(self._remove, target, force))
        store = target.device.services[0].store
        deadline = time.monotonic() + SETTLE_SECONDS
        while self._in_worker(lambda: store.orphans):
            if time.monotonic() > deadline:
                raise VirtioCrqError(f"what {target.entry.target} had under way does not end")
            time.sleep(0.001)
        self._in_worker(lambda: self._link.release(store))

    def resized(self, target: Target) -> bool:
        """Look at the size of the target's image again; whether it had changed, and its driver was told."""
        return self._in_worker(partial(self._rescan_one, target))

    def explain(self, target: Target, last: int) -> list[dict[str, Any]]:
        """What was chosen for the target's last requests; the worker's thread tells, between two turns."""
        return self._in_worker(partial(target.device.explain, last))

    def _in_worker(self, work: Callable[[], T]) -> T:
        return work() if self._worker is None else self._worker.call(work)

    def _bind(self, number: int, target: Target) -> None:
        target.device.bind(number, self._link, self._connection.window, self._on_fault, self._fetch, self._ring)
        target.device.on_config = partial(self._config_changed, number)

    def _add(self, target: Target) -> int:
        number = next(number for number in range(DEVICE_NUMBERS) if number not in self.by_number)
        self._bind(number, target)
        self._back_end.add(number, target.device)
        self.by_number[number] = target
        return number

    def _remove(self, target: Target, force: bool) -> None:
        number = next(number for number, other in self.by_number.items() if other is target)
        if self._back_end.status(number) & status.DRIVER_OK and not force:
            who = f"{target.entry.client}/{target.entry.target}"
            raise UsageError(f"{who} is in use by its driver; stop using it there first, or say --force")
        del self.by_number[number]
        self._back_end.remove(number)

    def start(self, worker: Worker) -> None:
        """Be reachable from now on, served by `worker`."""
        self._worker = worker
        # In this order: registering masks the interrupt that a worker with the link may just have armed.
        worker.call(self._connection.start)
        worker.add(self._link)

    @property
    def worker(self) -> Worker | None:
        return self._worker

    @property
    def heard(self) -> int:
        """Entries of this connection, ever; any thread may ask."""
        return self._link.heard

    def move(self, worker: Worker) -> None:
        """Be served by another worker from now on; what comes in between waits in the queue."""
        if self._worker is None or self.failure is not None:
            return
        self._worker.remove(self._link)
        self._worker = worker
        worker.add(self._link)

    def close(self) -> None:
        """Stop serving; the client sees its partner leave."""
        if self._worker is not None:
            worker, self._worker = self._worker, None
            worker.remove(self._link)
            worker.call(self._leave)
        else:
            self._leave()

    def _leave(self) -> None:
        """Both halves, whatever state an error left the other in."""
        for end in (self._connection.close, self._link.close):
            try:
                end()
            except Exception as error:
                if self.failure is None:
                    raise
                log.warning("%s: closing after its failure: %s", self.place.adapter, error)

    def _fail(self, error: Exception) -> None:
        """An error of ours: this client is served no more, as if its server had gone. All others go on."""
        self.failure = error
        who = (self.place.adapter, self.place.client)
        log.error("%s, client %s: service ended by an error of the server", *who, exc_info=error)
        self._leave()

    def tend(self) -> None:
        """See to a connection that the platform made give up: told once, and tried again each time."""
        error, worker = self._connection.failure, self._worker
        if error is None or self.failure is not None or worker is None:
            return
        who = (self.place.adapter, self.place.client)
        if not self._given_up:
            self._given_up = True
            log.error("%s, client %s: the connection was given up: %s; it is tried again now and then", *who, error)
        worker.remove(self._link)
        try:
            back = worker.call(self._retry)
        finally:
            worker.add(self._link)
        if back:
            self._given_up = False
            log.info("%s, client %s: the connection is back", *who)

    def _retry(self) -> bool:
        self._link.armed = 0  # registering masks the interrupt
        return self._connection.retry()

    def rescan(self) -> list[str]:
        """Look at the size of every image again; the targets that changed, whose drivers were told."""
        assert self._worker is not None
        return self._worker.call(self._rescan)

    def view(self) -> AdapterView:
        """How everything stands. Reads only, so that a stalled worker can still be looked at."""
        session, failed = self._connection.session, self.failure or self._connection.failure
        refused = _copy(self._back_end.refused) + _copy(self._connection.refusals)
        # What the data plane dropped without stopping a queue; the rest came through `_on_fault`.
        refused.update(_copy(self._link.refusals) - _copy(self._faults))
        return AdapterView(
            adapter=self.place.adapter,
            location=self.place.location,
            unit_address=self.place.unit_address,
            client=self.place.client,
            client_number=self.place.client_number,
            state=FAILED if failed else OPEN if session else WAITING if self._worker else CLOSED,
            session=session,
            counters={"sessions": self.opened, "losses": self.lost, "copies_cut_off": self.cut_off},
            refused=dict(refused),
            targets=tuple(self._view_target(number, target) for number, target in sorted(dict(self.by_number).items())),
        )

    def _make_back_end(self, bus: Bus) -> BackEnd:
        devices: dict[int, DeviceModel] = {number: target.device for number, target in self.by_number.items()}
        self._back_end = BackEnd(bus, devices, features=self._agreed_to())
        return self._back_end

    def _agreed_to(self) -> int:
        """Transport features."""
        if self._fetch != axes.PUSH:
            return 0
        return PUSH | PAIR if self._carrier == axes.SUB_CRQ else PUSH

    def _on_opened(self) -> None:
        self.opened += 1

    def _on_lost(self, reason: str) -> None:
        self.lost += 1
        self.last_loss = reason

    def _on_fault(self, device: int, queue: int, rule: str, detail: str) -> None:
        self._faults[rule] += 1
        self._back_end.needs_reset(device, None)
        # A copy, or a record, is also refused when the partner has just gone. The news of that waits in the ring, or
        # the entry that was to tell the driver found nobody; then nothing is held against it.
        if rule in ("copy-refused", "record-refused") and self._connection.partner_going():
            self.cut_off += 1
        else:
            self._back_end.count(device, rule)

    def _config_changed(self, number: int) -> None:
        self._back_end.config_changed(number)

    def _rescan(self) -> list[str]:
        return [f"{target.entry.client}/{target.entry.target}" for target in self.targets if self._rescan_one(target)]

    def _rescan_one(self, target: Target) -> bool:
        if target.backing is None or not isinstance(target.device, BlockDevice):
            return False
        if not target.device.resize(target.backing.measure()):
            return False
        number = next(number for number, other in self.by_number.items() if other is target)
        self._back_end.config_changed(number)
        return True

    def _view_target(self, number: int, target: Target) -> TargetView:
        device = target.device
        negotiated = self._back_end.driver_features(number)
        return TargetView(
            target=target.entry.target,
            backing=_backing(target),
            device=target.entry.device,
            size=target.backing.size if target.backing else 0,
            readonly=target.entry.readonly,
            state=status.describe(self._back_end.status(number)),
            identity=device.identity.hex(),
            write_cache=device.write_cache if isinstance(device, BlockDevice) else "",
            features=_feature_names(device.device_id, negotiated),
            carried=device.carried(),
            queues=device.queues(),
            counters=device.counters(),
            refused=dict(self._back_end.refused_by(number)),
            ports=_ports(device) if isinstance(device, ConsoleDevice) else (),
            number=number,
            damage=target.backing.damage() if target.backing else "",
        )


def _copy(counts: Mapping[str, int]) -> Counter[str]:
    """Of what the worker's thread goes on counting: dict() takes a dictionary whole, arithmetic would walk it."""
    return Counter(dict(counts))


def _backing(target: Target) -> str:
    if target.backing:
        return str(target.backing.spec)
    return target.entry.backing if isinstance(target.device, ConsoleDevice) else "kernel generator"


def _ports(device: ConsoleDevice) -> tuple[PortView, ...]:
    return tuple(
        PortView(name, terminal.kind, terminal.path, terminal.connected, terminal.size)
        for name, terminal in zip(device.names, device.terminals, strict=True)
    )


def _feature_names(device_id: DeviceId, features: int) -> tuple[str, ...]:
    names: Mapping[int, Mapping[int, str]] = {
        DeviceId.BLOCK: block.FEATURE_NAMES,
        DeviceId.CONSOLE: console.FEATURE_NAMES,
    }
    own = names.get(device_id, {})
    return tuple(own.get(bit) or NAMES.get(bit) or f"bit {bit}" for bit in bits_of(features))
