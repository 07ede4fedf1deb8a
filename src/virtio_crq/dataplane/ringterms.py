# SPDX-License-Identifier: Apache-2.0
"""What a queue was set up with, and where another server stopped serving it: all that opening a ring takes."""

from dataclasses import dataclass

from virtio_crq.axes import BATCHED, SPLIT
from virtio_crq.dataplane.sidequeue import SideQueue

# Layouts of a queue that is pushed, beside those of rings: records in the driver's memory, or by a pair of side queues.
RECORDS, PAIRED = "records", "paired"


@dataclass(frozen=True)
class RingTerms:
    """One queue as the driver placed and negotiated it; addresses are the partner's I/O addresses.

    `ring` is the layout in the driver's memory, `fetch` how it is brought in: `strategies` has a class for each pair.
    `device`, `queue` and `mark`, the session's low byte, stand in every record of a pushed queue, whose requests are at
    `descriptors` and whose completions go to `device_area`; or both go by `side`, a pair of side queues.
    """

    size: int
    descriptors: int
    driver_area: int
    device_area: int
    event_idx: bool = False
    indirect: bool = False
    in_order: bool = False
    ring: str = SPLIT
    fetch: str = BATCHED
    device: int = 0
    queue: int = 0
    mark: int = 0
    side: SideQueue | None = None


@dataclass(frozen=True)
class RingResume:
    """Positions at which another server stopped, and the heads it had in flight, in the order to serve them."""

    available: int
    used: int
    heads: tuple[int, ...]
