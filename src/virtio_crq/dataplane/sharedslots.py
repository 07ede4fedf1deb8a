# SPDX-License-Identifier: Apache-2.0
"""Request slots in memory that the device maps as a whole: each piece lies for it where the driver has it.

Nothing is shown and nothing hidden. A driver of a guest would name the pages of its user, so nothing bounces either.
"""

from virtio_crq.dataplane.mapping import SlotMapping, pages
from virtio_crq.dataplane.pieces import DATA


class SharedSlots(SlotMapping):
    """One stretch, in the order of own RAM."""

    name = "shared"

    @staticmethod
    def footprint(slots: int, head: int, data: int, kept: int = 0) -> tuple[int, int]:
        return slots * (head + pages(data)), slots * (head + pages(data))

    def bus_at(self, slot: int, piece: int) -> int:
        return self.bus + slot * self.stride + (self.head if piece == DATA else 0)
