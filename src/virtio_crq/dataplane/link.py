# SPDX-License-Identifier: Apache-2.0
"""What the data plane needs of one connection: a port, its announcements, a stretch of own RAM, and its queues."""

from collections.abc import Callable

from virtio_crq.dataplane.service import Service
from virtio_crq.platform.channel import Channel
from virtio_crq.platform.partition import Arena
from virtio_crq.platform.port import Port


class Link:
    """One connection. All methods belong to the thread of its worker (or to nobody yet): see `Worker.call`.

    `on_control(kind, entry)` gets what the data plane does not understand: kind CONTROL or LOST, and the raw entry.
    `on_fault(device, queue, rule, detail)` is told when a queue was stopped: the device now needs a reset.
    `refusals` counts every broken rule by name.
    """

    def __init__(
        self,
        port: Port,
        channel: Channel,
        arena: Arena,
        on_control: Callable[[int, bytes], None],
        on_fault: Callable[[int, int, str, str], None],
        max_copy: int = 131072,
    ) -> None:
        """`arena` is mapped for the platform: at least 1 MiB of data plus about 128 KiB for each queue."""
        raise NotImplementedError

    def open_queue(
        self,
        device: int,
        queue: int,
        service: Service,
        size: int,
        descriptors: int,
        available: int,
        used: int,
        event_idx: bool,
        indirect: bool,
        fetch: str = "batched",
        resume: tuple[int, int, list[int]] | None = None,
    ) -> None:
        """Serve a queue whose three parts lie at these bus addresses of the partner. `fetch` names a strategy.

        `resume` is (avail position, used position, heads in flight in order): those heads are served first.
        Raises DriverFault when the addresses, size or the resume list cannot be right.
        """
        raise NotImplementedError

    def close_queue(self, device: int, queue: int) -> None:
        """Stop serving a queue; what is still in the store ends without a trace in the partner's memory.

        A queue opened later on the same store starts only after that has happened.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Close all queues (the partner is gone, or the session is over)."""
        raise NotImplementedError
