# SPDX-License-Identifier: Apache-2.0
"""The queues of one connection: opened, paired, closed. What is served, and when, is the `link`'s business."""

from dataclasses import replace

from virtio_crq.dataplane.ring import DeviceRing
from virtio_crq.dataplane.ringterms import RingResume, RingTerms
from virtio_crq.dataplane.service import Service
from virtio_crq.dataplane.sidequeue import SideQueue
from virtio_crq.dataplane.staging import Staging
from virtio_crq.dataplane.store import Store
from virtio_crq.dataplane.strategies import STRATEGIES
from virtio_crq.platform.partition import Arena
from virtio_crq.platform.port import Port
from virtio_crq.virtio import records


class Queues:
    """`services` of open queues, the `stores` they use, and `sides`: the side queues of those that have records sent.

    `refusals` counts every broken rule by name.
    """

    def __init__(self, port: Port, arena: Arena, max_copy: int) -> None:
        self.port = port
        self.staging = Staging(arena)
        self.max_copy = max_copy
        self.refusals: dict[str, int] = {}
        self.table: dict[tuple[int, int], Service] = {}
        self.sides: dict[tuple[int, int], SideQueue] = {}
        self.aside: SideQueue | None = None  # the first of those whose queues are open
        self.leaving: list[SideQueue] = []  # which the platform did not take back yet
        self.paired: Service | None = None  # the first of those whose records come by side queues
        self.services: list[Service] = []
        self.stores: list[Store] = []
        self.last: Service | None = None  # that spoke
        self.rewired = 1  # other descriptors may have to be slept on than before
        self.armed = 0  # the interrupt is on

    def open_queue(
        self, device: int, queue: int, service: Service, terms: RingTerms, resume: RingResume | None = None
    ) -> None:
        """Serve a queue; what `resume` tells of is served first.

        Raises DriverFault when the addresses, size or the resume list cannot be right.
        """
        if (device, queue) in self.table:
            raise ValueError(f"queue {queue} of device {device} is open")
        if terms.ring == "paired":
            terms = replace(terms, side=self.sides[device, queue])
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
        self._chain()
        if service.store not in self.stores:
            self.stores.append(service.store)
        self.rewired = 1
        service.ready = 1

    def pair(self, device: int, queue: int, slots: int, partner: int) -> int:
        """Have a side queue for the records of a queue that is opened later, and send to the partner's; its handle.

        0 where the platform has none for us; `slots` is how many records the front-end may have in flight.
        """
        self.part(device, queue)
        while self.leaving and self.leaving[0].close(1) == 0:
            self._let_go(self.leaving.pop(0))
        at = self.staging.take(SideQueue.footprint(slots))
        if at < 0:
            return 0
        side = SideQueue(self.port, at, self.staging.address(at), SideQueue.footprint(slots) // records.REQUEST)
        if side.open() != 0:
            self.staging.give(at, SideQueue.footprint(slots))
            return 0
        side.partner = partner
        self.sides[device, queue] = side
        return int(side.handle)

    def part(self, device: int, queue: int) -> None:
        """Give a side queue back. What a partner that stands still has not finished sending keeps its memory.

        It keeps nobody waiting: the platform is asked once, and again when the next queue is paired.
        """
        side = self.sides.pop((device, queue), None)
        self._chain()
        if side is not None and side.close(1) == 0:
            self._let_go(side)
        elif side is not None:
            self.leaving.append(side)

    def _let_go(self, side: SideQueue) -> None:
        self.staging.give(side.offset, SideQueue.footprint(side.slots))

    def close_queue(self, device: int, queue: int) -> None:
        """Stop serving a queue; what is still in the store ends without a trace in the partner's memory.

        A queue opened later on the same store starts only after that has happened.
        """
        service = self.table.pop((device, queue), None)
        if service is None:
            return
        self._count_stale(service.ring)
        self.services.remove(service)
        service.following = None
        self._chain()
        self.last = None
        service.close()
        self.part(device, queue)
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
        for device, queue in list(self.sides):
            self.part(device, queue)

    def service(self, device: int, queue: int) -> Service | None:
        """The service of an open queue, for its counters."""
        return self.table.get((device, queue))

    def refuse(self, rule: str) -> None:
        """Count a broken rule."""
        self.refusals[rule] = self.refusals.get(rule, 0) + 1

    def _count_stale(self, ring: DeviceRing) -> None:
        if ring.stale:
            self.refusals["record-stale"] = self.refusals.get("record-stale", 0) + ring.stale

    def _chain(self) -> None:
        """What a short turn looks at, without the interpreter: what comes before a queue is served waits for that."""
        self.aside = None
        for place, side in self.sides.items():
            if place in self.table:
                side.next = self.aside
                self.aside = side
        self.paired = None
        for service in self.services:
            if (service.device, service.queue) in self.sides:
                service.following = self.paired
                self.paired = service
        if self.armed:
            self.listen()

    def listen(self) -> None:
        """Have the interrupt tell of records as well, before a sleep."""
        if self.aside is not None:
            self.aside.listen_all(1)
