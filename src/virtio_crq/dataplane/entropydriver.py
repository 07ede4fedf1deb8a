# SPDX-License-Identifier: Apache-2.0
"""The entropy device's driver (virtio 1.4 §5.4): one page a request, written by the device, mapped while it runs."""

from array import array

from virtio_crq.dataplane.driverring import DriverRing
from virtio_crq.errors import PlatformError
from virtio_crq.platform.port import Port

PAGE = 4096
FROM_DEVICE = 3
NONE = -1
FREE = 0
HELD = 1  # answered; its user has not taken the bytes yet
RUNNING = 2
LINGERING = 3  # answered, but the platform is too busy to unmap it


def footprint(slots: int) -> tuple[int, int]:
    """Bytes of own RAM and of the window that `slots` requests take."""
    return slots * PAGE, slots * PAGE


class EntropyDriver:
    """`memory` and `bus` begin areas of the sizes that `footprint` tells. `submit` → `reap` → `take`."""

    def __init__(self, ring: DriverRing, slots: int, memory: int, bus: int) -> None:
        if memory % PAGE or bus % PAGE:
            raise ValueError("requests begin on a page")
        self.ring = ring
        self.port: Port = ring.port
        self.slots = slots
        self.memory = memory
        self.bus = bus
        self.stalls = 0
        self.lingering = 0
        self.states = array("Q", bytes(8 * slots))
        self.mapped = array("Q", bytes(8 * slots))
        self.lengths = array("Q", bytes(8 * slots))

    def submit(self, length: int) -> int:
        """Ask for up to `length` bytes, at most a page: the slot, or NONE when one must come back later."""
        slot = 0
        while slot < self.slots and self.states[slot] != FREE:
            slot += 1
        if slot == self.slots:
            return NONE
        if self.mapped[slot] == 0:
            code = self.port.map(self.bus + slot * PAGE, self.memory + slot * PAGE, PAGE, FROM_DEVICE)
            if code < 0 and self.ring.in_flight == 0:
                return self._denied(code)
            if code:
                self.stalls += 1
                return NONE
            self.mapped[slot] = 1
        self.ring.segment(self.bus + slot * PAGE, min(length, PAGE), 1)
        if self.ring.submit(slot, 0, 0) < 0:
            self.stalls += 1
            return NONE
        self.states[slot] = RUNNING
        return slot

    def reap(self) -> int:
        """A slot with bytes in it, or NONE."""
        token = self.ring.collect()
        if token >= 0:
            self.lengths[token] = self.ring.length
            self.states[token] = LINGERING
            self.lingering += 1
        slot = 0
        while slot < self.slots:
            if self.states[slot] == LINGERING and self._unmap(slot) == 0:
                self.states[slot] = HELD
                self.lingering -= 1
                return slot
            slot += 1
        return NONE

    def take(self, slot: int) -> bytes:
        """The bytes that the device wrote into a reaped slot, which is free afterwards."""
        if self.states[slot] != HELD:
            raise ValueError(f"slot {slot} is in state {self.states[slot]}")
        content = self.port.read(self.memory + slot * PAGE, self.lengths[slot])
        self.states[slot] = FREE
        return content

    def abandon(self) -> None:
        """The ring was reset: what was asked for will not come; its memory is taken back by `reap`."""
        for slot in range(self.slots):
            if self.states[slot] == RUNNING:
                self.lengths[slot] = 0
                self.states[slot] = LINGERING
                self.lingering += 1

    def _unmap(self, slot: int) -> int:
        if self.mapped[slot] == 0:
            return 0
        code = self.port.unmap(self.bus + slot * PAGE, PAGE)
        if code < 0:
            return self._denied(code)
        if code == 0:
            self.mapped[slot] = 0
        return code

    def _denied(self, code: int) -> int:
        raise PlatformError("map", code, "an entropy request with nothing else in flight")
