# SPDX-License-Identifier: Apache-2.0
"""PUSH is agreed where both want it, and makes a queue two rings of records."""

from typing import Any

import pytest
from memorybus import OFFERED, Joined

from virtio_crq.errors import DeviceFault, DriverFault
from virtio_crq.message import codec, conversations
from virtio_crq.message.backend import BackEnd
from virtio_crq.message.device import QueueResume, QueueSetup
from virtio_crq.message.session import PAIR, PUSH
from virtio_crq.virtio import status
from virtio_crq.virtio.features import MANDATORY
from virtio_crq.virtio.splitring import QueueSize, RingPosition

SETUP = QueueSetup(QueueSize(64), 0x4000, 0, 0x6000)


def joined(front: int = PUSH, back: int = PUSH) -> Joined:
    made = Joined()
    made.back = BackEnd(made.back_bus, dict(made.models), features=back)
    made.front.offers = front
    return made.open()


@pytest.mark.clause("CRQ-D-10")
@pytest.mark.parametrize(
    ("front", "back", "agreed"), [(0, 0, 0), (0, PUSH, 0), (PUSH, 0, 0), (PUSH | PAIR, PUSH, PUSH)]
)
def test_push_holds_where_both_name_it(front: int, back: int, agreed: int) -> None:
    made = joined(front, back)
    assert made.back.terms is not None
    assert made.front.terms is not None
    assert made.back.terms.features == made.front.terms.features == agreed


@pytest.mark.clause("CRQ-D-140")
def test_a_device_learns_that_its_queue_is_pushed_and_in_which_session() -> None:
    made = joined()
    made.run(conversations.negotiate(0, OFFERED))
    made.run(conversations.start_queues(0, {0: SETUP}))
    assert made.front.terms is not None
    setup, _resume = made.models[0].enabled[0]
    assert setup.mark == made.front.terms.session & 0xFF
    other = joined(back=0)
    other.run(conversations.negotiate(0, OFFERED))
    other.run(conversations.start_queues(0, {0: QueueSetup(QueueSize(64), 0x4000, 0x5000, 0x6000)}))
    assert other.models[0].enabled[0][0].mark == 0


@pytest.mark.clause("CRQ-D-141")
@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"descriptors": 0x4010}, "queue-alignment"),
        ({"device_area": 0x6008}, "queue-alignment"),
        ({"driver_area": 0x5000}, "reserved-nonzero"),
        ({"device_area": 0x4000 + 32 * 64 - 16}, "queue-address"),
        ({"descriptors": (1 << 64) - 32}, "queue-address"),
        ({"size": 48}, "queue-size"),
    ],
)
def test_rings_of_records_that_cannot_be_are_refused(changes: dict[str, Any], rule: str) -> None:
    made = joined()
    made.run(conversations.negotiate(0, OFFERED))
    fields = {"index": 0, "size": 64, "reserved0": 0, "reserved1": 0}
    fields |= {"descriptors": 0x4000, "driver_area": 0, "device_area": 0x4000 + 32 * 64}
    accepted = codec.SetVqueue(**(fields | {"index": 1}))
    refused = codec.SetVqueue(**(fields | changes))

    def ask(body: codec.SetVqueue) -> Any:
        return (yield 0, body)

    with pytest.raises(DriverFault) as caught:
        made.run(ask(refused))
    assert caught.value.rule == rule
    made.run(ask(accepted))
    assert list(made.models[0].enabled) == [1]


@pytest.mark.clause("CRQ-D-152")
@pytest.mark.parametrize("pushed", [False, True])
def test_a_queue_of_the_other_kind_is_not_resumed(pushed: bool) -> None:
    """Whatever a front-end forgot: a server that was there all the time, or one that knows nothing of the past."""
    made = joined(back=PUSH if pushed else 0)
    model = made.models[0]
    ring = QueueSetup(QueueSize(64), 0x4000, 0x5000, 0x6000)
    for right, setup in ((False, ring if pushed else SETUP), (True, SETUP if pushed else ring)):
        state = QueueResume(RingPosition(0), RingPosition(0), ())
        talk = conversations.resume(0, model.device_id, model.identity, MANDATORY, {0: (setup, state)})
        if right:
            made.run(talk)
            assert list(model.enabled) == [0]
        else:
            with pytest.raises(DeviceFault) as caught:
                made.run(talk)
            assert caught.value.rule == "resume-push"
            assert made.back.refused_by(0) == {"resume-push": 1}
            assert made.run(conversations.get_status(0)) & status.DEVICE_NEEDS_RESET
            assert model.enabled == {}
            assert not model.running
            made.run(conversations.reset_device(0))


@pytest.mark.clause("CRQ-D-161")
def test_a_queue_is_paired_only_where_that_was_agreed_and_before_it_is_enabled() -> None:
    def ask(body: codec.PairVqueue) -> Any:
        return (yield 0, body)

    made = joined(PUSH | PAIR, PUSH)
    made.run(conversations.negotiate(0, OFFERED))
    with pytest.raises(DriverFault) as caught:
        made.run(ask(codec.PairVqueue(0, 64, 5)))
    assert caught.value.rule == "pair-state", "which travels as a number"
    assert made.back.refused_by(0) == {"pair-state": 1}
    made = joined(PUSH | PAIR, PUSH | PAIR)
    with pytest.raises(DriverFault):
        made.run(ask(codec.PairVqueue(0, 64, 5)))  # before RESUME_DEVICE, or before features are agreed
    assert made.back.refused_by(0) == {"pair-state": 1}
    made.run(conversations.negotiate(0, OFFERED))
    assert made.run(conversations.pair_queue(0, 0, 64, 5)) == 0  # this model has no side queues (CRQ-F-80)
    made.run(conversations.start_queues(0, {0: SETUP}))
    with pytest.raises(DriverFault):
        made.run(ask(codec.PairVqueue(0, 64, 5)))
    assert made.back.refused_by(0) == {"pair-state": 2}
