# SPDX-License-Identifier: Apache-2.0
"""The transport's half of a queue in the client: how a driver's requests become known to a device, and when.

A driver fills and empties its ring and never knows which front is below. A front `publish`es what the driver submitted
and, when all is done that can be done now, `settle`s: the queue's one credit is spent on an announcement. It takes the
device's announcements (`used_told`, `credit_returned`), shows the driver what came of them (`deliver`) and has the next
completion told of (`rearm`); it stands still and goes on with the device (`suspend`, `standing`, `resume`).

What an announcement counts, and what stands in the client's window for the device to take, is a front's own affair:
`DirectFront` lets the device read the ring itself, a `PushFront` reads it and sends records. Completions may come
without any (`arrived`, `listen`).

Nothing that moves requests needs the interpreter's lock, and no method can be without it, be overridden and be visible
to Python code. So each operation has one name: what is the same for all fronts (`settle`, `used_told`,
`credit_returned`) is a function below, with a method for Python code; what fronts differ in is a method, which a final
class shows to Python code, or else a function below does (`arrived`, `listen`).
"""

from virtio_crq.dataplane.driverring import DriverRing
from virtio_crq.dataplane.mapping import SlotMapping
from virtio_crq.errors import DeviceFault
from virtio_crq.platform.channel import AVAIL, CREDIT, Channel, tell_through

CREDIT_OVERRUN = 0
CREDIT_UNOWED = 1
RULES = (
    ("credit-overrun", "a used announcement ({0}) came before the last one's credit was returned ({1})"),
    ("credit-unowed", "a credit came back that was not away (announced {0}, published {1})"),
)


class Front:
    """One queue's; a way of telling the device subclasses it. `position` is how far the device may go."""

    def __init__(self, ring: DriverRing) -> None:
        self.ring = ring
        self.refusals: dict[str, int] = ring.refusals
        self._begin()

    def _begin(self) -> None:
        self.position = self.announced = 0
        self.known = self.told = 0
        self.credit = 1
        self.owed = 0
        self.pending = 0
        self.unasked = 0
        self.held = 0  # 1: the platform did not take what it was to carry; it is asked again by the next `publish`

    def translate(self, mapping: SlotMapping) -> None:
        """The driver's buffers are in memory that stays mapped: a front may look at what they hold."""

    def publish(self) -> int:
        """Show the device all submitted requests; 1 when `settle` will announce something."""
        raise NotImplementedError

    def rearm(self) -> int:
        """Have the driver told of the next completion; 1 when one slipped in meanwhile and it must look again."""
        return self.ring.rearm()

    def settle(self, channel: Channel) -> int:
        return settle(self, channel)

    def sent(self) -> int:
        """Everything up to `position` was announced."""
        return 0

    def used_told(self, position: int, credit: int) -> int:
        return used_told(self, position, credit)

    def confirm(self, position: int) -> int:
        """The device says it completed all up to `position`: DeviceFault unless that can be true."""
        raise NotImplementedError

    def credit_returned(self) -> int:
        return credit_returned(self)

    def regained(self) -> int:
        """The device has read all that was announced."""
        return 0

    def deliver(self) -> int:
        """Have the driver's ring show what the device completed, where the device cannot; how many there were."""
        return 0

    def arrived(self) -> int:
        """Whether completions came that no announcement tells of."""
        return 0

    def listen(self, enabled: int) -> int:
        """Have the adapter's interrupt tell of such completions, or not."""
        return 0

    def suspend(self) -> None:
        """The device is gone. Call it after the last `collect()`: what it had completed is not asked for again."""
        raise NotImplementedError

    def standing(self, mark: int) -> tuple[int, int, list[int]]:
        """For a device that returns: available position, used position and the heads in flight, in order.

        What was not announced is not in flight: the device has never seen it, and hears of it by an announcement
        (CRQ-F-44). `mark` is the low byte of the new session's number.
        """
        raise NotImplementedError

    def resume(self) -> None:
        """The device is back and took over what `standing` told; requests made meanwhile are due."""
        self.credit = 1
        self.pending = 1 if self.position != self.announced else 0
        self.unasked = 1

    def reset(self) -> list[int]:
        """Forget all requests (queue or device reset); their tokens, oldest first."""
        tokens = self.ring.reset()
        self._begin()
        return tokens

    def refuse(self, rule: int, first: int, second: int) -> int:
        name, text = RULES[rule]
        self.refusals[name] = self.refusals.get(name, 0) + 1
        raise DeviceFault(name, f"queue {self.ring.queue} of device {self.ring.device}: {text.format(first, second)}")


def settle(front: Front, channel: Channel) -> int:
    """After a drain: announce what is due, or else return the device's credit if it will need it.

    The channel's code; what it did not take is due still.
    """
    if front.pending and front.credit:
        code = tell_through(channel, AVAIL, front.ring.device, front.ring.queue, front.position, front.owed)
        if code == 0:
            front.announced = front.position
            front.sent()
            front.pending = front.unasked = 0
            front.credit = front.owed = 0
        return code
    if not front.owed or not front.ring.in_flight:
        return 0
    code = tell_through(channel, CREDIT, front.ring.device, front.ring.queue, front.ring.last_used, 1)
    if code == 0:
        front.owed = 0
    return code


def used_told(front: Front, position: int, credit: int) -> int:
    """Take a used announcement. The driver finds what was completed by `collect()`."""
    front.confirm(position)
    if front.owed:
        return front.refuse(CREDIT_OVERRUN, position, front.told)
    front.told = position
    front.owed = 1
    return credit_returned(front) if credit else 0


def credit_returned(front: Front) -> int:
    """The right to announce came back. What was published meanwhile is due: the device does not look by itself."""
    if front.credit:
        return front.refuse(CREDIT_UNOWED, front.announced, front.position)
    front.credit = 1
    front.regained()
    if front.position != front.announced:
        front.pending = 1
    return front.pending


def arrived(front: Front) -> int:
    return front.arrived()


def listen(front: Front, enabled: int) -> int:
    return front.listen(enabled)
