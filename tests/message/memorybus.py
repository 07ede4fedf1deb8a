# SPDX-License-Identifier: Apache-2.0
"""Two halves joined by two lists, and a device model that writes down what it was asked."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from virtio_crq.errors import DriverFault
from virtio_crq.message.backend import BackEnd
from virtio_crq.message.bus import BusLimits, Terms
from virtio_crq.message.device import QueueResume, QueueSetup
from virtio_crq.message.frontend import Conversation, FrontEnd, Outcome, T
from virtio_crq.message.message import Message
from virtio_crq.virtio.features import EVENT_IDX, INDIRECT_DESC, MANDATORY, RING_RESET, Features, feature_set
from virtio_crq.virtio.splitring import QueueIndex

OFFERED = Features(MANDATORY | feature_set(INDIRECT_DESC, EVENT_IDX, RING_RESET, 9))


class MemoryBus:
    """One end: what was sent waits in `sent` until the test delivers it."""

    def __init__(self, limits: BusLimits | None = None) -> None:
        self.limits = limits or BusLimits(max_message=4096, ring_entries=256)
        self.sent: deque[Any] = deque()
        self.terms: Terms | None = None
        self.resets: list[str] = []

    def send(self, message: Message) -> None:
        self.sent.append(message)

    def agreed(self, terms: Terms) -> None:
        self.terms = terms

    def reset(self, reason: str) -> None:
        self.resets.append(reason)


@dataclass
class RecordingDevice:
    """Answers at once unless `slow`; then `reset` and `disable_queue` stay pending until `settle()`."""

    device_id: int = 2
    vendor_id: int = 0x1AF4
    identity: bytes = b"identity-of-disk"
    features: Features = OFFERED
    queue_sizes: tuple[int, ...] = (256, 64)
    config: bytearray = field(default_factory=lambda: bytearray(range(64)))
    early_config: range = range(0)
    slow: bool = False
    pending: bool = False
    negotiated: int | None = None
    running: bool = False
    enabled: dict[int, tuple[QueueSetup, QueueResume | None]] = field(default_factory=dict)
    served: list[int] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    @property
    def config_size(self) -> int:
        return len(self.config)

    def read_config(self, offset: int, length: int) -> bytes:
        return bytes(self.config[offset : offset + length])

    def write_config(self, offset: int, data: bytes) -> None:
        if offset < 8:
            raise DriverFault("config-read-only", f"{offset}")
        self.config[offset : offset + len(data)] = data

    def driver_features(self, features: Features) -> None:
        self.calls.append("features")
        self.negotiated = features

    def driver_ok(self) -> None:
        self.calls.append("driver_ok")
        self.running = True
        for _, resume in self.enabled.values():
            self.served += resume.heads if resume else ()

    def enable_queue(self, index: QueueIndex, setup: QueueSetup, resume: QueueResume | None) -> None:
        if setup.descriptors >= 1 << 40:
            raise DriverFault("queue-address", f"{setup.descriptors:#x} lies outside the window")
        assert index not in self.enabled, "enabled twice"
        assert not self.pending, "enabled while old copies run"
        self.calls.append(f"enable {index}")
        self.enabled[index] = (setup, resume)

    def disable_queue(self, index: QueueIndex) -> bool:
        self.calls.append(f"disable {index}")
        self.enabled.pop(index, None)
        self.pending = self.pending or self.slow
        return not self.pending

    def reset(self) -> bool:
        self.calls.append("reset")
        self.pending = self.pending or (self.slow and bool(self.enabled))
        self.enabled.clear()
        self.running = False
        self.negotiated = None
        return not self.pending

    def settle(self) -> None:
        self.pending = False


class Joined:
    """A front-end and a back-end, and the wires between them."""

    def __init__(
        self, *devices: RecordingDevice, front: BusLimits | None = None, back: BusLimits | None = None
    ) -> None:
        self.models = dict(enumerate(devices or (RecordingDevice(),)))
        self.back_bus = MemoryBus(back)
        self.front_bus = MemoryBus(front)
        self.back = BackEnd(self.back_bus, dict(self.models))
        self.errors: list[Exception] = []
        self.events: list[tuple[str, int, int]] = []
        self.front = FrontEnd(
            self.front_bus,
            config_changed=lambda device, status: self.events.append(("config", device, status)),
            device_changed=lambda device, present: self.events.append(("device", device, int(present))),
            failed=self.errors.append,
        )

    def replace_server(self) -> None:
        """The device side's process died: another one serves the same disks."""
        self.models = {number: RecordingDevice() for number in self.models}
        self.back_bus.sent.clear()
        self.back = BackEnd(self.back_bus, dict(self.models))

    def open(self) -> "Joined":
        """Initialise the connection and get HELLO through."""
        self.back.opened()
        self.front.opened()
        self.pump()
        return self

    def pump(self) -> None:
        """Deliver until both wires are quiet."""
        while self.front_bus.sent or self.back_bus.sent:
            if self.front_bus.sent:
                self.back.receive(self.front_bus.sent.popleft())
            if self.back_bus.sent:
                self.front.receive(self.back_bus.sent.popleft())

    def lose(self) -> None:
        """The connection breaks: what is on the wires is gone."""
        self.front_bus.sent.clear()
        self.back_bus.sent.clear()
        self.back.lost("gone")
        self.front.lost("gone")

    def run(self, conversation: Conversation[T]) -> T:
        outcome: Outcome[T] = self.front.start(conversation)
        self.pump()
        return outcome.result()
