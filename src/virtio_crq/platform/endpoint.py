# SPDX-License-Identifier: Apache-2.0
"""One half of a connection on some bus, as the control plane, the data plane and the commands see it.

`crq.server.CrqServer`, `crq.client.CrqClient`, `loopback.server.LoopbackServer` and `loopback.client.LoopbackClient`
all satisfy `Endpoint`. What travels is the business of `message/`; how it travels is the endpoint's.
"""

from collections import Counter
from collections.abc import Callable
from typing import Protocol

from virtio_crq.platform.channel import Channel
from virtio_crq.platform.partition import Arena
from virtio_crq.platform.port import Port

# An announcement, for whoever pumps an endpoint without a data plane: kind, device, queue, position, credit.
Announced = Callable[[int, int, int, int, int], None]


class Endpoint(Protocol):
    """Driven by one thread: whoever polls `channel` (a worker) hands CONTROL and LOST to `control`; or calls `pump`."""

    on_opened: Callable[[], None]  # a session has begun; `session` is its number
    on_lost: Callable[[str], None]  # the session is over; the reason in a few words
    on_announced: Announced  # only `pump` calls it

    @property
    def port(self) -> Port: ...

    @property
    def channel(self) -> Channel: ...

    @property
    def arena(self) -> Arena:
        """Own memory that is left for the data plane after the endpoint took its part; mapped on the server's side."""
        ...

    @property
    def window(self) -> int:
        """How many bytes of I/O addresses the client's window has: remote for a server, own for a client."""
        ...

    @property
    def session(self) -> int:
        """The number of the running session, 0 when there is none."""
        ...

    @property
    def refusals(self) -> Counter[str]:
        """How often the partner broke which rule, by the rule's name."""
        ...

    def fileno(self) -> int:
        """Readable when something may wait."""
        ...

    def start(self) -> None:
        """Make oneself reachable and look for the partner. Never blocks."""
        ...

    def pump(self) -> int:
        """Take and dispatch what waits, and do what time has made due; how many entries were taken. Never blocks."""
        ...

    def control(self, kind: int, entry: bytes) -> None:
        """Handle an entry that `channel.poll()` called CONTROL or LOST."""
        ...

    def arm(self) -> bool:
        """Before sleeping on `fileno()`: ask for the interrupt, look again. False: something waits, do not sleep."""
        ...

    def disarm(self) -> None:
        """After sleeping: acknowledge the interrupt and turn it off."""
        ...

    def close(self) -> None:
        """Leave: no copy through own mappings runs when this returns."""
        ...
