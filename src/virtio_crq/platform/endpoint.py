# SPDX-License-Identifier: Apache-2.0
"""One half of a connection on some bus, as the control plane, the data plane and the commands see it.

`CrqServer` and `CrqClient` (crq.server, crq.client) and `LoopbackEndpoint` (loopback.endpoint) satisfy `Endpoint`, and
`message.bus.Bus` too. What travels is the business of `message/`; how, is the endpoint's.
"""

from collections import Counter
from collections.abc import Callable
from typing import Protocol

from virtio_crq.platform.channel import CONTROL, LOST, NOTHING, Channel
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
        """How often the partner broke which rule of the bus, by the rule's name; back end and rings count their own."""
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

    def due(self) -> float | None:
        """Seconds until `pump` is to be called although nothing came; None: not before something comes."""
        ...

    def arm(self) -> bool:
        """Before sleeping on `fileno()`: ask for the interrupt, look again. False: something waits, do not sleep."""
        ...

    def disarm(self, wholly: bool = False) -> None:
        """After sleeping: acknowledge the interrupt; it is turned off, unless it came for each entry anyway.

        `wholly`: it is off afterwards, for whoever goes on by looking, or by a port of his own.
        """
        ...

    def close(self) -> None:
        """Leave: no copy through own mappings runs when this returns."""
        ...


DRAIN_LIMIT = 1024  # entries taken at once, so that a partner's flood does not hold its reader


def drain(endpoint: Endpoint) -> int:
    """Take what waits and hand each entry to where it belongs; how many there were."""
    channel = endpoint.channel
    for taken in range(DRAIN_LIMIT):
        kind = channel.poll()
        if kind == NOTHING:
            return taken
        if kind in (CONTROL, LOST):
            endpoint.control(kind, channel.entry())
        else:
            endpoint.on_announced(kind, channel.device, channel.queue, channel.position, channel.credit)
    return DRAIN_LIMIT
