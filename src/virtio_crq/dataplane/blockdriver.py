# SPDX-License-Identifier: Apache-2.0
"""The block device's driver (virtio 1.4 §5.2): request slots in own RAM, shown to the device as `mapping` has it.

The platform may be busy. A mapping that is refused leaves the slot as it is, and `submit` is called again later: back-
pressure, not an I/O error. A slot whose memory cannot be taken back yet is not handed out either, since a late copy
may still land in it: it lingers until `reap` finds it hidden.

A slot goes `acquire` → (data written) → `submit` → `reap` → `status`, (data read) → `release`.
"""

from array import array

from virtio_crq.dataplane.driverring import DriverRing
from virtio_crq.dataplane.mapping import SlotMapping
from virtio_crq.dataplane.pieces import DATA, FROM_DEVICE, HEADER, PAGE, STATUS, TABLE, TO_DEVICE
from virtio_crq.errors import DeviceFault
from virtio_crq.platform.port import Port
from virtio_crq.virtio import block

READ = block.T_IN
WRITE = block.T_OUT
OK = block.S_OK
IO_ERROR = block.S_IOERR
UNSUPPORTED = block.S_UNSUPP
UNSET = 0xFF  # what the driver leaves for the device to replace

SECTOR = block.SECTOR_SIZE
HEADER_LENGTH = block.REQUEST_HEADER_SIZE

NONE = -1  # acquire: no slot is free; reap: nothing is done; submit: later
FREE = 0
HELD = 1  # with its user
RUNNING = 2
LINGERING = 3  # answered, but still mapped
DONE = 4

STATUS_AT = 64  # within the slot's first page; the header is at 0
TABLE_AT = 256
TABLE_ENTRIES = (PAGE - TABLE_AT) // 16

STATUS_UNKNOWN = 0
LENGTH_SHORT = 1
RULES = (
    ("status-unknown", "request ended with status {0}"),
    ("used-length-short", "a successful request wrote {0} bytes instead of {1}"),
)


HEAD = PAGE  # bytes of a slot in front of its data


class BlockDriver:
    """Requests over one ring, as many at a time as `mapping` has slots, with HEAD bytes in front of each one's data.

    `size_max` and `seg_max` are the device's limits (0: none given); `transfer` is what one slot holds, lowered here
    to what the limits let one request carry. `capacity` is in bytes; the owner moves it when the device says so.
    """

    def __init__(
        self, ring: DriverRing, mapping: SlotMapping, capacity: int, size_max: int = 0, seg_max: int = 0
    ) -> None:
        transfer = mapping.room
        slots = mapping.slots
        if mapping.head != HEAD or transfer < SECTOR:
            raise ValueError("slots have a page before their data, and hold at least one sector")
        self.ring = ring
        self.port: Port = ring.port
        self.mapping = mapping
        self.slots = slots
        self.segment_bytes = min(size_max or transfer, transfer)
        # Without SEG_MAX a driver may assume only one data segment; a chain never exceeds the queue (§2.7.5.2).
        segments = max(1, min(seg_max or 1, TABLE_ENTRIES - 2, ring.size - 2))
        self.transfer = min(transfer, self.segment_bytes * segments) // SECTOR * SECTOR
        if self.transfer == 0:
            raise DeviceFault("config-answer", f"SIZE_MAX {size_max} does not let one request carry a sector")
        self.refusals: dict[str, int] = {}
        self.stalls = 0
        self.lingering = 0
        self.free_slots = array("Q", bytes(8 * slots))
        self.states = array("Q", bytes(8 * slots))
        self.kinds = array("Q", bytes(8 * slots))
        self.lengths = array("Q", bytes(8 * slots))
        self.outcomes = array("Q", bytes(8 * slots))
        for slot in range(slots):
            self.free_slots[slot] = slots - 1 - slot
        self.idle = slots
        self.capacity = capacity

    def resize(self, capacity: int) -> None:
        """The device announced another capacity (bytes)."""
        self.capacity = capacity

    def acquire(self, length: int) -> int:
        """A free slot for a request with up to so many bytes of data, or NONE."""
        if self.idle == 0:
            return NONE
        slot = self.free_slots[self.idle - 1]
        if length > self.transfer:
            self._misuse(slot)
        if self.mapping.place(slot, length):
            return NONE
        self.idle -= 1
        self.states[slot] = HELD
        self.lengths[slot] = length
        return slot

    def release(self, slot: int) -> int:
        """Give a slot back that is held or done."""
        if self.states[slot] != HELD and self.states[slot] != DONE:
            self._misuse(slot)
        if self.mapping.hide(slot):
            # Given up before it ran, and the platform is busy: `reap` will free it.
            self.states[slot] = LINGERING
            self.lengths[slot] = 0
            self.outcomes[slot] = UNSET
            self.lingering += 1
            return 0
        self.mapping.vacate(slot)
        self.states[slot] = FREE
        self.free_slots[self.idle] = slot
        self.idle += 1
        return 0

    def data(self, slot: int) -> int:
        """Where the slot's data lies in own RAM."""
        return self.mapping.at(slot, DATA)

    def status(self, slot: int) -> int:
        """How the request ended: OK, IO_ERROR or UNSUPPORTED."""
        return self.outcomes[slot]

    def submit(self, slot: int, kind: int, sector: int, length: int) -> int:
        """Start a request from a held slot: 0, or NONE when the platform or the ring asks to come back later."""
        if self.states[slot] != HELD or length > self.lengths[slot]:
            self._misuse(slot)
        if self._show(slot, kind, length):
            self.stalls += 1
            return NONE
        if self._queue(slot, kind, sector, length) < 0:
            self.stalls += 1
            return NONE
        self.states[slot] = RUNNING
        self.kinds[slot] = kind
        self.lengths[slot] = length
        return 0

    def _show(self, slot: int, kind: int, length: int) -> int:
        code = self.mapping.show(slot, HEADER, HEADER_LENGTH, TO_DEVICE)
        if code == 0 and length:
            code = self.mapping.show(slot, DATA, length, TO_DEVICE if kind == WRITE else FROM_DEVICE)
        if code == 0:
            code = self.mapping.show(slot, STATUS, 1, FROM_DEVICE)
        if code == 0 and self.ring.indirect:
            code = self.mapping.show(slot, TABLE, PAGE - TABLE_AT, TO_DEVICE)
        # Nothing is in flight whose end could free resources: a refusal (not a busy code) would last for ever.
        if code < 0 and self.ring.in_flight == 0 and self.lingering == 0:
            return self.mapping.denied(code)
        return 1 if code else 0

    def _queue(self, slot: int, kind: int, sector: int, length: int) -> int:
        memory = self.mapping.at(slot, HEADER)
        bus = self.mapping.bus_at(slot, DATA)
        self.port.store32(memory, kind)
        self.port.store32(memory + 4, 0)
        self.port.store64(memory + 8, sector)
        self.port.store8(memory + STATUS_AT, UNSET)
        written = 0 if kind == WRITE else 1
        self.ring.segment(self.mapping.bus_at(slot, HEADER), HEADER_LENGTH, 0)
        done = 0
        while done < length:
            piece = min(length - done, self.segment_bytes)
            self.ring.segment(bus + done, piece, written)
            done += piece
        self.ring.segment(self.mapping.bus_at(slot, STATUS) + STATUS_AT, 1, 1)
        return self.ring.submit(slot, memory + TABLE_AT, self.mapping.bus_at(slot, TABLE) + TABLE_AT)

    def reap(self) -> int:
        """A slot whose request has ended and whose memory is one's own again, or NONE."""
        while True:
            token = self.ring.collect()
            if token < 0:
                break
            self._judge(token, self.ring.length)
            if self.mapping.hide(token) == 0:
                self.states[token] = DONE
                return token
            self.states[token] = LINGERING
            self.lingering += 1
        return self._reap_lingering() if self.lingering else NONE

    def _reap_lingering(self) -> int:
        for slot in range(self.slots):
            if self.states[slot] == LINGERING and self.mapping.hide(slot) == 0:
                self.lingering -= 1
                self.states[slot] = DONE
                if self.outcomes[slot] != UNSET:
                    return slot
                self.release(slot)
        return NONE

    def _judge(self, slot: int, length: int) -> int:
        status = self.port.load8(self.mapping.at(slot, STATUS) + STATUS_AT)
        if status > UNSUPPORTED:
            return self._refuse(slot, STATUS_UNKNOWN, status, 0)
        # §2.7.8.2: bytes beyond the used length may not be relied on, so a read that says less has not read it all.
        least = 1 if self.kinds[slot] == WRITE else 1 + self.lengths[slot]
        if status == OK and length < least:
            return self._refuse(slot, LENGTH_SHORT, length, least)
        self.outcomes[slot] = status
        return 0

    def abandon(self) -> None:
        """The device is let go: all running requests end in an I/O error, as soon as their memory is taken back.

        Slots that are held are given up likewise: of a request that was refused, some pieces may be shown.
        """
        self.mapping.end()
        for slot in range(self.slots):
            if self.states[slot] == RUNNING or self.states[slot] == HELD:
                self.outcomes[slot] = IO_ERROR if self.states[slot] == RUNNING else UNSET
                self.states[slot] = LINGERING
                self.lingering += 1

    def _misuse(self, slot: int) -> int:
        room = self.lengths[slot] if self.states[slot] == HELD else self.transfer
        raise ValueError(f"slot {slot} is in state {self.states[slot]} or its request is longer than {room}")

    def _refuse(self, slot: int, rule: int, first: int, second: int) -> int:
        name, text = RULES[rule]
        self.refusals[name] = self.refusals.get(name, 0) + 1
        raise DeviceFault(name, f"device {self.ring.device}: {text.format(first, second)}")
