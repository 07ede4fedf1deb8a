# SPDX-License-Identifier: Apache-2.0
"""What the data plane needs of one connection: a port, its announcements, a stretch of own RAM, and its queues."""

import time
from collections.abc import Callable

from virtio_crq.dataplane.orphans import Orphans
from virtio_crq.dataplane.ringterms import RingResume, RingTerms
from virtio_crq.dataplane.service import Service
from virtio_crq.dataplane.staging import Staging
from virtio_crq.dataplane.store import Store
from virtio_crq.dataplane.strategies import STRATEGIES
from virtio_crq.errors import DriverFault
from virtio_crq.platform.channel import AVAIL, CONTROL, CREDIT, LOST, NOTHING, STALLED, USED, Channel
from virtio_crq.platform.partition import Arena
from virtio_crq.platform.port import Port

ENTRIES = 64  # heard in one turn, so that a flood of entries does not keep queues from being served
TURNS = 4  # mini-batches of one queue in one turn
REAPS = 32  # completions of one store landed in one turn


class Link:
    """One connection. All methods belong to the thread of its worker (or to nobody yet): see `Worker.call`.

    `on_control(kind, entry)` gets what the data plane does not understand: kind CONTROL or LOST, and the raw entry; or
    STALLED, when an announcement found no room at the partner.
    `on_fault(device, queue, rule, detail)` is told when a queue was stopped: the device now needs a reset.
    `on_failure(error)` is told of an error of our own in a turn; the worker turns this link no more.
    `refusals` counts every broken rule by name.
    """

    def __init__(
        self,
        port: Port,
        channel: Channel,
        arena: Arena,
        on_control: Callable[[int, bytes], None],
        on_fault: Callable[[int, int, str, str], None],
        max_copy: int = 131072,
        gathering: int = 0,
    ) -> None:
        """`arena` is mapped for the platform: at least 1 MiB of data plus about 128 KiB for each queue.

        `gathering` is how many microseconds a driver with much in flight is told later, see `Service.gathers`.
        """
        self.port = port
        self.channel = channel
        self.staging = Staging(arena)
        self.on_control = on_control
        self.on_fault = on_fault
        self.max_copy = max_copy
        self.on_failure: Callable[[Exception], None] = lambda error: None
        self.refusals: dict[str, int] = {}
        self.table: dict[tuple[int, int], Service] = {}
        self.services: list[Service] = []
        self.stores: list[Store] = []
        self.last: Service | None = None
        self.unsaid = 0
        self.rewired = 1  # other descriptors may have to be slept on than before
        self.armed = 0
        self.gathering = 1000 * gathering
        self.due = 0
        self.clock: Callable[[], int] = time.monotonic_ns

    # --- queues ---

    def open_queue(
        self, device: int, queue: int, service: Service, terms: RingTerms, resume: RingResume | None = None
    ) -> None:
        """Serve a queue; what `resume` tells of is served first.

        Raises DriverFault when the addresses, size or the resume list cannot be right.
        """
        if (device, queue) in self.table:
            raise ValueError(f"queue {queue} of device {device} is open")
        ring = STRATEGIES[terms.ring, terms.fetch](self.port, self.staging, terms, self.max_copy)
        try:
            if resume is not None:
                ring.resume(resume)
                ring.take_over()
            service.bind(device, queue, self.port, ring, self.staging)
        except BaseException:
            ring.discard()
            raise
        self.table[device, queue] = service
        self.services.append(service)
        if service.store not in self.stores:
            self.stores.append(service.store)
        self.rewired = 1
        service.ready = 1

    def close_queue(self, device: int, queue: int) -> None:
        """Stop serving a queue; what is still in the store ends without a trace in the partner's memory.

        A queue opened later on the same store starts only after that has happened.
        """
        service = self.table.pop((device, queue), None)
        if service is None:
            return
        self.services.remove(service)
        self.last = None
        service.close()
        self.stores = [store for store in self.stores if store.pending or any(store.owners)]
        self.rewired = 1

    def release(self, store: Store) -> None:
        """Forget a store that none of its queues uses any more and that has nothing pending: it will be closed."""
        self.stores = [other for other in self.stores if other is not store]
        self.rewired = 1

    def close(self) -> None:
        """Close all queues (the partner is gone, or the session is over)."""
        for device, queue in list(self.table):
            self.close_queue(device, queue)

    def service(self, device: int, queue: int) -> Service | None:
        """The service of an open queue, for its counters."""
        return self.table.get((device, queue))

    def refuse(self, rule: str) -> None:
        """Count a broken rule."""
        self.refusals[rule] = self.refusals.get(rule, 0) + 1

    # --- one turn ---

    def turn(self) -> int:
        """Hear what came, reap what the stores finished, serve what is ready; 0 when there was nothing to do."""
        moved = 0
        entries = 0
        while entries < ENTRIES:
            kind = self.channel.poll()
            if kind == NOTHING:
                break
            entries += 1
            self._hear(kind)
        moved = entries
        self.unsaid = 0
        for store in self.stores:
            if store.pending:
                moved += self._reap(store)
        if self.due:
            self._expire()
        for service in self.services:
            if service.ready and not service.store.orphans:
                moved += self._serve(service)
        for store in self.stores:
            if store.unsent:
                store.submit()
                self.unsaid += store.unsent
        if self.channel.stalled:
            self.channel.stalled = 0
            self._control(STALLED, b"")
        return moved

    def _control(self, kind: int, entry: bytes) -> None:
        self.on_control(kind, entry)
        if self.armed:  # it may have registered anew, which masks the interrupt: the next sleep arms it again
            self.port.signal(0)
            self.armed = 0

    def _hear(self, kind: int) -> int:
        if kind in (CONTROL, LOST):
            self._control(kind, self.channel.entry())
            return 0
        service = self._find(self.channel.device, self.channel.queue)
        if service is None:
            self.refuse("announcement-queue")
            return 0
        if kind == USED:
            self.refuse("message-direction")  # only devices tell of used entries
            return 0
        try:
            if self.channel.credit:
                service.ring.hear_credit()
            if kind == AVAIL:
                service.ring.hear_avail(self.channel.position)
        except DriverFault as fault:
            self._stop(service, fault)
            return 0
        service.ready = 1
        return 0

    def _find(self, device: int, queue: int) -> Service | None:
        service = self.last
        if service is None or service.device != device or service.queue != queue:
            service = self.table.get((device, queue))
            self.last = service
        return service

    def _stop(self, service: Service, fault: DriverFault) -> None:
        """The driver broke a rule: this queue is served no more, everything else goes on."""
        self.refuse(fault.rule)
        self.close_queue(service.device, service.queue)
        self.on_fault(service.device, service.queue, fault.rule, fault.detail)

    def _serve(self, service: Service) -> int:
        ring = service.ring
        moved = 0
        turns = 0
        service.weight = 0
        try:
            while turns < TURNS:
                now = service.turn()
                moved += now
                turns += 1
                self._tell(service)
                if now == 0 or service.weight >= service.share or not (ring.waiting or ring.fetched != ring.announced):
                    break
        except DriverFault as fault:
            self._stop(service, fault)
            return 1
        if ring.waiting or ring.fetched != ring.announced or ring.replayed != ring.replays or service.parked_count:
            return moved
        service.ready = 0
        if service.until == 0:
            self._give_back(service)
        return moved

    def _tell(self, service: Service) -> int:
        """Announce what is used, if the driver wants it and the right to is here; its credit goes along."""
        ring = service.ring
        if not ring.notice or not ring.used_credit:
            return 0
        if self.gathering and self._waits(service):
            return 0
        held = ring.owes_credit()
        if self.channel.announce(USED, service.device, service.queue, ring.published, held) != 0:
            service.ready = 1
            self.unsaid = 1
            return 0
        service.telling()
        ring.notice = 0
        ring.used_credit = 0
        if held:
            ring.avail_held = 0
        return 0

    def _waits(self, service: Service) -> int:
        """Whether the driver is not to be told yet, because more will soon be worth telling."""
        if service.until == 0 and not service.gathers():
            return 0
        now = self.clock()
        if service.until == 0:
            service.until = now + self.gathering
        if service.until <= now:
            return 0
        if self.due == 0 or service.until < self.due:
            self.due = service.until
        return 1

    def _expire(self) -> int:
        """Have those told whose wait is over."""
        now = self.clock()
        if now < self.due:
            return 0
        self.due = 0
        for service in self.services:
            if service.until and service.until <= now:
                service.ready = 1
            elif service.until and (self.due == 0 or service.until < self.due):
                self.due = service.until
        return 0

    def _give_back(self, service: Service) -> int:
        """Return the AVAIL credit by itself: nothing is about to be announced that could carry it."""
        ring = service.ring
        if not ring.owes_credit():
            if ring.notice and ring.used_credit:
                service.ready = 1
                self.unsaid = 1
            return 0
        if self.channel.announce(CREDIT, service.device, service.queue, 0, 1) != 0:
            service.ready = 1
            self.unsaid = 1
            return 0
        ring.avail_held = 0
        return 0

    def _reap(self, store: Store) -> int:
        """Land what the store finished. Copies of one queue at a time: a refused one must name the right queue."""
        moved = 0
        current: Service | None = None
        while moved < REAPS and store.reap():
            moved += 1
            owner = store.owners[store.token >> 16]
            if isinstance(owner, Orphans):
                owner.land(store.token & 0xFFFF)
                continue
            service = owner
            if current is not None and current is not service:
                self._settle(current)
            current = service
            try:
                service.land(store.token & 0xFFFF, store.result)
            except DriverFault as fault:
                self._stop(service, fault)
        if current is not None:
            self._settle(current)
        return moved

    def _settle(self, service: Service) -> None:
        if not service.bound:
            return
        try:
            service.settle()
        except DriverFault as fault:
            self._stop(service, fault)

    def wakeups(self) -> list[int]:
        """Descriptors that are readable when a store has finished something."""
        return [store.wakeup() for store in self.stores if store.wakeup() >= 0]
