# SPDX-License-Identifier: Apache-2.0
"""One connection, served: what comes over its channel is heard, and its `queues` are worked on and told of."""

import time
from collections.abc import Callable

import cython

from virtio_crq.dataplane.orphans import Orphans
from virtio_crq.dataplane.queues import Queues
from virtio_crq.dataplane.service import Service
from virtio_crq.dataplane.store import Store
from virtio_crq.errors import DriverFault
from virtio_crq.platform.channel import (
    AVAIL,
    CONTROL,
    CREDIT,
    LOST,
    NOTHING,
    STALLED,
    USED,
    Channel,
    entry_waits,
    take_from,
    tell_through,
)
from virtio_crq.platform.partition import Arena
from virtio_crq.platform.port import Port

IDLE = 0
WORKED = 1
BY_TURN = 2
ENTRIES = 64  # heard in one turn, so that a flood of entries does not keep queues from being served
TURNS = 4  # mini-batches of one queue in one turn
REAPS = 32  # completions of one store landed in one turn


class Link(Queues):
    """One connection. All methods belong to the thread of its worker (or to nobody yet): see `Worker.call`.

    `on_control(kind, entry)` gets what the data plane does not understand: kind CONTROL or LOST, and the raw entry; or
    STALLED, when an announcement found no room at the partner.
    `on_fault(device, queue, rule, detail)` is told when a queue was stopped: the device now needs a reset.
    `on_failure(error)` is told of an error of our own in a turn; the worker turns this link no more.
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
        super().__init__(port, arena, max_copy)
        self.channel = channel
        self.on_control = on_control
        self.on_fault = on_fault
        self.on_failure: Callable[[Exception], None] = lambda error: None
        self.next: Link | None = None  # of those that a worker sweeps
        self.taken = NOTHING  # an entry that is out of the ring and not judged yet
        self.restless = 1
        self.due_turn = 0
        self.within = 0
        self.served_device = self.served_queue = 0  # within a short turn
        self.heard = 0
        self.woken = 0
        self.unsaid = 0
        self.gathering = 1000 * gathering
        self.due = 0
        self.clock: Callable[[], int] = time.monotonic_ns

    # --- one turn ---

    def sweep(self, others: int) -> int:
        """A short turn of this link and of those behind it, without the interpreter's lock.

        IDLE: nothing waits anywhere. WORKED: something was done. BY_TURN: those that are `due_turn` need a whole turn.
        `others`: only of links that need none by themselves, since nothing is under way there.
        """
        found = IDLE if others and (self.restless or self.due) else self.quick()
        if self.next is not None:
            rest = self.next.sweep(others)
            if rest > found:
                found = rest
        return found

    def quick(self) -> int:
        """Serve the queues whose records came, then hear and serve the queue that spoke last: each its share.

        A DriverFault leaves `within` set: whoever catches it has `fault` judge it.
        """
        if self.restless or self.due:
            self.due_turn = 1
            return BY_TURN
        found = IDLE
        if self.paired is not None:
            found = self._quick_records(self.paired)
            if found == BY_TURN:
                self.due_turn = 1
                return BY_TURN
        if not entry_waits(self.channel):
            return found
        self.taken = take_from(self.channel)
        if self.taken == NOTHING:
            return found
        self.heard += 1
        self._unarm()
        if self.last is None:
            self.due_turn = 1
            return BY_TURN
        self._enter(self.last)
        found = self._quick(self.last)
        self.within = 0
        if found == BY_TURN:
            self.due_turn = 1
        return found

    def _enter(self, service: Service) -> int:
        self.within = 1
        self.served_device = service.device
        self.served_queue = service.queue
        return 0

    def _quick_records(self, service: Service) -> int:
        """Serve what came by side queues for this queue and for those behind it, each for no longer than a turn."""
        found = IDLE
        if service.ring.arrived():
            self.heard += 1
            self._unarm()
            self._enter(service)
            found = self._serve_records(service)
            self.within = 0
        if service.following is not None:
            rest = self._quick_records(service.following)
            if rest > found:
                found = rest
        return found

    def _serve_records(self, service: Service) -> int:
        if service.store.orphans:
            return BY_TURN
        service.ready = 1  # until nothing of it is parked
        self._serve(service)
        if service.ready or service.store.pending or self.due or self.channel.stalled:
            return BY_TURN
        return WORKED

    def _quick(self, service: Service) -> int:
        entries = 0
        while self.taken != NOTHING and entries < ENTRIES:
            if not self._spoke(service):
                return BY_TURN
            entries += 1
            service.ready = 1
            self._told(service)
            self.taken = take_from(self.channel)
        if self.taken != NOTHING:
            return BY_TURN
        if service.store.orphans:
            return BY_TURN
        self._serve(service)
        if service.ready or service.store.pending or self.due or self.channel.stalled:
            return BY_TURN
        return WORKED

    def _spoke(self, service: Service) -> int:
        """Whether the entry that was taken is an announcement of this queue's driver."""
        if self.taken != AVAIL and self.taken != CREDIT:
            return 0
        return 1 if self.channel.device == service.device and self.channel.queue == service.queue else 0

    def _told(self, service: Service) -> int:
        if self.channel.credit:
            service.ring.hear_credit()
        if self.taken == AVAIL:
            service.ring.hear_avail(self.channel.position)
        return 0

    def _unarm(self) -> int:
        """What comes while nobody sleeps is found by looking: an interrupt for it would only cost its sender.

        What a sleeper was woken for leaves the interrupt on: as long as entries are few, it is never touched.
        """
        if not self.woken:
            if self.armed:
                self.port.signal(0)
                self.armed = 0
            if self.aside is not None:
                self.aside.hush_busy()
        self.woken = 0
        return 0

    def fault(self, fault: DriverFault) -> bool:
        """Whether a short turn of this link raised it; its queue is then served no more."""
        if not self.within:
            return False
        self.within = 0
        self.taken = NOTHING
        self.restless = 1
        service = self.table.get((self.served_device, self.served_queue))
        if service is not None:
            self._stop(service, fault)
        return True

    def turn(self) -> int:
        """Hear what came, reap what the stores finished, serve what is ready; 0 when there was nothing to do."""
        moved = 0
        entries = 0
        self.due_turn = 0
        while entries < ENTRIES:
            if self.taken == NOTHING:
                self.taken = self.channel.poll()
            if self.taken == NOTHING:
                break
            kind = self.taken
            self.taken = NOTHING
            if entries == 0:
                self._unarm()
            entries += 1
            self._hear(kind)
        moved = entries
        self.heard += entries
        self.unsaid = 0
        for store in self.stores:
            if store.pending:
                moved += self._reap(store)
        if self.due:
            self._expire()
        for service in self.services:
            aside = service.ring.arrived()
            if aside:
                service.ready = 1
                self.heard += 1
                if entries == 0:
                    self._unarm()
                entries += 1
            if service.ready and not service.store.orphans:
                moved += self._served(service) + aside  # what was dropped moved as well
        for store in self.stores:
            if store.unsent:
                store.submit()
                self.unsaid += store.unsent
        if self.channel.stalled:
            self.channel.stalled = 0
            self._control(STALLED, b"")
        self.restless = self._rests()
        return moved

    def _rests(self) -> int:
        """1 while something is under way of which no entry will tell: it takes whole turns."""
        for store in self.stores:
            if store.pending:
                return 1
        for service in self.services:
            if service.ready:
                return 1
        return 1 if self.unsaid else 0

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
        self.taken = kind
        try:
            self._told(service)
        except DriverFault as fault:
            self.taken = NOTHING
            self._stop(service, fault)
            return 0
        self.taken = NOTHING
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

    def _served(self, service: Service) -> int:
        try:
            with cython.nogil:
                moved = self._serve(service)
        except DriverFault as fault:
            self._stop(service, fault)
            return 1
        return moved

    def _serve(self, service: Service) -> int:
        moved = 0
        turns = 0
        service.weight = 0
        while turns < TURNS:
            now = service.step()
            moved += now
            turns += 1
            self._tell(service)
            if now == 0 or service.weight >= service.share or not self._more(service):
                break
        if service.ring.held:
            self.unsaid = 1
            return moved
        if self._more(service) or service.parked_count:
            return moved
        service.ready = 0
        if service.until == 0:
            self._give_back(service)
        return moved

    def _more(self, service: Service) -> int:
        return 1 if service.ring.waiting or service.ring.behind() else 0

    def _tell(self, service: Service) -> int:
        """Announce what is used, if the driver wants it and the right to is here; its credit goes along."""
        if not service.ring.notice or not service.ring.used_credit:
            return 0
        if self.gathering and self._waits(service):
            return 0
        held = service.ring.owes_credit()
        if tell_through(self.channel, USED, service.device, service.queue, service.ring.published, held) != 0:
            service.ready = 1
            self.unsaid = 1
            return 0
        service.telling()
        service.ring.notice = 0
        service.ring.used_credit = 0
        if held:
            service.ring.avail_held = 0
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
        if not service.ring.owes_credit():
            if service.ring.notice and service.ring.used_credit:
                service.ready = 1
                self.unsaid = 1
            return 0
        if tell_through(self.channel, CREDIT, service.device, service.queue, 0, 1) != 0:
            service.ready = 1
            self.unsaid = 1
            return 0
        service.ring.avail_held = 0
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

    def expects(self) -> int:
        """Whether a store has finished something; if not, its descriptor will tell of the next."""
        for store in self.stores:
            if store.pending and store.expect():
                return 1
        return 0

    def wakeups(self) -> list[int]:
        """Descriptors that are readable when a store has finished something."""
        return [store.wakeup() for store in self.stores if store.wakeup() >= 0]
