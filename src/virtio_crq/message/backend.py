# SPDX-License-Identifier: Apache-2.0
"""The device half of a connection: answers one front-end on behalf of many device models."""

from collections import Counter

from virtio_crq.message.bus import Bus, Terms
from virtio_crq.message.device import DeviceModel
from virtio_crq.message.message import Message


class BackEnd:
    """Sans-I/O: fed by its bus, answers through its bus, calls its device models. One thread at a time.

    `refused` counts every refusal by rule name; `refused_by_device[number]` the same per device.
    """

    def __init__(self, bus: Bus, devices: dict[int, DeviceModel], *, revision: int = 1) -> None:
        self.refused: Counter[str] = Counter()
        self.refused_by_device: dict[int, Counter[str]] = {}
        raise NotImplementedError

    @property
    def terms(self) -> Terms | None:
        """What HELLO agreed; None without a session."""
        raise NotImplementedError

    def opened(self) -> None:
        """The bus is initialised; a HELLO may come."""
        raise NotImplementedError

    def receive(self, message: Message) -> None:
        """Handle one control message. Never raises for what the driver sent: refusals are counted and answered."""
        raise NotImplementedError

    def lost(self, reason: str) -> None:
        """The partner is gone: every device is reset, the session is over."""
        raise NotImplementedError

    def settled(self, device: int) -> None:
        """A model's pending `reset()` or `disable_queue()` is through: nothing touches the driver's memory now."""
        raise NotImplementedError

    def config_changed(self, device: int) -> None:
        """The configuration space changed: the generation moves on and the driver is told."""
        raise NotImplementedError

    def needs_reset(self, device: int, reason: str) -> None:
        """A queue of `device` broke rule `reason`: count it, stop its queues, tell the driver."""
        raise NotImplementedError

    def count(self, device: int | None, rule: str) -> None:
        """Count a refusal that the data plane or the bus made."""
        raise NotImplementedError

    def status(self, device: int) -> int:
        """The device status bits."""
        raise NotImplementedError

    def driver_features(self, device: int) -> int:
        """What was negotiated; 0 before FEATURES_OK."""
        raise NotImplementedError

    def add(self, device: int, model: DeviceModel) -> None:
        """A device appears (EVENT_DEVICE READY when a session is up)."""
        raise NotImplementedError

    def remove(self, device: int) -> None:
        """A device disappears (EVENT_DEVICE REMOVED when a session is up)."""
        raise NotImplementedError
