# SPDX-License-Identifier: Apache-2.0
"""What every served device has in common: queues that the data plane serves once the driver said DRIVER_OK."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from virtio_crq.axes import BATCHED, PACKED, PUSH, SPLIT
from virtio_crq.dataplane.ringterms import PAIRED, RECORDS, RingResume, RingTerms
from virtio_crq.dataplane.service import Service
from virtio_crq.errors import DeviceFault, DriverFault
from virtio_crq.message.device import QueueResume, QueueSetup
from virtio_crq.vios.explain import CARRIERS, explanation
from virtio_crq.vios.lsmap import QueueView
from virtio_crq.virtio import records
from virtio_crq.virtio.deviceid import DeviceId
from virtio_crq.virtio.features import (
    ACCESS_PLATFORM,
    EVENT_IDX,
    IN_ORDER,
    INDIRECT_DESC,
    RING_PACKED,
    RING_RESET,
    VERSION_1,
    Features,
    feature_set,
    has,
)
from virtio_crq.virtio.ringareas import ring_areas
from virtio_crq.virtio.splitring import QueueIndex

OnFault = Callable[[int, int, str, str], None]  # device, queue, rule, detail
VENDOR = 0x1014  # IBM's PCI vendor id; virtio 1.4 §4.2.2 leaves it to the transport to say what a vendor id means
TRANSPORT_FEATURES = feature_set(VERSION_1, ACCESS_PLATFORM, INDIRECT_DESC, EVENT_IDX, RING_RESET)
PACKED_FEATURES = feature_set(RING_PACKED, IN_ORDER)


class QueueHost(Protocol):
    """The part of `dataplane.Link` that a device needs."""

    def open_queue(
        self, device: int, queue: int, service: Service, terms: RingTerms, resume: RingResume | None = None
    ) -> None: ...
    def close_queue(self, device: int, queue: int) -> None: ...
    def pair(self, device: int, queue: int, slots: int, partner: int) -> int: ...
    def part(self, device: int, queue: int) -> None: ...


class RingDevice:
    """Implements the queue half of `message.DeviceModel`; a device type adds identity, configuration and services.

    Created before its connection exists; `bind` tells it where its queues are served. One thread's object: the
    worker's, once the connection is added to a worker.
    """

    device_id: int
    vendor_id = VENDOR
    early_config = range(0)

    def __init__(self, identity: bytes, features: Features, services: Sequence[Service], queue_size: int) -> None:
        self.identity = identity
        self.features = Features(features | TRANSPORT_FEATURES)
        self.services = tuple(services)
        self.queue_sizes = (queue_size,) * len(self.services)
        self.negotiated = Features(0)
        self.fetch = BATCHED
        self._number = 0
        self._host: QueueHost | None = None
        self._window = 0
        self._on_fault: OnFault = lambda device, queue, rule, detail: None
        self.on_config: Callable[[], None] = lambda: None  # to be called when the configuration changed by itself
        self._driving = False
        self._enabled: dict[QueueIndex, tuple[QueueSetup, QueueResume | None]] = {}
        self._open: set[QueueIndex] = set()
        self._paired: set[QueueIndex] = set()
        self._terms: dict[QueueIndex, RingTerms] = {}  # of queues that are, or were, open

    def bind(
        self,
        number: int,
        host: QueueHost,
        window: int,
        on_fault: OnFault,
        fetch: str = BATCHED,
        ring: str = SPLIT,
    ) -> None:
        """From now on this is device `number` of that connection; the driver's window has `window` bytes.

        A driver may choose a packed ring where `ring` says so, and to have requests used in order.
        """
        if ring == PACKED:
            self.features = Features(self.features | PACKED_FEATURES)
        self._number, self._host, self._window, self._on_fault, self.fetch = number, host, window, on_fault, fetch

    def driver_features(self, features: Features) -> None:
        self.negotiated = features

    def driver_ok(self) -> None:
        self._driving = True
        for index in [index for index in self._enabled if index not in self._open]:
            try:
                self._serve(index)
            except (DriverFault, DeviceFault) as fault:
                # The driver cannot be refused DRIVER_OK any more; it learns that the device needs a reset, and no
                # queue of it is left to be served.
                self._on_fault(self._number, index, fault.rule, fault.detail)
                break

    def pair_queue(self, index: QueueIndex, slots: int, handle: int) -> int:
        own = self._served_by().pair(self._number, index, slots, handle)
        if own:
            self._paired.add(index)
        else:
            self._paired.discard(index)
        return own

    def enable_queue(self, index: QueueIndex, setup: QueueSetup, resume: QueueResume | None) -> None:
        if index in self._enabled:
            raise DriverFault("queue-state", f"queue {index} is enabled and was not reset")
        self._check_window(setup)
        self._enabled[index] = (setup, resume)
        if self._driving:
            try:
                self._serve(index)
            except (DriverFault, DeviceFault):
                del self._enabled[index]
                raise

    def disable_queue(self, index: QueueIndex) -> bool:
        self._enabled.pop(index, None)
        if index in self._open:
            self._open.discard(index)
            self._served_by().close_queue(self._number, index)
        if index in self._paired:
            self._paired.discard(index)
            self._served_by().part(self._number, index)
        return True  # the data plane leaves no trace in the driver's memory once a queue is closed

    def reset(self) -> bool:
        for index in {*self._enabled, *self._paired}:
            self.disable_queue(index)
        self._driving = False
        self.negotiated = Features(0)
        return True

    def queues(self) -> tuple[QueueView, ...]:
        """How the queues stand, for the mapping view."""
        enabled = dict(self._enabled)
        return tuple(
            QueueView(
                index=index,
                size=enabled[QueueIndex(index)][0].size if index in enabled else self.queue_sizes[index],
                enabled=index in enabled,
                in_flight=getattr(service, "in_flight", 0),
                requests=service.requests,
                carrier=CARRIERS[self._layout(QueueIndex(index), enabled[QueueIndex(index)][0])]
                if index in enabled
                else "",
            )
            for index, service in enumerate(self.services)
        )

    def carried(self) -> dict[str, str]:
        """What was negotiated for its queues, by axis; nothing while none is enabled."""
        for index, (setup, _) in dict(self._enabled).items():
            if setup.mark:
                return {"fetch": self._fetched(setup)}  # a pushed queue's ring nobody sees
            return {"ring": self._layout(index, setup), "fetch": self._fetched(setup)}
        return {}

    def counters(self) -> dict[str, int]:
        """Totals over all queues since the server started."""
        return {
            name: sum(getattr(service, name) for service in self.services)
            for name in ("requests", "errors", "bytes_in", "bytes_out")
        }

    def explain(self, last: int) -> list[dict[str, Any]]:
        """What was chosen for the last requests of each queue, the device's last life included, and why."""
        disk = self.device_id == DeviceId.BLOCK
        return [explanation(terms, self.services[index], last, disk) for index, terms in sorted(self._terms.items())]

    def _check_window(self, setup: QueueSetup) -> None:
        places = (setup.descriptors, setup.driver_area, setup.device_area)
        parts = (
            records.ring_areas(setup.size) if setup.mark else ring_areas(setup.size, has(self.negotiated, RING_PACKED))
        )
        for address, (length, _) in zip(places, parts, strict=True):
            if address + length > self._window:
                raise DriverFault("queue-address", f"{length} bytes at {address:#x}, window of {self._window:#x}")

    def _served_by(self) -> QueueHost:
        assert self._host is not None, "a device is bound before its connection may open"
        return self._host

    def _layout(self, index: QueueIndex, setup: QueueSetup) -> str:
        if not setup.mark:
            return PACKED if has(self.negotiated, RING_PACKED) else SPLIT
        return PAIRED if index in self._paired else RECORDS

    def _fetched(self, setup: QueueSetup) -> str:
        """A front-end that does not push has its rings read, whatever the server would like best."""
        if setup.mark:
            return PUSH
        return BATCHED if self.fetch == PUSH else self.fetch

    def _serve(self, index: QueueIndex) -> None:
        setup, resume = self._enabled[index]
        terms = RingTerms(
            setup.size,
            setup.descriptors,
            setup.driver_area,
            setup.device_area,
            event_idx=has(self.negotiated, EVENT_IDX),
            indirect=has(self.negotiated, INDIRECT_DESC),
            in_order=has(self.negotiated, IN_ORDER),
            ring=self._layout(index, setup),
            fetch=self._fetched(setup),
            device=self._number,
            queue=index,
            mark=setup.mark,
        )
        stopped = None if resume is None else RingResume(resume.avail_position, resume.used_position, resume.heads)
        self._served_by().open_queue(self._number, index, self.services[index], terms, stopped)
        self._open.add(index)
        self._terms[index] = terms
