# SPDX-License-Identifier: Apache-2.0
"""One device as the driver sees it: status, features, queues. Answers each transport request with a body.

A handler returns the response's body, raises `DriverFault` to refuse, or returns None when the answer has to wait until
the model let go of the driver's memory (`settled`).
"""

from collections import Counter
from collections.abc import Callable

from virtio_crq.errors import DriverFault
from virtio_crq.message import codec
from virtio_crq.message.bus import Terms
from virtio_crq.message.device import DeviceModel, PairingModel, QueueSetup
from virtio_crq.message.layout import Body
from virtio_crq.message.resume import OUTCOMES, check_device, check_positions, check_push
from virtio_crq.message.session import PAIR, PUSH
from virtio_crq.message.status import Event, State, StatusMachine
from virtio_crq.virtio import records
from virtio_crq.virtio.features import (
    FEATURE_BLOCKS,
    MANDATORY,
    RING_PACKED,
    RING_RESET,
    Features,
    from_blocks,
    has,
    to_blocks,
)
from virtio_crq.virtio.ringareas import ring_areas
from virtio_crq.virtio.splitring import QueueIndex, QueueSize, valid_size


class ServedDevice:
    """The state of one device within one connection; a session's end resets it."""

    def __init__(self, number: int, model: DeviceModel) -> None:
        self.number = number
        self.model = model
        self.machine = StatusMachine()
        self.refused: Counter[str] = Counter()
        self.features = Features(0)  # what the driver asked for; negotiated once FEATURES_OK is set
        self.queues: dict[int, QueueSetup] = {}
        self.generation = 0
        self.settling = False  # the model still touches the driver's memory on behalf of the past
        self.answer_later: Callable[[], Body] | None = None
        self.max_message = codec.MAX_MESSAGE_MIN
        self.mark = 0  # the low byte of the session's number where its queues are pushed
        self.pairs = False  # and may go by side queues
        self.ring_budget: Callable[[], bool] = lambda: True  # room in both rings for one more queue?

    def agreed(self, terms: Terms) -> None:
        """A session begins."""
        self.max_message = terms.max_message
        self.mark = terms.session & 0xFF if terms.features & PUSH else 0
        self.pairs = bool(self.mark and terms.features & PAIR)

    # Negotiation ----------------------------------------------------------------------------------------------------

    def handle(self, request: Body) -> Body | None:
        return _HANDLERS[type(request)](self, request)

    def get_device_info(self, _request: codec.GetDeviceInfo) -> Body:
        model = self.model
        return codec.DeviceInfo(
            device_id=model.device_id,
            vendor_id=model.vendor_id,
            num_feature_bits=32 * FEATURE_BLOCKS,
            config_size=model.config_size,
            max_virtqueues=len(model.queue_sizes),
        )

    def get_identity(self, _request: codec.GetIdentity) -> Body:
        return codec.DeviceIdentity(self.model.identity)

    def get_device_features(self, request: codec.GetDeviceFeatures) -> Body:
        if request.num_blocks > 2 * FEATURE_BLOCKS:
            raise DriverFault("feature-block", f"{request.num_blocks} blocks asked for")
        blocks = dict(enumerate(to_blocks(self.model.features)))
        wanted = range(request.block_index, request.block_index + request.num_blocks)
        return codec.DeviceFeatures(
            request.block_index, request.num_blocks, tuple(blocks.get(block, 0) for block in wanted)
        )

    def set_driver_features(self, request: codec.SetDriverFeatures) -> Body:
        if self.machine.state is not State.DRIVER:
            raise DriverFault("features-state", f"SET_DRIVER_FEATURES while {self.machine.state.value}")
        blocks = dict(enumerate(to_blocks(self.features)))
        for block, value in enumerate(request.features, start=request.block_index):
            if block in blocks:
                blocks[block] = value
            elif value:
                raise DriverFault("feature-block", f"block {block} holds {value:#x}")
        self.features = from_blocks(tuple(blocks.values()))
        return codec.DriverFeaturesSet()

    def get_device_status(self, _request: codec.GetDeviceStatus) -> Body:
        return codec.Status(self.machine.bits)

    def set_device_status(self, request: codec.SetDeviceStatus) -> Body | None:
        event = self.machine.asked(request.status)
        if event is Event.WRITE_RESET:
            return self._after(self.model.reset(), self._reset_done)
        if event is Event.WRITE_FEATURES_OK and (self.features & ~self.model.features or MANDATORY & ~self.features):
            # virtio 1.4 §3.1.1 step 5: the driver reads the status back and finds FEATURES_OK clear.
            self.refused["features-refused"] += 1
        elif event is not None:
            self._advance(event)
        elif not self.machine.repeats(request.status):
            self.refused["status-illegal"] += 1
        return codec.StatusSet(self.machine.bits)

    def _advance(self, event: Event) -> None:
        self.machine.fire(event)
        if event is Event.WRITE_FEATURES_OK:
            self.model.driver_features(self.features)
        elif event is Event.WRITE_DRIVER_OK:
            self.model.driver_ok()
        elif event is Event.WRITE_FAILED:
            self.stop_queues()

    def _reset_done(self) -> Body:
        self.forget()
        return codec.StatusSet(self.machine.bits)

    def forget(self) -> None:
        """Back to the state before any driver."""
        self.machine.fire(Event.WRITE_RESET)
        self.features = Features(0)
        self.queues.clear()

    # Configuration --------------------------------------------------------------------------------------------------

    def get_config(self, request: codec.GetConfig) -> Body:
        self._check_config_range(request.offset, request.length)
        data = self.model.read_config(request.offset, request.length)
        return codec.Config(self.generation, request.offset, request.length, data)

    def set_config(self, request: codec.SetConfig) -> Body:
        early = self.model.early_config
        written = range(request.offset, request.offset + request.length)
        always = bool(early) and written.start in early and written.stop <= early.stop
        if self.machine.state in (State.RESET, State.ACKNOWLEDGED) and not always:
            raise DriverFault("config-state", f"SET_CONFIG while {self.machine.state.value}")
        self._check_config_range(request.offset, request.length)
        # A generation that is not current is no reason to reject: drivers assume that writes succeed (CRQ-D-55).
        self.model.write_config(request.offset, request.data)
        return codec.ConfigSet(self.generation, request.offset, request.length)

    def _check_config_range(self, offset: int, length: int) -> None:
        size = self.model.config_size
        if offset > size or length > size - offset or length > self.max_message - 20:
            raise DriverFault("config-range", f"{length} bytes at {offset}, configuration ends at {size}")

    # Queues ---------------------------------------------------------------------------------------------------------

    def max_queue_size(self, index: int) -> int:
        """The model's limit, or less where the list of in-flight heads would not fit a message (CRQ-D-65)."""
        room = codec.inflight_capacity(self.max_message)
        return min(self.model.queue_sizes[index], 1 << room.bit_length() - 1)

    def get_vqueue(self, request: codec.GetVqueue) -> Body:
        self._check_index(request.index)
        setup = self.queues.get(request.index, _NOWHERE)
        return codec.Vqueue(
            index=request.index,
            max_size=self.max_queue_size(request.index),
            cur_size=setup.size,
            reserved=0,
            descriptors=setup.descriptors,
            driver_area=setup.driver_area,
            device_area=setup.device_area,
        )

    def set_vqueue(self, request: codec.SetVqueue) -> Body:
        self._check_index(request.index)
        if request.reserved0 or request.reserved1:
            raise DriverFault("reserved-nonzero", f"{request.reserved0:#x}, {request.reserved1:#x}")
        if not self._may_begin(request.index):
            raise DriverFault("queue-state", f"SET_VQUEUE of queue {request.index} while {self.machine.state.value}")
        setup = self._checked_setup(request)
        self.model.enable_queue(QueueIndex(request.index), setup, None)
        self.queues[request.index] = setup
        return codec.VqueueSet()

    def pair_vqueue(self, request: codec.PairVqueue) -> Body:
        self._check_index(request.index)
        if not self.pairs or not self._may_begin(request.index):
            raise DriverFault("pair-state", f"PAIR_VQUEUE of queue {request.index} while {self.machine.state.value}")
        if not valid_size(request.slots) or request.slots > self.max_queue_size(request.index):
            raise DriverFault("queue-size", f"{request.slots} records")
        handle = 0
        if request.handle and isinstance(self.model, PairingModel):
            handle = self.model.pair_queue(QueueIndex(request.index), request.slots, request.handle)
        return codec.VqueuePaired(request.index, 0, handle)

    def reset_vqueue(self, request: codec.ResetVqueue) -> Body | None:
        self._check_index(request.index)
        if not (self.machine.running and has(self.features, RING_RESET) and request.index in self.queues):
            raise DriverFault("queue-reset", f"queue {request.index} while {self.machine.state.value}")
        del self.queues[request.index]
        return self._after(self.model.disable_queue(QueueIndex(request.index)), codec.VqueueReset)

    def _may_begin(self, index: int) -> bool:
        """Whether a queue may be set up now."""
        state = self.machine.state
        late = state is State.RUNNING and has(self.features, RING_RESET)
        return (state is State.NEGOTIATED or late) and index not in self.queues

    def _check_index(self, index: int) -> None:
        if index >= len(self.model.queue_sizes):
            raise DriverFault("queue-unknown", f"queue {index} of {len(self.model.queue_sizes)}")

    def _checked_setup(self, request: codec.SetVqueue | codec.ResumeVqueue) -> QueueSetup:
        size, limit = request.size, self.max_queue_size(request.index)
        if not valid_size(size) or size > limit:
            raise DriverFault("queue-size", f"{size}, at most {limit}")
        places = (request.descriptors, request.driver_area, request.device_area)
        parts = records.ring_areas(size) if self.mark else ring_areas(size, has(self.features, RING_PACKED))
        if self.mark and request.driver_area:
            raise DriverFault("reserved-nonzero", f"driver area {request.driver_area:#x} of a pushed queue")
        areas = [(place, *part) for place, part in zip(places, parts, strict=True)]
        for address, _, alignment in areas:
            if address % alignment:
                raise DriverFault("queue-alignment", f"{address:#x} is not aligned to {alignment}")
        end = 0
        for address, length, _ in sorted(areas):
            if address < end or address + length > 1 << 64:
                raise DriverFault("queue-address", f"{length} bytes at {address:#x} overlap or wrap")
            end = address + length
        if not self.ring_budget():
            raise DriverFault("ring-budget", f"no room for queue {request.index}")
        return QueueSetup(QueueSize(size), request.descriptors, request.driver_area, request.device_area, self.mark)

    # Loss and return ------------------------------------------------------------------------------------------------

    def resume_device(self, request: codec.ResumeDevice) -> Body:
        try:
            if self.machine.state is not State.RESET:
                raise DriverFault("resume-state", f"RESUME_DEVICE while {self.machine.state.value}")
            self.features = check_device(request, self.model)
        except DriverFault as fault:
            return codec.DeviceResumed(outcome=self._break(fault), status=self.machine.bits)
        self.machine.fire(Event.RESUME)
        self.model.driver_features(self.features)
        return codec.DeviceResumed(self.machine.bits, codec.ResumeOutcome.ACCEPTED)

    def resume_vqueue(self, request: codec.ResumeVqueue) -> Body:
        try:
            if self.machine.state is not State.NEGOTIATED or request.index in self.queues:
                raise DriverFault("resume-state", f"RESUME_VQUEUE while {self.machine.state.value}")
            try:
                self._check_index(request.index)
                check_push(request, bool(self.mark))
                setup = self._checked_setup(request)
                resume = check_positions(request, has(self.features, RING_PACKED) and not self.mark)
                self.model.enable_queue(QueueIndex(request.index), setup, resume)
            except DriverFault as fault:
                if fault.rule in OUTCOMES:
                    raise
                raise DriverFault("resume-queue", str(fault)) from fault
        except DriverFault as fault:
            return codec.VqueueResumed(outcome=self._break(fault), status=self.machine.bits)
        self.queues[request.index] = setup
        return codec.VqueueResumed(self.machine.bits, codec.ResumeOutcome.ACCEPTED)

    def _break(self, fault: DriverFault) -> int:
        """DEVICE_NEEDS_RESET and never I/O; returns the outcome to answer with."""
        self.refused[fault.rule] += 1
        self.fault()
        return OUTCOMES[fault.rule]

    def fault(self) -> bool:
        """Stop with DEVICE_NEEDS_RESET; False when there was nothing to stop."""
        if self.machine.broken:
            return False
        self.machine.fire(Event.FAULT)
        self.stop_queues()
        return True

    def stop_queues(self) -> None:
        for index in self.queues:
            if not self.model.disable_queue(QueueIndex(index)):
                self.settling = True

    # Letting go of the driver's memory ------------------------------------------------------------------------------

    def _after(self, done: bool, answer: Callable[[], Body]) -> Body | None:
        if done:
            self.settling = False
            return answer()
        self.settling = True
        self.answer_later = answer
        return None

    def settled(self) -> Body | None:
        """Nothing touches the driver's memory now; the answer that waited for it, if one did."""
        self.settling = False
        answer, self.answer_later = self.answer_later, None
        return None if answer is None else answer()

    def drop(self) -> None:
        """The session is over."""
        self.answer_later = None
        self.settling = not self.model.reset()
        self.forget()


_NOWHERE = QueueSetup(QueueSize(0), 0, 0, 0)
_HANDLERS: dict[type[Body], Callable[..., Body | None]] = {
    codec.GetDeviceInfo: ServedDevice.get_device_info,
    codec.GetIdentity: ServedDevice.get_identity,
    codec.GetDeviceFeatures: ServedDevice.get_device_features,
    codec.SetDriverFeatures: ServedDevice.set_driver_features,
    codec.GetDeviceStatus: ServedDevice.get_device_status,
    codec.SetDeviceStatus: ServedDevice.set_device_status,
    codec.GetConfig: ServedDevice.get_config,
    codec.SetConfig: ServedDevice.set_config,
    codec.GetVqueue: ServedDevice.get_vqueue,
    codec.SetVqueue: ServedDevice.set_vqueue,
    codec.PairVqueue: ServedDevice.pair_vqueue,
    codec.ResetVqueue: ServedDevice.reset_vqueue,
    codec.GetShm: lambda device, request: codec.Shm(request.index, 0, 0),
    codec.ResumeDevice: ServedDevice.resume_device,
    codec.ResumeVqueue: ServedDevice.resume_vqueue,
}
