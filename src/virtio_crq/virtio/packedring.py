# SPDX-License-Identifier: Apache-2.0
"""The packed virtqueue in memory (virtio 1.4 §2.8): one ring that both sides write; all fields little-endian.

The transport counts descriptors of a packed ring by the free-running 16-bit positions of a split one. With a size
that is a power of two a position says all: its slot, and the wrap counter that its descriptor is marked with.
"""

from typing import NewType

from virtio_crq.virtio.splitring import RingPosition

BufferId = NewType("BufferId", int)  # names a request in both directions; below the queue's size on this transport
RingSlot = NewType("RingSlot", int)
EventPosition = NewType("EventPosition", int)  # as the standard writes it: slot, and the wrap counter in bit 15

# §2.8.13: struct pvirtq_desc { le64 addr; le32 len; le16 id; le16 flags; }
DESCRIPTOR_SIZE = 16
DESCRIPTOR_ADDRESS = 0
DESCRIPTOR_LENGTH = 8
DESCRIPTOR_ID = 12
DESCRIPTOR_FLAGS = 14
DESC_F_NEXT = 1
DESC_F_WRITE = 2
DESC_F_INDIRECT = 4
DESC_F_AVAIL = 1 << 7
DESC_F_USED = 1 << 15
MARKS = DESC_F_AVAIL | DESC_F_USED

# §2.8.14: struct pvirtq_event_suppress { le16 desc; le16 flags; }, one for each side
EVENT_SIZE = 4
EVENT_POSITION = 0
EVENT_FLAGS = 2
EVENT_ENABLE = 0
EVENT_DISABLE = 1
EVENT_DESCRIPTOR = 2  # only with EVENT_IDX: at this position
EVENT_WRAP = 1 << 15

# §2.8.10.1: required alignments of the three parts.
DESCRIPTOR_ALIGNMENT = 16
EVENT_ALIGNMENT = 4


def slot(position: int, size: int) -> RingSlot:
    return RingSlot(position & (size - 1))


def wrap_counter(position: int, size: int) -> int:
    """Both counters begin at 1 and turn each time the ring does (§2.8.1)."""
    return 0 if position & size else 1


def available_mark(position: int, size: int) -> int:
    """AVAIL and USED of an available descriptor: they differ, and AVAIL is the wrap counter (§2.8.1)."""
    return DESC_F_AVAIL if wrap_counter(position, size) else DESC_F_USED


def used_mark(position: int, size: int) -> int:
    """AVAIL and USED of a used descriptor: both are the wrap counter (§2.8.1)."""
    return MARKS if wrap_counter(position, size) else 0


def event_position(position: int, size: int) -> EventPosition:
    """A position as an event suppression structure holds it."""
    return EventPosition(slot(position, size) | (EVENT_WRAP if wrap_counter(position, size) else 0))


def passed(event: int, new: RingPosition, old: RingPosition, size: int) -> bool:
    """Whether moving from `old` to `new` passes the event position (§2.8.10)."""
    turn = 2 * size - 1
    place = (event & EVENT_WRAP - 1) + (0 if event & EVENT_WRAP else size)
    return new - place - 1 & turn < (new - old & 0xFFFF)
