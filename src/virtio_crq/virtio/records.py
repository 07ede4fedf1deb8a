# SPDX-License-Identifier: Apache-2.0
"""Records of pushed requests: a third form in which a transport may carry a queue, beside the standard's two layouts.

One source for both sides; `docs/spec/virtio-over-crq.md` section 9.3 has the same as tables. All fields little-endian.

A request is 32 bytes, read and written as four words:

    word 0   bits 0-7 MARKER, 8-15 flags, 16-31 head, 32-47 device, 48-55 queue, 56-63 low byte of the session
    word 1   bits 0-39 address, 40-63 length
    word 2-3 inlined bytes

A completion is 16 bytes: word 0 as above, word 1 with the written length in bits 0-31 and the tail byte in bits 32-39.
"""

REQUEST = 32
COMPLETION = 16
REQUEST_ALIGNMENT = 32
COMPLETION_ALIGNMENT = 16

MARKER = 0x80  # byte 0 of every record
INLINED = 0x1F  # flags: how many leading readable bytes stand in the record itself
INLINED_MOST = 16
TAIL = 0x20  # of a request: the last writable byte is wanted in the completion; of a completion: it is there
WRITE = 0x40  # the one segment is the device's to write
LIST = 0x80  # address and length name a list of descriptors instead of a segment

HEAD_SHIFT = 16
NAME_SHIFT = 32  # device, queue and session together
QUEUE_SHIFT = 16  # within the name
SESSION_SHIFT = 24
ADDRESS_BITS = 40
LENGTH_BITS = 24
TAIL_SHIFT = 32  # within a completion's word 1

QUEUES_MOST = 256

# (first byte, last byte, name, what it is): the rows of the specification's tables.
REQUEST_FIELDS = (
    (0, 0, "marker", f"{MARKER:#04x}"),
    (
        1,
        1,
        "flags",
        f"bits 0-4 ({INLINED:#04x}) how many bytes are inlined, 0 to {INLINED_MOST}; bit 5 TAIL ({TAIL:#04x}): the "
        f"last byte to write comes back in the completion; bit 6 WRITE ({WRITE:#04x}): the segment is to write; bit 7 "
        f"LIST ({LIST:#04x}): address and length name a list of descriptors instead of a segment",
    ),
    (2, 3, "head", "what the completion names the request by, below the queue's size"),
    (4, 5, "device", "device number"),
    (6, 6, "queue", "queue index"),
    (7, 7, "session", "low byte of the session number"),
    (8, 12, "address", "of the segment or list in the client's window"),
    (13, 15, "length", "bytes of the segment or list; 0: there is none"),
    (16, 31, "inlined", "the request's first bytes to read, as many as the flags say, then zeroes"),
)
COMPLETION_FIELDS = (
    (0, 0, "marker", f"{MARKER:#04x}"),
    (1, 1, "flags", f"bit 5 TAIL ({TAIL:#04x}): the last byte to write is here; other bits 0"),
    (2, 3, "head", "of the request"),
    (4, 5, "device", "device number"),
    (6, 6, "queue", "queue index"),
    (7, 7, "session", "low byte of the session number"),
    (8, 11, "written", "bytes written into the request, the last one included, as a used element has them"),
    (12, 12, "tail", "the last byte to write; 0 without TAIL"),
    (13, 15, "reserved", "0"),
)


def name_of(device: int, queue: int, session: int) -> int:
    """What bits 32 to 63 of word 0 say in all records of one queue."""
    return device | queue << QUEUE_SHIFT | (session & 0xFF) << SESSION_SHIFT


def ring_areas(size: int) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """(bytes, alignment) of what stands for descriptors, driver area and device area in a queue of this size."""
    return (REQUEST * size, REQUEST_ALIGNMENT), (0, 1), (COMPLETION * size, COMPLETION_ALIGNMENT)
