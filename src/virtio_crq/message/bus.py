# SPDX-License-Identifier: Apache-2.0
"""What both halves ask of whatever carries their messages."""

from dataclasses import dataclass
from typing import Protocol

from virtio_crq.message.message import Message, SessionNumber

COPY_GRANULARITY_MIN = 2  # ring positions are 2 bytes; a bus that tears them cannot carry virtio


@dataclass(frozen=True)
class BusLimits:
    """Facts of one end of a connection, known before HELLO. The area is the front-end's; 0 where the bus has none."""

    max_message: int  # bytes of header and payload, as virtio-msg counts
    ring_entries: int  # entries that this end's ring holds, large for a bus that does not drop
    copy_granularity: int = COPY_GRANULARITY_MIN
    copy_max: int = 128 * 1024
    area_address: int = 0
    area_slots: int = 0
    area_slot_size: int = 0


@dataclass(frozen=True)
class Terms:
    """What HELLO agreed; frozen until the connection is reset."""

    session: SessionNumber
    revision: int
    features: int
    max_message: int
    ring_entries: int  # of the smaller ring
    max_devices: int
    copy_granularity: int
    copy_max: int
    area_address: int
    area_slots: int
    area_slot_size: int


class Bus(Protocol):
    """One end of a connection.

    The bus calls `opened()` on its half once the connection is initialised, `receive(message)` for each control
    message, in order, and `lost(reason)` when the partner is gone. It keeps EVENT_AVAIL, EVENT_USED and CREDIT for its
    `Channel`. Nothing here blocks.
    """

    @property
    def limits(self) -> BusLimits: ...

    def send(self, message: Message) -> None:
        """Send in order. A partner that cannot be told is reported by `lost()`, never by an exception here."""
        ...

    def agreed(self, terms: Terms) -> None:
        """HELLO is through: from now on the session's byte is checked and the message area is in use."""
        ...

    def reset(self, reason: str) -> None:
        """The partner broke the protocol beyond repair: reset the connection. `lost()` follows."""
        ...
