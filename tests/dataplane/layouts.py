# SPDX-License-Identifier: Apache-2.0
"""The driver's half of a queue for each layout that a strategy of the device's may read."""

from packedguest import PackedGuest
from recordguest import PairedGuest, RecordGuest
from rig import Guest, Platform

GUESTS: dict[str, type[Guest]] = {"split": Guest, "packed": PackedGuest, "records": RecordGuest, "paired": PairedGuest}


def guest_of(
    strategy: str, platform: Platform, size: int = 16, base: int = 0, event_idx: bool = False, in_order: bool = False
) -> Guest:
    """Of a queue that is served by `LAYOUT-FETCH`."""
    layout, _, fetch = strategy.partition("-")
    guest = GUESTS[layout](platform, size, base, event_idx, in_order)
    guest.fetch = fetch
    return guest
