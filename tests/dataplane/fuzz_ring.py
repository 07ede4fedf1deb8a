# SPDX-License-Identifier: Apache-2.0
"""Invariant: whatever bytes a driver puts into its ring, the device ends each request or stops that queue by rule.

No other exception, no copy from or to anything but the arena, no own RAM lost. Run for long, with coverage guidance
over the interpreted data plane (needs atheris):

    VIRTIO_CRQ_INTERPRETED=1 python tests/dataplane/fuzz_ring.py
"""

import struct
import sys

from disk import Disk
from packedguest import PackedGuest
from pushguest import MARK, PushGuest
from rig import WINDOW, Rig

from virtio_crq.dataplane.faults import RULES
from virtio_crq.dataplane.strategies import STRATEGIES

SIZE = 16


def strategy(layout: str, number: int) -> str:
    """One of those by which rings of this layout are fetched."""
    fetches = [fetch for each, fetch in sorted(STRATEGIES) if each == layout]
    return f"{layout}-{fetches[number % len(fetches)]}"


def one_input(data: bytes) -> None:
    """Bytes become descriptors (addresses folded into the window unless their top bit is set), heads, and requests."""
    if len(data) < 2:
        return
    rig = Rig()
    free = rig.link.staging.free
    disk = Disk(rig, fetch=strategy("split", data[0]), size=SIZE, event_idx=bool(data[0] & 2))
    memory, body = rig.platform.guest, data[2:].ljust(SIZE * 12 + 32, b"\0")
    memory[0x1000 : 0x1000 + len(body)] = body
    for index in range(SIZE):
        place, length, flags, follower = struct.unpack_from("<IIHH", body, 12 * index)
        address = WINDOW + place % 0x4000 if not place & 1 << 31 else place << 32
        disk.ring.descriptor(index, address, length if place & 1 << 30 else length % 2048, flags & 7, follower % 20)
    for head in body[SIZE * 12 : SIZE * 12 + 1 + data[1] % SIZE]:
        disk.ring.make_available(head % (SIZE + 1))
    disk.announce()
    rig.run()
    assert all(rule in RULES for _, _, rule in rig.faults)
    assert rig.faults or disk.ring.used_index() == disk.ring.next
    rig.link.close()
    assert rig.link.staging.free == free


def one_packed_input(data: bytes) -> None:
    """The same of a packed ring: bytes become descriptors, marked right unless their length says otherwise."""
    if len(data) < 2:
        return
    rig = Rig()
    free = rig.link.staging.free
    disk = Disk(
        rig, fetch=strategy("packed", data[0]), size=SIZE, event_idx=bool(data[0] & 2), in_order=bool(data[0] & 4)
    )
    ring, memory, body = disk.ring, rig.platform.guest, data[2:].ljust(SIZE * 12 + 32, b"\0")
    assert isinstance(ring, PackedGuest)
    rig.link.close_queue(0, 0)
    ring.next = ring.seen = data[1] * 7 % 64
    disk.open((ring.next, ring.next, []))
    memory[0x1000 : 0x1000 + len(body)] = body
    for index in range(data[0] >> 4):
        place, length, flags, name = struct.unpack_from("<IIHH", body, 12 * index)
        address = WINDOW + place % 0x4000 if not place & 1 << 31 else place << 32
        ring.raw((address, length if place & 1 << 30 else length % 2048, name % 20, flags & 7))
        if length & 0xF0000000 == 0xF0000000:
            memory[ring.descriptors + 16 * ((ring.next - 1) % SIZE) + 15] ^= 0x80
    disk.announce()
    rig.run()
    assert all(rule in RULES for _, _, rule in rig.faults)
    rig.link.close()
    assert rig.link.staging.free == free


def one_pushed_input(data: bytes) -> None:
    """The same of records: bytes become records whose names are right unless a marker says otherwise, and lists."""
    if len(data) < 2:
        return
    rig = Rig()
    free = rig.link.staging.free
    guest = PushGuest(rig, layout="paired" if len(data) & 1 else "records")
    memory, body = rig.platform.guest, data[2:].ljust(20 * (data[0] % 9) + 64, b"\0")
    memory[0x1000 : 0x1000 + len(body)] = body
    for index in range(data[0] % 9):
        marker, flags, head, place, length = struct.unpack_from("<BBHII", body, 20 * index)
        address = WINDOW + place % 0x4000 if not place & 1 << 31 else place
        name = (2, 1, MARK) if marker & 0xF0 != 0xF0 else (marker & 3, 1, MARK)
        inlined = body[20 * index + 12 : 20 * index + 12 + (flags & 0xF)]
        size = length & 0xFFFFFF if place & 1 << 30 else length % 2048 & ~15 if flags & 0x80 else length % 2048
        guest.record(head % 10, inlined, flags, address, size, guest.unmarked if marker == 0xFF else 0x80, name)
    guest.serve()
    assert all(rule in RULES for _, _, rule in rig.faults)
    assert rig.faults or len(guest.completions()) == guest.position
    rig.link.close()
    rig.link.part(2, 1)
    assert rig.link.staging.free == free


def either_input(data: bytes) -> None:
    one_input(data)
    one_packed_input(data)
    one_pushed_input(data)


def main() -> None:
    import atheris  # type: ignore[import-not-found, unused-ignore]

    atheris.instrument_all()
    atheris.Setup(sys.argv, either_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
