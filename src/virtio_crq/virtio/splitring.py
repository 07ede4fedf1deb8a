# SPDX-License-Identifier: Apache-2.0
"""The split virtqueue in memory (virtio 1.4 §2.7): sizes, alignments and offsets; all fields little-endian."""

from typing import NewType

QueueIndex = NewType("QueueIndex", int)
QueueSize = NewType("QueueSize", int)
RingPosition = NewType("RingPosition", int)  # free-running, 16 bits
DescriptorIndex = NewType("DescriptorIndex", int)

QUEUE_SIZE_MAX = 32768
POSITION_MASK = 0xFFFF

# §2.7.5: struct virtq_desc { le64 addr; le32 len; le16 flags; le16 next; }
DESCRIPTOR_SIZE = 16
DESCRIPTOR_ADDRESS = 0
DESCRIPTOR_LENGTH = 8
DESCRIPTOR_FLAGS = 12
DESCRIPTOR_NEXT = 14
DESC_F_NEXT = 1
DESC_F_WRITE = 2
DESC_F_INDIRECT = 4

# §2.7.6: struct virtq_avail { le16 flags; le16 idx; le16 ring[size]; le16 used_event; }
AVAIL_FLAGS = 0
AVAIL_INDEX = 2
AVAIL_RING = 4
AVAIL_ENTRY_SIZE = 2
AVAIL_F_NO_INTERRUPT = 1

# §2.7.8: struct virtq_used { le16 flags; le16 idx; struct { le32 id; le32 len; } ring[size]; le16 avail_event; }
USED_FLAGS = 0
USED_INDEX = 2
USED_RING = 4
USED_ENTRY_SIZE = 8
USED_ENTRY_ID = 0
USED_ENTRY_LENGTH = 4
USED_F_NO_NOTIFY = 1

# §2.7: required alignments of the three parts.
DESCRIPTOR_ALIGNMENT = 16
AVAIL_ALIGNMENT = 2
USED_ALIGNMENT = 4


def valid_size(size: int) -> bool:
    """A queue size is a power of two of at most 32768 (§2.7)."""
    return 0 < size <= QUEUE_SIZE_MAX and size & (size - 1) == 0


def descriptor_table_size(size: int) -> int:
    return DESCRIPTOR_SIZE * size


def avail_size(size: int) -> int:
    """With the trailing used_event, whether or not EVENT_IDX was negotiated (§2.7.6)."""
    return AVAIL_RING + AVAIL_ENTRY_SIZE * size + 2


def used_size(size: int) -> int:
    """With the trailing avail_event."""
    return USED_RING + USED_ENTRY_SIZE * size + 2


def used_event_offset(size: int) -> int:
    """Offset of used_event within the avail ring."""
    return AVAIL_RING + AVAIL_ENTRY_SIZE * size


def avail_event_offset(size: int) -> int:
    """Offset of avail_event within the used ring."""
    return USED_RING + USED_ENTRY_SIZE * size


def advance(position: int, count: int) -> RingPosition:
    return RingPosition(position + count & POSITION_MASK)


def distance(later: int, earlier: int) -> int:
    """How far `later` is ahead of `earlier`, modulo 2^16."""
    return later - earlier & POSITION_MASK


def need_event(event: int, new: int, old: int) -> bool:
    """Whether moving from `old` to `new` passes `event` (§2.7.7.2, vring_need_event)."""
    return new - event - 1 & POSITION_MASK < (new - old & POSITION_MASK)
