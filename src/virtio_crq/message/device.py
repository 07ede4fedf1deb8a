# SPDX-License-Identifier: Apache-2.0
"""What the transport asks of a device model. The I/O server implements it; the transport never sees a ring."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from virtio_crq.virtio.features import Features
from virtio_crq.virtio.splitring import DescriptorIndex, QueueIndex, QueueSize, RingPosition


@dataclass(frozen=True)
class QueueSetup:
    """Where the driver put a queue; addresses are I/O bus addresses in the driver's window."""

    size: QueueSize
    descriptors: int
    driver_area: int
    device_area: int
    mark: int = 0  # the low byte of the session's number, where PUSH makes of the queue two rings of records


@dataclass(frozen=True)
class QueueResume:
    """How far a queue had come, checked against itself: distance(avail, used) == len(heads), heads distinct, < size.

    A packed queue has no heads: its ring shows what is in flight, from `used_position` on.

    The device serves `heads` first and in this order, then goes on at `avail_position`; it writes its next used entry
    at `used_position`.
    """

    avail_position: RingPosition
    used_position: RingPosition
    heads: tuple[DescriptorIndex, ...]


@runtime_checkable
class PairingModel(Protocol):
    """A device model whose pushed queues may go by side queues as well."""

    def pair_queue(self, index: QueueIndex, slots: int, handle: int) -> int:
        """The front-end takes completions at `handle` and sends at most `slots` requests ahead.

        Where it is to send them; 0 where there is no such place. It holds for the queue that is enabled next.
        """
        ...


class DeviceModel(Protocol):
    """One virtio device. Called by one thread, never re-entered.

    Raise `DriverFault(rule, detail)` from `write_config` or `enable_queue` to refuse what the driver asked.
    `disable_queue` and `reset` return True when nothing touches the driver's memory any more. Otherwise they return
    False and whoever owns the model calls `BackEnd.settled(device)` as soon as that is so.
    """

    @property
    def device_id(self) -> int: ...
    @property
    def vendor_id(self) -> int: ...
    @property
    def identity(self) -> bytes:
        """16 bytes that stay the same as long as the same data stands behind the device."""
        ...

    @property
    def features(self) -> Features:
        """What the device offers; VERSION_1 and ACCESS_PLATFORM among it."""
        ...

    @property
    def queue_sizes(self) -> tuple[int, ...]:
        """The largest size of each queue."""
        ...

    @property
    def config_size(self) -> int: ...
    @property
    def early_config(self) -> range:
        """Bytes of the configuration that a driver may write in any state of the device; mostly none."""
        ...

    def read_config(self, offset: int, length: int) -> bytes: ...
    def write_config(self, offset: int, data: bytes) -> None: ...
    def driver_features(self, features: Features) -> None:
        """Negotiation ended with `features` (FEATURES_OK was accepted, or a device was resumed)."""
        ...

    def driver_ok(self) -> None:
        """Start every enabled queue; a queue enabled later starts at once."""
        ...

    def enable_queue(self, index: QueueIndex, setup: QueueSetup, resume: QueueResume | None) -> None:
        """A queue stands at `setup`. It is served only once `driver_ok()` was called."""
        ...

    def disable_queue(self, index: QueueIndex) -> bool: ...
    def reset(self) -> bool:
        """Back to the state before any driver; every queue is disabled."""
        ...
