# SPDX-License-Identifier: Apache-2.0
"""The device status machine (virtio 1.4 §2.1, §3.1) as a table, and what a write to the status asks of it."""

from enum import Enum

from virtio_crq.message.machine import Machine
from virtio_crq.virtio import status as bits
from virtio_crq.virtio.status import DeviceStatus


class State(Enum):
    RESET = "Reset"
    ACKNOWLEDGED = "Acknowledged"
    DRIVER = "Driver"
    NEGOTIATED = "Negotiated"
    RUNNING = "Running"
    BROKEN = "Broken"
    FAILED = "Failed"


class Event(Enum):
    WRITE_RESET = "status 0"
    WRITE_ACKNOWLEDGE = "ACKNOWLEDGE"
    WRITE_DRIVER = "DRIVER"
    WRITE_FEATURES_OK = "FEATURES_OK"
    WRITE_DRIVER_OK = "DRIVER_OK"
    WRITE_FAILED = "FAILED"
    RESUME = "RESUME_DEVICE"
    FAULT = "a rule was broken"


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.RESET, Event.WRITE_ACKNOWLEDGE): State.ACKNOWLEDGED,
    (State.ACKNOWLEDGED, Event.WRITE_DRIVER): State.DRIVER,
    (State.DRIVER, Event.WRITE_FEATURES_OK): State.NEGOTIATED,
    (State.NEGOTIATED, Event.WRITE_DRIVER_OK): State.RUNNING,
    # A resumed device is where negotiation ended; its queues follow, then DRIVER_OK.
    (State.RESET, Event.RESUME): State.NEGOTIATED,
    **{(state, Event.WRITE_RESET): State.RESET for state in State},
    **{(state, Event.WRITE_FAILED): State.FAILED for state in State if state is not State.RESET},
    # A device can be found wanting at any time: RESET covers a RESUME_DEVICE that lies.
    **{(state, Event.FAULT): State.BROKEN for state in State if state is not State.FAILED},
}

_BIT = {
    Event.WRITE_ACKNOWLEDGE: bits.ACKNOWLEDGE,
    Event.WRITE_DRIVER: bits.DRIVER,
    Event.WRITE_FEATURES_OK: bits.FEATURES_OK,
    Event.WRITE_DRIVER_OK: bits.DRIVER_OK,
    Event.WRITE_FAILED: bits.FAILED,
    Event.FAULT: bits.DEVICE_NEEDS_RESET,
}
_EVENT = {int(bit): event for event, bit in _BIT.items() if event is not Event.FAULT}
_RESUMED = bits.ACKNOWLEDGE | bits.DRIVER | bits.FEATURES_OK


class StatusMachine(Machine[State, Event]):
    """The state and the bits that show it to the driver."""

    def __init__(self) -> None:
        super().__init__(TRANSITIONS, State.RESET)
        self.bits = bits.RESET

    def fire(self, event: Event) -> State:
        successor = super().fire(event)
        if event is Event.WRITE_RESET:
            self.bits = bits.RESET
        elif event is Event.RESUME:
            self.bits = DeviceStatus(_RESUMED)
        else:
            self.bits = DeviceStatus(self.bits | _BIT[event])
        return successor

    def asked(self, written: int) -> Event | None:
        """The event that writing `written` means now; None when no single step leads there.

        A driver adds one bit at a time to what it read, so DEVICE_NEEDS_RESET may be among the bits; it means nothing.
        """
        if written == 0:
            return Event.WRITE_RESET
        mine = self.bits & ~bits.DEVICE_NEEDS_RESET
        theirs = written & ~bits.DEVICE_NEEDS_RESET
        if mine & ~theirs:
            return None
        event = _EVENT.get(theirs & ~mine)
        return event if event is not None and self.may(event) else None

    def repeats(self, written: int) -> bool:
        """Writing what stands there already changes nothing and is no fault."""
        return written != 0 and (written ^ self.bits) & ~bits.DEVICE_NEEDS_RESET == 0

    @property
    def running(self) -> bool:
        return self.state is State.RUNNING

    @property
    def broken(self) -> bool:
        return self.state in (State.BROKEN, State.FAILED)
