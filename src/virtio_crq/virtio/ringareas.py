# SPDX-License-Identifier: Apache-2.0
"""The three parts of a virtqueue, in either layout: bytes and alignment of each (virtio 1.4 §2.7, §2.8.10.1).

In the order in which a driver names them: descriptors, driver area, device area.
"""

from virtio_crq.virtio import packedring, splitring

Part = tuple[int, int]


def ring_areas(size: int, packed: bool) -> tuple[Part, Part, Part]:
    """(bytes, alignment) of each part of a queue of this size."""
    if packed:
        event = (packedring.EVENT_SIZE, packedring.EVENT_ALIGNMENT)
        return (packedring.DESCRIPTOR_SIZE * size, packedring.DESCRIPTOR_ALIGNMENT), event, event
    return (
        (splitring.descriptor_table_size(size), splitring.DESCRIPTOR_ALIGNMENT),
        (splitring.avail_size(size), splitring.AVAIL_ALIGNMENT),
        (splitring.used_size(size), splitring.USED_ALIGNMENT),
    )


def placed(size: int, packed: bool) -> tuple[int, int, int]:
    """Offsets of driver and device area when all three lie one behind the other, and the bytes of all."""
    place = 0
    places = []
    for length, alignment in ring_areas(size, packed):
        place = -(-place // alignment) * alignment
        places.append(place)
        place += length
    return places[1], places[2], place
