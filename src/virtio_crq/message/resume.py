# SPDX-License-Identifier: Apache-2.0
"""What RESUME_DEVICE and RESUME_VQUEUE must satisfy before a device carries on; everything else is a lie."""

from virtio_crq.errors import DriverFault
from virtio_crq.message.codec import ResumeDevice, ResumeOutcome, ResumeVqueue
from virtio_crq.message.device import DeviceModel, QueueResume
from virtio_crq.virtio.features import FEATURE_BITS, MANDATORY, Features, from_blocks
from virtio_crq.virtio.splitring import DescriptorIndex, RingPosition, distance

OUTCOMES = {
    "resume-state": ResumeOutcome.STATE,
    "resume-identity": ResumeOutcome.IDENTITY,
    "resume-features": ResumeOutcome.FEATURES,
    "resume-queue": ResumeOutcome.QUEUE,
    "resume-positions": ResumeOutcome.POSITIONS,
    "resume-push": ResumeOutcome.PUSH,
}


def check_device(asked: ResumeDevice, model: DeviceModel) -> Features:
    """The features to carry on with (CRQ-D-82)."""
    if asked.device_id != model.device_id or asked.identity != model.identity:
        raise DriverFault(
            "resume-identity", f"type {asked.device_id} {asked.identity.hex()}, but type {model.device_id} stands here"
        )
    features = from_blocks(asked.features)
    if features >> FEATURE_BITS or features & ~model.features or MANDATORY & ~features:
        raise DriverFault("resume-features", f"{features:#x}, offered {model.features:#x}")
    return features


def check_push(asked: ResumeVqueue, pushed: bool) -> None:
    """The queue is what this session's are (CRQ-D-152): only a pushed one has no driver area (CRQ-F-70)."""
    if pushed != (asked.driver_area == 0):
        was, now = ("read", "pushed") if pushed else ("pushed", "read")
        raise DriverFault("resume-push", f"queue {asked.index} was {was} in its session, and is {now} in this one")


def check_positions(asked: ResumeVqueue, packed: bool) -> QueueResume:
    """Positions and in-flight list as something that can be served (CRQ-D-84); a packed ring needs no list (D-129)."""
    count = distance(asked.avail_position, asked.used_position)
    listed = 0 if packed else count
    if listed != len(asked.heads) or count > asked.size:
        raise DriverFault(
            "resume-positions",
            f"avail {asked.avail_position}, used {asked.used_position}, {len(asked.heads)} heads, size {asked.size}",
        )
    if len(set(asked.heads)) != listed or any(head >= asked.size for head in asked.heads):
        raise DriverFault("resume-positions", f"heads repeat or are not below {asked.size}")
    return QueueResume(
        RingPosition(asked.avail_position),
        RingPosition(asked.used_position),
        tuple(DescriptorIndex(head) for head in asked.heads),
    )
