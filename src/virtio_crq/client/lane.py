# SPDX-License-Identifier: Apache-2.0
"""One queue of a console: a page for each buffer, which the device may use as long as the device is there."""

from virtio_crq.client.memory import PAGE, Area
from virtio_crq.dataplane.driverring import DriverRing
from virtio_crq.platform.port import Port

SLOTS = 4  # buffers of one queue


class Lane:
    """`inward`: the device writes into the buffers. A buffer is free, or the device has it."""

    def __init__(self, port: Port, ring: DriverRing, area: Area, inward: bool) -> None:
        self.ring = ring
        self.inward = inward
        self._port = port
        self._area = area
        self._free = list(range(SLOTS))

    @staticmethod
    def footprint() -> int:
        """Bytes that the buffers take."""
        return SLOTS * PAGE

    @property
    def free(self) -> int:
        """Buffers that the device does not have."""
        return len(self._free)

    def offer(self) -> bool:
        """Let the device write into one more buffer; False when there is none."""
        return self._submit(b"", PAGE)

    def put(self, data: bytes) -> bool:
        """Give the device up to a page of bytes; False when there is no buffer for it now."""
        return self._submit(data, len(data))

    def _submit(self, data: bytes, length: int) -> bool:
        if not self._free:
            return False
        slot = self._free[-1]
        if not self.inward:
            self._port.write(self._area.offset + slot * PAGE, data)
        self.ring.segment(self._area.bus + slot * PAGE, length, int(self.inward))
        if self.ring.submit(slot, 0, 0) < 0:
            return False
        self._free.pop()
        return True

    def collect(self) -> bytes | None:
        """What came in the next buffer that the device is done with (nothing, outward); None when there is none."""
        slot = self.ring.collect()
        if slot < 0:
            return None
        self._free.append(slot)
        return self._port.read(self._area.offset + slot * PAGE, self.ring.length) if self.inward else b""

    def forget(self) -> None:
        """The ring was reset: the device has none."""
        self._free = list(range(SLOTS))
