# SPDX-License-Identifier: Apache-2.0
"""How large a ring is, and registering, freeing it: the calls a partition makes for its own end of a CRQ."""

from virtio_crq.errors import PlatformError
from virtio_crq.papr.entry import ENTRY_SIZE, QUEUE_PAGE
from virtio_crq.papr.hypercalls import Hypercall
from virtio_crq.papr.returncodes import LONG_BUSY_MILLISECONDS, ReturnCode, is_busy
from virtio_crq.platform.port import Port

AT_ONCE = 10  # repetitions of a busy call; then whoever is in its way is off its processor, and has to get it back
PAUSE = 0.01  # seconds between those that follow
SPARE_ENTRIES = 16  # transport events, initialization, and what is said once


def ring_size(queues: int, devices: int) -> int:
    """Bytes of a ring that correct partners cannot fill: an AVAIL and a USED a queue, a request a device, spare ones.

    The hypervisor drops an entry when the ring is full, and an event then overlays an entry (LoPAR R1-14).
    """
    entries = 2 * queues + devices + SPARE_ENTRIES
    return -(-entries * ENTRY_SIZE // QUEUE_PAGE) * QUEUE_PAGE


def retry_delay(code: int, repeated: int) -> float | None:
    """Seconds until a call `repeated` so often is to be made again; None when `code` is final."""
    if not is_busy(code):
        return None
    if ReturnCode(code) in LONG_BUSY_MILLISECONDS:
        return LONG_BUSY_MILLISECONDS[ReturnCode(code)] / 1000
    return 0.0 if repeated < AT_ONCE else PAUSE


def register(port: Port, unit_address: int, ring_bus: int, size: int) -> None:
    """H_REG_CRQ. Success says that the partner is there, Closed that it is not: both are good.

    H_Resource means that our side is registered already, by an earlier life of this partition: that one is freed.
    """
    code, _ = port.call(Hypercall.H_REG_CRQ, unit_address, ring_bus, size)
    if code == ReturnCode.H_RESOURCE and free(port, unit_address) == ReturnCode.H_SUCCESS:
        code, _ = port.call(Hypercall.H_REG_CRQ, unit_address, ring_bus, size)
    if code not in (ReturnCode.H_SUCCESS, ReturnCode.H_CLOSED):
        raise PlatformError("H_REG_CRQ", code, f"unit {unit_address:#x}, ring of {size} bytes at {ring_bus:#x}")


def free(port: Port, unit_address: int) -> int:
    """One H_FREE_CRQ; on a busy code it is to be made again.

    H_Resource means that the partner has pages of ours redirected and the platform has no bit bucket for them: it
    removes them by itself, so this is busy as well (CRQ-F-96).
    """
    code, _ = port.call(Hypercall.H_FREE_CRQ, unit_address)
    return ReturnCode.H_BUSY if code == ReturnCode.H_RESOURCE else code
