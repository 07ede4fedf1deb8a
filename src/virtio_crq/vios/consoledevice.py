# SPDX-License-Identifier: Apache-2.0
"""The console device (virtio 1.4 §5.3) over terminals: port 0 is the console, further ports have names.

With one port it offers no MULTIPORT: size changes then come through the configuration space, which every driver reads
alike. The RESIZE message has columns before rows, as the standard says; Linux before 6.15 takes them the other way.
"""

import logging
from collections.abc import Sequence

from virtio_crq.dataplane.consoleservice import (
    ControlReceiveService,
    ControlTransmitService,
    ReceiveService,
    TransmitService,
)
from virtio_crq.dataplane.service import Service
from virtio_crq.dataplane.streamstore import StreamStore
from virtio_crq.errors import DeviceFault, DriverFault
from virtio_crq.message.device import QueueResume, QueueSetup
from virtio_crq.vios.consolecontrol import ConsoleControl
from virtio_crq.vios.consoleterminal import ConsoleTerminal
from virtio_crq.vios.namerecord import NameRecord
from virtio_crq.vios.ringdevice import RingDevice
from virtio_crq.virtio import console
from virtio_crq.virtio.console import ConsoleConfig, Event
from virtio_crq.virtio.deviceid import DeviceId
from virtio_crq.virtio.features import Features, feature_set, has
from virtio_crq.virtio.splitring import QueueIndex

RECEIVE_SIZE = 16  # a driver in use keeps a page behind each buffer, which may be 64 KiB
TRANSMIT_SIZE = 64
log = logging.getLogger("virtio_crq.vios")


class ConsoleDevice(RingDevice):
    """`name` is CLIENT/TARGET; `names` are those of the ports, the first empty; `record` remembers which ports
    drivers have open, beyond this server's death."""

    device_id = DeviceId.CONSOLE
    config_size = console.CONFIG_SIZE
    early_config = range(
        console.CONFIG_EMERGENCY_OFFSET, console.CONFIG_EMERGENCY_OFFSET + console.CONFIG_EMERGENCY_SIZE
    )

    def __init__(
        self,
        name: str,
        identity: bytes,
        names: Sequence[str],
        terminals: Sequence[ConsoleTerminal],
        record: NameRecord | None = None,
    ) -> None:
        self.name = name
        self.names = tuple(names)
        self.terminals = tuple(terminals)
        self.store = StreamStore()
        self._record = record or NameRecord()
        self._control = ConsoleControl(self.names, self.terminals)
        self._inputs = [ReceiveService(self.store, terminal, self._look) for terminal in terminals]
        self._outputs = [TransmitService(self.store, terminal, self._look) for terminal in terminals]
        self._mail = ControlReceiveService(self.store, self._control)
        self._resumed = False
        self._size = (0, 0)
        self._there: list[bool] = []
        multiport = feature_set(console.MULTIPORT) if len(names) > 1 else 0
        features = feature_set(console.SIZE, console.EMERG_WRITE) | multiport
        super().__init__(identity, Features(features), self._services(), TRANSMIT_SIZE)
        self.queue_sizes = tuple(
            TRANSMIT_SIZE if isinstance(service, TransmitService) else RECEIVE_SIZE for service in self.services
        )
        for terminal in self.terminals:
            terminal.bind(self.store.knock)

    def _services(self) -> list[Service]:
        """In the order of the queues (§5.3.2)."""
        services: list[Service] = [self._inputs[0], self._outputs[0]]
        if len(self.names) > 1:
            services += [self._mail, ControlTransmitService(self.store, len(self.names), self._heard)]
        for receive, transmit in zip(self._inputs[1:], self._outputs[1:], strict=True):
            services += [receive, transmit]
        return services

    @property
    def multiport(self) -> bool:
        """Whether the driver speaks of ports."""
        return has(self.negotiated, console.MULTIPORT)

    def read_config(self, offset: int, length: int) -> bytes:
        space = ConsoleConfig(*self.terminals[0].size, len(self.names)).encode()
        if offset + length > len(space):
            raise DriverFault("config-range", f"{length} bytes at {offset}, but the space has {len(space)}")
        return space[offset : offset + length]

    def write_config(self, offset: int, data: bytes) -> None:
        """Only `emerg_wr`, whose lowest byte goes out at once (§5.3.4), whatever state the driver is in."""
        if offset != console.CONFIG_EMERGENCY_OFFSET or len(data) != console.CONFIG_EMERGENCY_SIZE:
            raise DriverFault("config-read-only", f"write of {len(data)} bytes at {offset}")
        self.terminals[0].write(data[:1])

    def driver_features(self, features: Features) -> None:
        super().driver_features(features)
        self._resumed = False

    def enable_queue(self, index: QueueIndex, setup: QueueSetup, resume: QueueResume | None) -> None:
        self._resumed = self._resumed or resume is not None
        super().enable_queue(index, setup, resume)

    def driver_ok(self) -> None:
        for port, service in enumerate(self._inputs):
            # Without MULTIPORT a driver listens from the start; with it, once it said so, be it to a lost server.
            service.gate = int(self._record.has(self._port_name(port)) if self.multiport and self._resumed else 0)
        if not self.multiport:
            self._inputs[0].gate = 1
        elif self._resumed:
            self._control.announce()  # what the lost server still had to tell is not known
        self._mail.gate = 1
        self._size = self.terminals[0].size
        self._there = [terminal.connected for terminal in self.terminals]
        super().driver_ok()
        if self._size != (0, 0):
            self.on_config()  # drivers in use ask for the size only when told that it changed
        self.store.knock()

    def reset(self) -> bool:
        settled = super().reset()
        self._resumed = False
        self._control.reset()
        for service in self._inputs:
            service.gate = 0
        return settled

    def counters(self) -> dict[str, int]:
        return super().counters() | {
            "discarded": sum(terminal.discarded for terminal in self.terminals),
            "not_repeated": sum(service.withheld for service in self._outputs),
        }

    def close(self) -> None:
        """After the last queue was closed: give the terminals back."""
        for terminal in self.terminals:
            terminal.close()
        self.store.close()

    def _heard(self, port: int, event: int, value: int) -> None:
        """A control message from the driver, whose port and event exist."""
        if event == Event.DEVICE_READY:
            if value:
                self._control.announce()
        elif event == Event.PORT_READY:
            if value:
                self._control.port_ready(port)
        else:
            self._inputs[port].gate = int(value != 0)
            self._remember(port, value != 0)
        self.store.knock()

    def _remember(self, port: int, opened: bool) -> None:
        try:
            self._record.keep(self._port_name(port), opened)
        except DeviceFault as fault:
            log.warning("%s: %s; after a restart of this server port %d has no input", self.name, fault, port)

    def _port_name(self, port: int) -> str:
        return f"{self.name}:{port}"

    def _look(self) -> None:
        """A terminal knocked: tell the driver of a new size, and of who came or left."""
        for terminal in self.terminals:
            terminal.attend()
        size = self.terminals[0].size
        if size != self._size:
            self._size = size
            self._control.resized(0)
            self.on_config()
            self.store.knock()  # this round may be past the control queue
        there = [terminal.connected for terminal in self.terminals]
        for port, (before, now) in enumerate(zip(self._there, there, strict=False)):
            if before != now:
                self._control.opened(port)
        if there != self._there:
            self._there = there
            self.store.knock()
