# SPDX-License-Identifier: Apache-2.0
"""The conversations a driver side needs, for `FrontEnd.start`: discovery, bring-up, configuration, reset, resume."""

from dataclasses import dataclass

from virtio_crq.errors import DeviceFault
from virtio_crq.message import codec
from virtio_crq.message.codec import CONFIG_PIECE, MAX_MESSAGE_MIN, ResumeOutcome
from virtio_crq.message.device import QueueResume, QueueSetup
from virtio_crq.message.frontend import Conversation
from virtio_crq.virtio import status as bits
from virtio_crq.virtio.deviceid import RESUMABLE, device_name
from virtio_crq.virtio.features import FEATURE_BLOCKS, MANDATORY, from_blocks, to_blocks
from virtio_crq.virtio.splitring import valid_size
from virtio_crq.virtio.status import describe as describe_status

_WINDOW = 8 * (MAX_MESSAGE_MIN - 14)  # device numbers whose bitmap any agreed message size carries
_GENERATION_RETRIES = 16
QUEUES_MAX = 1024  # more than any ring has credits for


@dataclass(frozen=True)
class DeviceDescription:
    """What a device says of itself before anything is negotiated."""

    number: int
    device_id: int
    vendor_id: int
    identity: bytes
    features: int
    config_size: int
    queue_sizes: tuple[int, ...]


def list_devices() -> Conversation[list[int]]:
    """Numbers of all devices present."""
    found: list[int] = []
    offset = 0
    while True:
        count = min(_WINDOW, (1 << 16) - offset)
        answer: codec.Devices = yield None, codec.GetDevices(offset, count)
        if answer.offset != offset or answer.count > count or len(answer.bitmap) * 8 != answer.count:
            raise DeviceFault("devices-window", f"{answer.count} from {answer.offset}, asked {count} from {offset}")
        found += [offset + bit for bit in range(answer.count) if answer.bitmap[bit // 8] >> bit % 8 & 1]
        if answer.next_offset == 0:
            return found
        if answer.next_offset % 8 or answer.next_offset < offset + max(8, answer.count):
            raise DeviceFault("devices-window", f"next window at {answer.next_offset} after {offset}")
        offset = answer.next_offset


def describe(device: int) -> Conversation[DeviceDescription]:
    """Identity, features and queues of a device in any state."""
    info: codec.DeviceInfo = yield device, codec.GetDeviceInfo()
    identity: codec.DeviceIdentity = yield device, codec.GetIdentity()
    features = yield from _offered(device)
    if info.max_virtqueues > QUEUES_MAX:
        raise DeviceFault("queue-count", f"device {device} claims {info.max_virtqueues} queues")
    sizes = []
    for index in range(info.max_virtqueues):
        queue: codec.Vqueue = yield device, codec.GetVqueue(index)
        if queue.index != index or not valid_size(queue.max_size):
            raise DeviceFault("queue-size", f"queue {queue.index} of device {device} offers size {queue.max_size}")
        sizes.append(queue.max_size)
    return DeviceDescription(
        device, info.device_id, info.vendor_id, identity.identity, features, info.config_size, tuple(sizes)
    )


def _offered(device: int) -> Conversation[int]:
    answer: codec.DeviceFeatures = yield device, codec.GetDeviceFeatures(0, FEATURE_BLOCKS)
    if answer.block_index != 0 or answer.num_blocks != FEATURE_BLOCKS:
        raise DeviceFault("feature-block", f"blocks {answer.block_index}+{answer.num_blocks} of device {device}")
    return from_blocks(answer.features)


def negotiate(device: int, wanted: int) -> Conversation[int]:
    """Reset, ACKNOWLEDGE, DRIVER, features, FEATURES_OK (virtio 1.4 §3.1.1); returns what was negotiated.

    That is what the device offers of `wanted`, and always VERSION_1 and ACCESS_PLATFORM.
    """
    yield from reset_device(device)
    yield from _add_status(device, bits.RESET, bits.ACKNOWLEDGE)
    yield from _add_status(device, bits.ACKNOWLEDGE, bits.DRIVER)
    offered = yield from _offered(device)
    if MANDATORY & ~offered:
        yield device, codec.SetDeviceStatus(bits.ACKNOWLEDGE | bits.DRIVER | bits.FAILED)
        raise DeviceFault("features-mandatory", f"device {device} offers {offered:#x}")
    features = offered & (wanted | MANDATORY)
    yield device, codec.SetDriverFeatures(0, FEATURE_BLOCKS, to_blocks(features))
    yield from _add_status(device, bits.ACKNOWLEDGE | bits.DRIVER, bits.FEATURES_OK)
    return features


def _add_status(device: int, now: int, bit: int) -> Conversation[None]:
    answer: codec.StatusSet = yield device, codec.SetDeviceStatus(now | bit)
    if answer.status != now | bit:
        raise DeviceFault("status-answer", f"device {device} is {describe_status(answer.status)}, not {bit:#x} added")


def start_queues(device: int, queues: dict[int, QueueSetup]) -> Conversation[None]:
    """SET_VQUEUE for each, then DRIVER_OK."""
    for index, setup in queues.items():
        yield from enable_queue(device, index, setup)
    yield from _add_status(device, bits.ACKNOWLEDGE | bits.DRIVER | bits.FEATURES_OK, bits.DRIVER_OK)


def read_config(device: int, offset: int, length: int) -> Conversation[bytes]:
    """A consistent read: one that takes several messages is repeated until they carry one generation (CRQ-F-26)."""
    for _ in range(_GENERATION_RETRIES):
        data = b""
        generations = set()
        while len(data) < length:
            at, size = offset + len(data), min(CONFIG_PIECE, length - len(data))
            answer: codec.Config = yield device, codec.GetConfig(at, size)
            if answer.offset != at or answer.length != size:
                raise DeviceFault("config-answer", f"{answer.length} bytes at {answer.offset}, asked {size} at {at}")
            data += answer.data
            generations.add(answer.generation)
        if len(generations) <= 1:
            return data
    raise DeviceFault("config-generation", f"configuration of device {device} never stood still")


def write_config(device: int, offset: int, data: bytes) -> Conversation[None]:
    """In pieces, in order; a device takes them whatever the generation (CRQ-D-55)."""
    generation = 0
    for start in range(0, len(data), CONFIG_PIECE):
        piece = data[start : start + CONFIG_PIECE]
        answer: codec.ConfigSet = yield device, codec.SetConfig(generation, offset + start, len(piece), piece)
        generation = answer.generation


def reset_device(device: int) -> Conversation[None]:
    """Status 0; when this returns, the device does not touch the driver's memory."""
    answer: codec.StatusSet = yield device, codec.SetDeviceStatus(bits.RESET)
    if answer.status != bits.RESET:
        raise DeviceFault("status-answer", f"device {device} is {describe_status(answer.status)} after a reset")


def reset_queue(device: int, queue: int) -> Conversation[None]:
    """RESET_VQUEUE (needs RING_RESET); when this returns, the device does not touch the queue's memory."""
    yield device, codec.ResetVqueue(queue)


def enable_queue(device: int, queue: int, setup: QueueSetup) -> Conversation[None]:
    """SET_VQUEUE, at bring-up or after `reset_queue`."""
    yield (
        device,
        codec.SetVqueue(queue, 0, setup.size, 0, setup.descriptors, setup.driver_area, setup.device_area),
    )


def pair_queue(device: int, queue: int, slots: int, handle: int) -> Conversation[int]:
    """PAIR_VQUEUE: where records of this queue are to be sent; 0: not by side queues."""
    answer: codec.VqueuePaired = yield device, codec.PairVqueue(queue, slots, handle)
    if answer.index != queue or answer.reserved:
        raise DeviceFault("pair-answer", f"queue {answer.index} of device {device}, asked was {queue}")
    return answer.handle


def get_status(device: int) -> Conversation[int]:
    answer: codec.Status = yield device, codec.GetDeviceStatus()
    return answer.status


def ping(data: int) -> Conversation[None]:
    """The device side is alive and answers in this session."""
    answer: codec.Pong = yield None, codec.Ping(data)
    if answer.data != data:
        raise DeviceFault("ping-answer", f"{answer.data:#x}, sent {data:#x}")


def resume(
    device: int, device_id: int, identity: bytes, features: int, queues: dict[int, tuple[QueueSetup, QueueResume]]
) -> Conversation[None]:
    """In a new session, carry on where the lost one stopped (CRQ-F-32). Raises DeviceFault when the device will not:

    the driver then has to see DEVICE_NEEDS_RESET and nothing may be replayed (CRQ-F-34).
    """
    yield from resume_device(device, device_id, identity, features)
    yield from resume_queues(device, queues)


def resume_device(device: int, device_id: int, identity: bytes, features: int) -> Conversation[None]:
    """The first thing that is said to a device that was running (CRQ-F-32)."""
    if device_id not in RESUMABLE:
        raise DeviceFault(
            "resume-type", f"nothing says what becomes of requests to a {device_name(device_id)} device (CRQ-F-35)"
        )
    blocks = to_blocks(features)
    resumed: codec.DeviceResumed = yield device, codec.ResumeDevice(device_id, len(blocks), identity, blocks)
    _check_outcome(device, resumed.outcome)


def resume_queues(device: int, queues: dict[int, tuple[QueueSetup, QueueResume]]) -> Conversation[None]:
    """And what follows: where each queue stood, then DRIVER_OK."""
    for index, (setup, state) in queues.items():
        queue: codec.VqueueResumed = yield (
            device,
            codec.ResumeVqueue(
                index=index,
                size=setup.size,
                descriptors=setup.descriptors,
                driver_area=setup.driver_area,
                device_area=setup.device_area,
                avail_position=state.avail_position,
                used_position=state.used_position,
                num_heads=len(state.heads),
                heads=tuple(state.heads),
            ),
        )
        _check_outcome(device, queue.outcome)
    yield from _add_status(device, bits.ACKNOWLEDGE | bits.DRIVER | bits.FEATURES_OK, bits.DRIVER_OK)


def _check_outcome(device: int, outcome: int) -> None:
    if outcome != ResumeOutcome.ACCEPTED:
        names = {member.value: f"resume-{member.name.lower()}" for member in ResumeOutcome}
        raise DeviceFault(names.get(outcome, "resume-other"), f"device {device} does not resume")
