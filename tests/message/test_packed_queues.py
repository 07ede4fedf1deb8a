# SPDX-License-Identifier: Apache-2.0
"""Packed queues as the device's half of the protocol sees them: their parts, and how they come back."""

import pytest
from memorybus import OFFERED, Joined, RecordingDevice
from test_hostile_driver import answer_to, resume, resumed, vqueue

from virtio_crq.message import codec, conversations
from virtio_crq.virtio.features import RING_PACKED, Features, feature_set
from virtio_crq.virtio.status import DEVICE_NEEDS_RESET

PACKED = Features(OFFERED | feature_set(RING_PACKED))


def negotiated() -> tuple[Joined, RecordingDevice]:
    model = RecordingDevice(features=PACKED)
    joined = Joined(model).open()
    joined.run(conversations.negotiate(0, PACKED))
    return joined, model


@pytest.mark.clause("CRQ-D-121")
def test_the_parts_of_a_packed_queue_are_a_ring_and_two_words() -> None:
    joined, model = negotiated()
    close = vqueue(index=0, descriptors=0x4000, driver_area=0x4400, device_area=0x4404)  # a split ring's would overlap
    assert isinstance(answer_to(joined, close), codec.VqueueSet)
    assert model.calls[-1] == "enable 0"


@pytest.mark.clause("CRQ-D-121")
@pytest.mark.parametrize("part", [{"descriptors": 0x4008}, {"driver_area": 0x5002}, {"device_area": 0x6002}])
def test_a_part_of_a_packed_queue_that_is_not_aligned_is_refused(part: dict[str, int]) -> None:
    joined, model = negotiated()
    assert isinstance(answer_to(joined, vqueue(index=0, **part)), codec.Refused)
    assert joined.back.refused_by(0) == {"queue-alignment": 1}
    assert "enable 0" not in model.calls


@pytest.mark.clause("CRQ-D-129")
@pytest.mark.parametrize(
    ("heads", "avail", "used", "accepted"),
    [((), 5, 2, True), ((), 64, 0, True), ((), 65, 0, False), ((), 1, 2, False), ((1,), 1, 0, False)],
)
def test_a_packed_queue_comes_back_by_its_positions_alone(
    heads: tuple[int, ...], avail: int, used: int, accepted: bool
) -> None:
    joined = Joined(RecordingDevice(features=PACKED)).open()
    answer_to(joined, resume(features=PACKED))
    answer = answer_to(joined, resumed(heads, avail=avail, used=used))
    assert isinstance(answer, codec.VqueueResumed)
    outcome = codec.ResumeOutcome.ACCEPTED if accepted else codec.ResumeOutcome.POSITIONS
    assert answer.outcome == outcome
    assert bool(answer.status & DEVICE_NEEDS_RESET) is not accepted
