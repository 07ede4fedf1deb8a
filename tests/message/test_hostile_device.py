# SPDX-License-Identifier: Apache-2.0
"""Messages that no honest device side sends: the front-end drops, counts, and believes no answer it cannot check."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memorybus import OFFERED, Joined

from virtio_crq.errors import DeviceFault, DriverFault
from virtio_crq.message import codec, conversations
from virtio_crq.message.codec import message_of
from virtio_crq.message.conversations import QUEUES_MAX
from virtio_crq.message.device import QueueSetup
from virtio_crq.message.frontend import FrontState
from virtio_crq.message.layout import Body
from virtio_crq.message.message import Message, token
from virtio_crq.virtio.splitring import QueueSize


def asking(conversation):
    """A front-end that waits for its first answer, and the request it sent."""
    joined = Joined().open()
    outcome = joined.front.start(conversation)
    return joined, outcome, joined.front_bus.sent.popleft()


@pytest.mark.clause("CRQ-F-8", "CRQ-F-7")
@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"token": 0x0100}, "session-stale"),
        ({"token": 0x0001}, "response-stale"),
        ({"device": 1}, "response-stale"),
        ({"msg_id": codec.SET_DEVICE_STATUS}, "response-stale"),
        ({"bus": True, "msg_id": codec.PING}, "response-stale"),
        ({"payload": bytes(5)}, "message-size"),
        ({"response": False}, "message-size"),
        ({"msg_id": 0x3F}, "message-size"),
    ],
)
def test_an_answer_that_answers_nothing_is_dropped(change: dict[str, object], rule: str):
    joined, outcome, request = asking(conversations.get_status(0))
    honest = message_of(codec.Status(0), 0, request.token)
    joined.front.receive(dataclasses.replace(honest, **change))
    assert not outcome.done
    assert joined.front.refused == {rule: 1}
    joined.front.receive(honest)
    assert outcome.result() == 0
    joined.front.receive(honest)
    assert joined.front.refused["response-stale"] >= 1


@pytest.mark.clause("CRQ-F-10")
def test_a_request_from_the_device_side_is_dropped():
    joined = Joined().open()
    session = joined.front.terms.session
    joined.front.receive(message_of(codec.GetDeviceInfo(), 0, token(session, 0)))
    joined.front.receive(message_of(codec.EventDevice(1, 77), 0, token(session, 0)))
    assert joined.front.refused == {"message-direction": 1, "device-state": 1}
    assert not joined.front_bus.sent
    assert joined.events == []


@pytest.mark.clause("CRQ-F-5")
@pytest.mark.parametrize(
    "change",
    [
        {"magic": 1},
        {"revision": 2},
        {"features": 1 << 63},
        {"session": 0},
        {"session": 0x100},
        {"session": 0x501},
        {"max_message": 263},
        {"max_message": 1 << 20},
        {"ring_entries": 3},
        {"copy_granularity": 1},
        {"copy_max": 0},
    ],
    ids=str,
)
def test_a_session_is_not_built_on_an_answer_nobody_may_give(change: dict[str, int]):
    joined = Joined().open()
    assert joined.front.terms.session == 1
    joined.lose()
    joined.front.opened()
    joined.back.opened()
    joined.back.receive(joined.front_bus.sent.popleft())
    answer = joined.back_bus.sent.popleft()
    lie = dataclasses.replace(codec.Welcome.decode(answer.payload), **change)
    joined.front.receive(dataclasses.replace(answer, payload=lie.encode()))
    assert joined.front.terms is None
    assert joined.front.state is FrontState.UNUSABLE
    assert isinstance(joined.errors[0], DeviceFault)
    assert joined.front.refused == {"welcome": 1}


@pytest.mark.clause("CRQ-F-8", "CRQ-F-4")
def test_only_the_answer_to_this_hello_opens_a_session():
    joined = Joined()
    joined.back.opened()
    joined.front.opened()
    (request,) = joined.front_bus.sent
    joined.back.receive(request)
    answer = joined.back_bus.sent.popleft()
    joined.front.receive(dataclasses.replace(answer, token=token(0, request.sequence + 1)))
    joined.front.receive(message_of(codec.Pong(1), 0, request.token))
    assert joined.front.terms is None
    assert joined.front.refused == {"response-stale": 2}
    joined.front.receive(answer)
    assert joined.front.terms is not None


def test_a_refused_hello_says_which_rule():
    joined = Joined()
    joined.front.opened()
    (request,) = joined.front_bus.sent
    joined.front.receive(message_of(codec.Refused(codec.HELLO, 1, 9), 0, request.token))
    assert isinstance(joined.errors[0], DriverFault)
    assert joined.errors[0].rule == "hello-limits"


SETUP = QueueSetup(QueueSize(64), 0x1000, 0x2000, 0x3000)


@pytest.mark.clause("CRQ-F-40")
@pytest.mark.parametrize(
    ("conversation", "answers", "rule"),
    [
        pytest.param(
            conversations.negotiate(0, OFFERED),
            [codec.StatusSet(1)],
            "status-answer",
            marks=pytest.mark.clause("CRQ-F-24"),
        ),
        pytest.param(
            conversations.negotiate(0, OFFERED),
            [
                codec.StatusSet(0),
                codec.StatusSet(1),
                codec.StatusSet(3),
                codec.DeviceFeatures(0, 4, (0, 3, 0, 0)),
                codec.DriverFeaturesSet(),
                codec.StatusSet(3),
            ],
            "status-answer",
            marks=pytest.mark.clause("CRQ-F-24"),
        ),
        (conversations.list_devices(), [codec.Devices(8, 8, 0, b"\1")], "devices-window"),
        (conversations.list_devices(), [codec.Devices(0, 8, 0, b"\1\1")], "devices-window"),
        (conversations.list_devices(), [codec.Devices(0, 8, 4, b"\1")], "devices-window"),
        (conversations.read_config(0, 0, 4), [codec.Config(0, 1, 4, b"abcd")], "config-answer"),
        (conversations.read_config(0, 0, 4), [codec.Config(0, 0, 2, b"ab")], "config-answer"),
        (conversations.ping(5), [codec.Pong(6)], "ping-answer"),
        (conversations.describe(0), [codec.DeviceInfo(2, 0, 128, 0, QUEUES_MAX + 1)] + [None] * 2, "queue-count"),
        pytest.param(
            conversations.resume(0, 2, bytes(16), OFFERED, {}),
            [codec.DeviceResumed(64, 9)],
            "resume-other",
            marks=pytest.mark.clause("CRQ-F-34"),
        ),
    ],
)
def test_no_conversation_believes_an_answer_that_does_not_fit(conversation, answers: list[Body | None], rule: str):
    joined = Joined().open()
    outcome = joined.front.start(conversation)
    for answer in answers:
        request = joined.front_bus.sent.popleft()
        if answer is None:  # an honest one
            joined.back.receive(request)
            joined.front.receive(joined.back_bus.sent.popleft())
        else:
            joined.front.receive(message_of(answer, 0, request.token))
    with pytest.raises(DeviceFault) as fault:
        outcome.result()
    assert fault.value.rule == rule


@pytest.mark.clause("CRQ-F-26")
def test_a_configuration_that_never_stands_still_is_given_up():
    joined = Joined().open()
    outcome = joined.front.start(conversations.read_config(0, 0, 300))
    generation = 0
    while joined.front_bus.sent:
        request = joined.front_bus.sent.popleft()
        asked = codec.GetConfig.decode(request.payload)
        generation += 1
        answer = codec.Config(generation, asked.offset, asked.length, bytes(asked.length))
        joined.front.receive(message_of(answer, 0, request.token))
    with pytest.raises(DeviceFault, match="config-generation"):
        outcome.result()


@pytest.mark.clause("CRQ-F-7", "CRQ-F-10")
@given(
    st.lists(
        st.builds(
            Message,
            msg_id=st.one_of(st.sampled_from([key[1] for key in codec.LAYOUTS]), st.integers(0, 255)),
            device=st.integers(0, 2),
            payload=st.binary(max_size=50),
            response=st.booleans(),
            bus=st.booleans(),
            token=st.sampled_from([0x0001, 0x0200, 0x0201]),
        ),
        max_size=20,
    ),
    st.booleans(),
)
def test_no_message_raises_or_changes_the_session(messages: list[Message], opened: bool):
    joined = Joined()
    if opened:
        joined.open()
    else:
        joined.front.opened()
    terms = joined.front.terms
    joined.front.start(conversations.list_devices())
    for message in messages:
        joined.front.receive(message)
        if terms is not None:
            assert joined.front.terms == terms
