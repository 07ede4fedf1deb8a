# SPDX-License-Identifier: Apache-2.0
"""The entropy device's driver (virtio 1.4 §5.4): one page a request, written by the device."""

from array import array

from virtio_crq.dataplane.driverring import DriverRing
from virtio_crq.dataplane.mapping import SlotMapping
from virtio_crq.dataplane.pieces import DATA, FROM_DEVICE, PAGE
from virtio_crq.platform.port import Port

NONE = -1
FREE = 0
HELD = 1  # answered; its user has not taken the bytes yet
RUNNING = 2
LINGERING = 3  # answered, but the platform is too busy to take it back


class EntropyDriver:
    """`mapping` has slots of a page of data, and nothing before it. `submit` → `reap` → `take`."""

    def __init__(self, ring: DriverRing, mapping: SlotMapping) -> None:
        if mapping.head or mapping.room != PAGE:
            raise ValueError("requests are a page each")
        self.ring = ring
        self.port: Port = ring.port
        self.mapping = mapping
        self.slots = mapping.slots
        self.stalls = 0
        self.lingering = 0
        self.states = array("Q", bytes(8 * self.slots))
        self.lengths = array("Q", bytes(8 * self.slots))
        for slot in range(self.slots):
            self.mapping.place(slot, PAGE)

    def submit(self, length: int) -> int:
        """Ask for up to `length` bytes, at most a page: the slot, or NONE when one must come back later."""
        slot = 0
        while slot < self.slots and self.states[slot] != FREE:
            slot += 1
        if slot == self.slots:
            return NONE
        code = self.mapping.show(slot, DATA, PAGE, FROM_DEVICE)
        if code < 0 and self.ring.in_flight == 0:
            return self.mapping.denied(code)
        if code:
            self.stalls += 1
            return NONE
        self.ring.segment(self.mapping.bus_at(slot, DATA), min(length, PAGE), 1)
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
            if self.states[slot] == LINGERING and self.mapping.hide(slot) == 0:
                self.states[slot] = HELD
                self.lingering -= 1
                return slot
            slot += 1
        return NONE

    def take(self, slot: int) -> bytes:
        """The bytes that the device wrote into a reaped slot, which is free afterwards."""
        if self.states[slot] != HELD:
            raise ValueError(f"slot {slot} is in state {self.states[slot]}")
        content = self.port.read(self.mapping.at(slot, DATA), self.lengths[slot])
        self.states[slot] = FREE
        return content

    def abandon(self) -> None:
        """The device is let go: what was asked for will not come; its memory is taken back by `reap`."""
        self.mapping.end()
        for slot in range(self.slots):
            if self.states[slot] == RUNNING:
                self.lengths[slot] = 0
                self.states[slot] = LINGERING
                self.lingering += 1
