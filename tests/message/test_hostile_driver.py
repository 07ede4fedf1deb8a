# SPDX-License-Identifier: Apache-2.0
"""Messages that no honest driver sends, one row per act, in every situation: each ends as its clause says.

The invariant: the act is counted by its rule, its request gets exactly one REFUSED or the unchanged answer, the status
of the device moves only where the clause says DEVICE_NEEDS_RESET, and the neighbour device goes on.
"""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memorybus import OFFERED, Joined, RecordingDevice

from virtio_crq.errors import DeviceFault, DriverFault
from virtio_crq.message import codec, conversations
from virtio_crq.message.bus import BusLimits
from virtio_crq.message.codec import message_of
from virtio_crq.message.device import QueueSetup
from virtio_crq.message.layout import Body
from virtio_crq.message.message import Message, token
from virtio_crq.message.refusal import OTHER_RULE, RULES, Outcome, code_of, name_of
from virtio_crq.virtio import status as bits
from virtio_crq.virtio.features import ACCESS_PLATFORM, INDIRECT_DESC, VERSION_1, feature_set, to_blocks
from virtio_crq.virtio.splitring import QueueSize

SETUP = QueueSetup(QueueSize(64), 0x1000, 0x2000, 0x3000)
BELOW_DRIVER_OK = 11
IDENTITY = b"identity-of-disk"
NO_PLATFORM = OFFERED & ~feature_set(ACCESS_PLATFORM)


def hello(**changes: int) -> codec.Hello:
    fields = {
        "magic": codec.HELLO_MAGIC,
        "revision": 1,
        "lowest_revision": 1,
        "features": 0,
        "session": 0,
        "max_message": 4096,
        "ring_entries": 256,
        "max_devices": 8,
        "copy_granularity": 2,
        "area_address": 0,
        "area_slots": 0,
        "area_slot_size": 0,
    }
    return codec.Hello(**(fields | changes))


def vqueue(index: int = 1, size: int = 64, **changes: int) -> codec.SetVqueue:
    fields = {"reserved0": 0, "reserved1": 0, "descriptors": 0x4000, "driver_area": 0x5000, "device_area": 0x6000}
    return codec.SetVqueue(index=index, size=size, **(fields | changes))


def resumed(heads: tuple[int, ...] = (), avail: int = 0, used: int = 0, size: int = 64, **changes: int) -> Body:
    fields = {"index": 0, "descriptors": 0x4000, "driver_area": 0x5000, "device_area": 0x6000}
    return codec.ResumeVqueue(
        size=size, avail_position=avail, used_position=used, num_heads=len(heads), heads=heads, **(fields | changes)
    )


def resume(device_id: int = 2, identity: bytes = IDENTITY, features: int = OFFERED) -> codec.ResumeDevice:
    return codec.ResumeDevice(device_id, 4, identity, to_blocks(features))


@dataclass(frozen=True)
class Act:
    """`status` is what the device was brought to; `act` the message (a body, or a raw one)."""

    clause: str
    rule: str
    status: int
    act: Body | Message
    features: int = OFFERED
    resumed: bool = False

    def __str__(self) -> str:
        return f"{self.clause} {self.rule} {getattr(self.act, 'NAME', '')} at {self.status}"


ACTS = (
    Act("CRQ-D-17", "message-unknown", 0, Message(0x00, 0)),
    Act("CRQ-D-17", "message-unknown", 15, Message(0x33, 0, b"12345678")),
    Act("CRQ-D-17", "message-unknown", 15, Message(0x84, 0)),
    Act("CRQ-D-17", "message-unknown", 15, Message(0x10, 0, bus=True)),
    Act("CRQ-D-18", "message-size", 0, Message(codec.GET_DEVICE_INFO, 0, b"x")),
    Act("CRQ-D-18", "message-size", 15, Message(codec.SET_DEVICE_STATUS, 0, b"\0\0\0")),
    Act("CRQ-D-18", "message-size", 15, Message(codec.SET_DEVICE_STATUS, 0, bytes(8))),
    Act("CRQ-D-18", "message-size", 3, Message(codec.SET_DRIVER_FEATURES, 0, bytes(4) + b"\4\0\0\0")),
    Act("CRQ-D-18", "message-size", 15, Message(codec.SET_CONFIG, 0, bytes(8) + b"\xff\xff\xff\xff" + b"x")),
    Act("CRQ-D-18", "message-size", 11, Message(codec.RESUME_VQUEUE, 0, bytes(36) + b"\xff\xff\xff\xff" + bytes(8))),
    Act("CRQ-D-18", "message-size", 15, Message(codec.PING, 0, b"", bus=True)),
    Act("CRQ-D-19", "message-direction", 15, Message(codec.GET_DEVICE_STATUS, 0, bytes(4), response=True)),
    Act("CRQ-D-19", "message-direction", 15, Message(codec.EVENT_USED, 0, bytes(8))),
    Act("CRQ-D-19", "message-direction", 15, Message(codec.EVENT_CONFIG, 0, bytes(16))),
    Act("CRQ-D-19", "message-direction", 15, Message(codec.REFUSED, 0, bytes(8))),
    Act("CRQ-D-19", "message-direction", 15, Message(codec.EVENT_DEVICE, 0, bytes(4), bus=True)),
    Act("CRQ-D-30", "announcement-queue", 0, Message(codec.EVENT_AVAIL, 0, bytes(8))),
    Act("CRQ-D-20", "device-unknown", 15, Message(codec.GET_DEVICE_STATUS, 77)),
    Act("CRQ-D-6", "hello-repeated", 15, hello()),
    Act("CRQ-D-44", "devices-window", 0, codec.GetDevices(4, 8)),
    Act("CRQ-D-44", "devices-window", 0, codec.GetDevices(0, 9)),
    Act("CRQ-D-44", "devices-window", 0, codec.GetDevices(65528, 16)),
    Act("CRQ-D-47", "feature-block", 0, codec.GetDeviceFeatures(0, 1 << 31)),
    Act("CRQ-D-47", "feature-block", 3, codec.SetDriverFeatures(4, 1, (1,))),
    Act("CRQ-D-47", "feature-block", 3, codec.SetDriverFeatures(0xFFFFFFFF, 1, (1,))),
    Act("CRQ-D-49", "features-state", 0, codec.SetDriverFeatures(0, 4, to_blocks(OFFERED))),
    Act("CRQ-D-49", "features-state", 1, codec.SetDriverFeatures(0, 4, to_blocks(OFFERED))),
    Act("CRQ-D-49", "features-state", 11, codec.SetDriverFeatures(0, 4, to_blocks(OFFERED))),
    Act("CRQ-D-49", "features-state", 15, codec.SetDriverFeatures(0, 1, (0,))),
    Act("CRQ-D-48", "features-refused", 3, codec.SetDeviceStatus(11), features=0),
    Act("CRQ-D-48", "features-refused", 3, codec.SetDeviceStatus(11), features=NO_PLATFORM),
    Act("CRQ-D-48", "features-refused", 3, codec.SetDeviceStatus(11), features=OFFERED & ~(1 << VERSION_1)),
    Act("CRQ-D-48", "features-refused", 3, codec.SetDeviceStatus(11), features=OFFERED | 1 << 127),
    Act("CRQ-D-50", "status-illegal", 0, codec.SetDeviceStatus(15)),
    Act("CRQ-D-50", "status-illegal", 1, codec.SetDeviceStatus(5)),
    Act("CRQ-D-50", "status-illegal", 3, codec.SetDeviceStatus(7)),
    Act("CRQ-D-50", "status-illegal", 11, codec.SetDeviceStatus(3)),
    Act("CRQ-D-50", "status-illegal", 15, codec.SetDeviceStatus(11)),
    Act("CRQ-D-50", "status-illegal", 15, codec.SetDeviceStatus(31)),
    Act("CRQ-D-50", "status-illegal", 15, codec.SetDeviceStatus(0x10F)),
    Act("CRQ-D-50", "status-illegal", 15, codec.SetDeviceStatus(0xFFFFFFFF)),
    Act("CRQ-D-53", "config-range", 15, codec.GetConfig(60, 5)),
    Act("CRQ-D-53", "config-range", 15, codec.GetConfig(0xFFFFFFFF, 2)),
    Act("CRQ-D-53", "config-range", 15, codec.GetConfig(0, 0xFFFFFFFF)),
    Act("CRQ-D-53", "config-range", 15, codec.SetConfig(0, 64, 1, b"x")),
    Act("CRQ-D-56", "config-state", 0, codec.SetConfig(0, 32, 1, b"x")),
    Act("CRQ-D-56", "config-state", 1, codec.SetConfig(0, 32, 1, b"x")),
    Act("CRQ-D-57", "queue-unknown", 11, vqueue(index=2)),
    Act("CRQ-D-57", "queue-unknown", 11, vqueue(index=0xFFFFFFFF)),
    Act("CRQ-D-57", "queue-unknown", 0, codec.GetVqueue(2)),
    Act("CRQ-D-57", "queue-unknown", 15, codec.ResetVqueue(2)),
    Act("CRQ-D-58", "queue-size", 11, vqueue(size=0)),
    Act("CRQ-D-58", "queue-size", 11, vqueue(size=48)),
    Act("CRQ-D-58", "queue-size", 11, vqueue(size=128)),
    Act("CRQ-D-58", "queue-size", 11, vqueue(size=1 << 31)),
    Act("CRQ-D-59", "queue-alignment", 11, vqueue(descriptors=0x4008)),
    Act("CRQ-D-59", "queue-alignment", 11, vqueue(driver_area=0x5001)),
    Act("CRQ-D-59", "queue-alignment", 11, vqueue(device_area=0x6002)),
    Act("CRQ-D-60", "queue-address", 11, vqueue(descriptors=(1 << 64) - 16)),
    Act("CRQ-D-60", "queue-address", 11, vqueue(driver_area=0x4000)),
    Act("CRQ-D-60", "queue-address", 11, vqueue(device_area=0x43FC)),
    Act("CRQ-D-60", "queue-address", 11, vqueue(descriptors=1 << 41)),
    Act("CRQ-D-61", "queue-state", 0, vqueue()),
    Act("CRQ-D-61", "queue-state", 3, vqueue()),
    Act("CRQ-D-61", "queue-state", 15, vqueue(index=0)),
    Act("CRQ-D-61", "queue-state", 79, vqueue()),
    Act("CRQ-D-66", "reserved-nonzero", 11, vqueue(reserved0=1)),
    Act("CRQ-D-66", "reserved-nonzero", 11, vqueue(reserved1=1 << 31)),
    Act("CRQ-D-62", "queue-reset", 11, codec.ResetVqueue(0)),
    Act("CRQ-D-62", "queue-reset", 15, codec.ResetVqueue(1)),
    Act("CRQ-D-82", "resume-state", 1, resume()),
    Act("CRQ-D-82", "resume-state", 15, resume()),
    Act("CRQ-D-82", "resume-identity", 0, resume(device_id=4)),
    Act("CRQ-D-82", "resume-identity", 0, resume(identity=bytes(16))),
    Act("CRQ-D-82", "resume-features", 0, resume(features=OFFERED | 1 << 100)),
    Act("CRQ-D-82", "resume-features", 0, resume(features=feature_set(INDIRECT_DESC))),
    Act("CRQ-D-82", "resume-state", 0, resumed()),
    Act("CRQ-D-83", "resume-queue", 11, resumed(size=63), resumed=True),
    Act("CRQ-D-83", "resume-queue", 11, resumed(size=512), resumed=True),
    Act("CRQ-D-83", "resume-queue", 11, resumed(index=9), resumed=True),
    Act("CRQ-D-83", "resume-queue", 11, resumed(descriptors=1 << 50), resumed=True),
    Act("CRQ-D-83", "resume-queue", 11, resumed(device_area=0x6001), resumed=True),
    Act("CRQ-D-152", "resume-push", 11, resumed(driver_area=0), resumed=True),
    Act("CRQ-D-161", "pair-state", 11, codec.PairVqueue(1, 64, 5)),
    Act("CRQ-D-161", "pair-state", 15, codec.PairVqueue(0, 64, 5)),
    Act("CRQ-D-84", "resume-positions", 11, resumed((1, 2), avail=3), resumed=True),
    Act("CRQ-D-84", "resume-positions", 11, resumed((1,), avail=0), resumed=True),
    Act("CRQ-D-84", "resume-positions", 11, resumed((1, 1), avail=2), resumed=True),
    Act("CRQ-D-84", "resume-positions", 11, resumed((64,), avail=1), resumed=True),
    Act("CRQ-D-84", "resume-positions", 11, resumed((), avail=5, used=6), resumed=True),
    Act("CRQ-D-84", "resume-positions", 11, resumed(tuple(range(65)), avail=65), resumed=True),
)


def victim_at(act: Act) -> Joined:
    """Device 0 where the act expects it, device 1 running and none of device 0's business."""
    joined = Joined(RecordingDevice(), RecordingDevice()).open()
    joined.run(conversations.negotiate(1, OFFERED))
    joined.run(conversations.start_queues(1, {0: SETUP}))
    if act.resumed:
        assert isinstance(answer_to(joined, resume()), codec.DeviceResumed)
        return joined
    for step in (1, 3):
        if act.status >= step:
            answer_to(joined, codec.SetDeviceStatus(step))
    if act.status == 3:
        answer_to(joined, codec.SetDriverFeatures(0, 4, to_blocks(act.features)))
    if act.status >= BELOW_DRIVER_OK:
        joined.run(conversations.negotiate(0, OFFERED))
    if act.status >= 15:
        joined.run(conversations.start_queues(0, {0: SETUP}))
    if act.status & bits.DEVICE_NEEDS_RESET:
        joined.back.needs_reset(0, "chain-loop")
        joined.back.refused_by(0).clear()
        joined.pump()
    assert joined.back.status(0) == act.status
    return joined


def deliver(joined: Joined, act: Body | Message) -> list[Message]:
    """Hand one message to the device side as a bus would; what it sent in answer."""
    session = joined.back.terms.session if joined.back.terms else 0
    mark = token(0 if isinstance(act, codec.Hello) else session, 0x55)
    message = message_of(act, 0, mark) if isinstance(act, Body) else act
    if not isinstance(act, Body):
        message = Message(act.msg_id, act.device, act.payload, act.response, act.bus, mark)
    joined.back.receive(message)
    sent = list(joined.back_bus.sent)
    joined.back_bus.sent.clear()
    assert all(answer.token == mark for answer in sent)
    return sent


def answer_to(joined: Joined, act: Body) -> Body:
    (message,) = deliver(joined, act)
    return codec.body_of(message)


@pytest.mark.parametrize("act", [pytest.param(act, marks=pytest.mark.clause(act.clause), id=str(act)) for act in ACTS])
def test_each_act_ends_as_its_clause_says(act: Act):
    joined = victim_at(act)
    outcome = next(rule.outcome for rule in RULES if rule.name == act.rule)
    enabled, calls = dict(joined.models[0].enabled), list(joined.models[0].calls)
    sent = deliver(joined, act.act)
    assert joined.back.refused + joined.back.refused_by(0) == {act.rule: 1}
    if outcome is Outcome.DROPPED:
        assert sent == []
    elif outcome is Outcome.REFUSED:
        (answer,) = sent
        body = codec.body_of(answer)
        assert isinstance(body, codec.Refused)
        msg_id = act.act.MSG_ID if isinstance(act.act, Body) else act.act.msg_id
        assert (body.msg_id, body.flags) == (msg_id, int(act.act.BUS if isinstance(act.act, Body) else act.act.bus))
        # A rule that only the model knows travels as "other", and is counted by its own name all the same.
        assert name_of(body.reason) == act.rule
    elif outcome is Outcome.UNCHANGED:
        (answer,) = sent
        assert codec.body_of(answer) == codec.StatusSet(act.status)
    if outcome is Outcome.NEEDS_RESET:
        (answer,) = sent
        body = codec.body_of(answer)
        assert body.outcome
        assert body.status == joined.back.status(0) == act.status | bits.DEVICE_NEEDS_RESET
        assert not joined.models[0].enabled
        assert not joined.models[0].running or act.status == 15
    else:
        assert joined.back.status(0) == act.status
        assert joined.models[0].enabled == enabled
        assert joined.models[0].calls == calls
    assert joined.back.queue_enabled(1, 0)
    assert joined.back.refused_by(1) == {}
    assert joined.run(conversations.get_status(1)) == 15


def test_there_is_an_act_for_every_rule_of_the_transport():
    elsewhere = {"session-none", "session-stale", "hello-magic", "hello-limits", "hello-revision"}
    elsewhere |= {"request-outstanding", "ring-budget"}
    assert {rule.name for rule in RULES} == {act.rule for act in ACTS} | elsewhere
    assert len({rule.code for rule in RULES}) == len(RULES)
    assert code_of("of a model") == OTHER_RULE


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        pytest.param({"magic": 0}, "hello-magic", marks=pytest.mark.clause("CRQ-D-7")),
        pytest.param({"reserved": 1}, "hello-magic", marks=pytest.mark.clause("CRQ-D-7")),
        pytest.param({"max_message": 263}, "hello-limits", marks=pytest.mark.clause("CRQ-D-8")),
        pytest.param({"ring_entries": 17}, "hello-limits", marks=pytest.mark.clause("CRQ-D-8")),
        pytest.param({"copy_granularity": 8}, "hello-limits", marks=pytest.mark.clause("CRQ-D-8")),
        pytest.param({"area_slots": 1, "area_slot_size": 64}, "hello-limits", marks=pytest.mark.clause("CRQ-D-8")),
    ],
)
def test_a_hello_that_cannot_be_agreed_is_refused_and_another_may_follow(changes: dict[str, int], rule: str):
    joined = Joined()
    joined.back.opened()
    assert codec.body_of(deliver(joined, hello(**changes))[0]) == codec.Refused(codec.HELLO, 1, code_of(rule))
    assert joined.back.refused == {rule: 1}
    assert isinstance(answer_to(joined, hello()), codec.Welcome)


@pytest.mark.clause("CRQ-D-5")
@pytest.mark.parametrize("opened", [False, True])
def test_nothing_is_answered_without_a_session(opened: bool):
    joined = Joined()
    if opened:
        joined.back.opened()
    for act in (codec.GetDeviceInfo(), codec.Ping(1), Message(0x77, 5), Message(codec.EVENT_AVAIL, 0, bytes(8))):
        assert deliver(joined, act) == []
    assert joined.back.refused + joined.back.refused_by(0) == {"session-none": 4}
    assert joined.models[0].calls == []


@pytest.mark.clause("CRQ-D-5")
def test_hello_before_the_connection_is_initialised_is_dropped():
    joined = Joined()
    assert deliver(joined, hello()) == []
    assert joined.back.refused == {"session-none": 1}


@pytest.mark.clause("CRQ-D-13")
def test_a_message_of_another_session_changes_nothing():
    joined = Joined().open()
    before = joined.back.terms.session
    joined.lose()
    joined.open()
    joined.back.receive(message_of(codec.SetDeviceStatus(1), 0, token(before, 1)))
    assert not joined.back_bus.sent
    assert joined.back.status(0) == 0
    assert joined.back.refused == {"session-stale": 1}


@pytest.mark.clause("CRQ-D-16", "CRQ-D-14", "CRQ-D-15")
def test_a_second_request_while_one_is_unanswered_is_refused_at_once():
    device = RecordingDevice(slow=True)
    joined = Joined(device).open()
    joined.run(conversations.negotiate(0, OFFERED))
    joined.run(conversations.start_queues(0, {0: SETUP}))
    assert deliver(joined, codec.SetDeviceStatus(0)) == []
    assert isinstance(answer_to(joined, codec.GetDeviceStatus()), codec.Refused)
    device.settle()
    joined.back.settled(0)
    (answer,) = joined.back_bus.sent
    assert codec.body_of(answer) == codec.StatusSet(0)
    assert joined.back.refused_by(0) == {"request-outstanding": 1}


@pytest.mark.clause("CRQ-D-34")
def test_queues_stop_where_the_smaller_ring_has_no_room():
    joined = Joined(RecordingDevice(queue_sizes=(8,) * 6), front=BusLimits(4096, 16 + 1 + 2 * 4)).open()
    joined.run(conversations.negotiate(0, OFFERED))
    for index in range(4):
        at = 0x10000 * index
        act = vqueue(index, 8, descriptors=at, driver_area=at + 0x1000, device_area=at + 0x2000)
        assert isinstance(answer_to(joined, act), codec.VqueueSet)
    assert answer_to(joined, vqueue(4, 8)) == codec.Refused(codec.SET_VQUEUE, 0, code_of("ring-budget"))
    assert joined.back.refused_by(0) == {"ring-budget": 1}


@pytest.mark.clause("CRQ-D-87")
def test_a_fault_that_arrives_after_the_reset_belongs_to_the_past():
    joined = Joined().open()
    joined.back.needs_reset(0, "chain-loop")
    assert joined.back.status(0) == 0
    assert joined.back.refused_by(0) == {"chain-loop": 1}


MESSAGES = st.builds(
    Message,
    msg_id=st.one_of(st.sampled_from([key[1] for key in codec.LAYOUTS]), st.integers(0, 255)),
    device=st.one_of(st.just(0), st.integers(0, 65535)),
    payload=st.one_of(
        st.binary(max_size=60), st.sampled_from([b"\1\0\0\0", b"\3\0\0\0", b"\x0b\0\0\0", b"\x0f\0\0\0"])
    ),
    response=st.booleans(),
    bus=st.booleans(),
    token=st.sampled_from([0x0001, 0x0101, 0x0202, 0x0300]),
)


@pytest.mark.clause("CRQ-D-14", "CRQ-D-91", "CRQ-D-93")
@settings(max_examples=300)
@given(st.lists(MESSAGES, max_size=30))
def test_no_sequence_of_messages_raises_or_reaches_the_neighbour(messages: list[Message]):
    joined = Joined(RecordingDevice(), RecordingDevice()).open()
    joined.run(conversations.negotiate(1, OFFERED))
    joined.run(conversations.start_queues(1, {0: SETUP}))
    for message in messages:
        if not message.bus and message.device == 1:
            continue
        before = sum((joined.back.refused + joined.back.refused_by(0)).values())
        joined.back.receive(message)
        answers = list(joined.back_bus.sent)
        joined.back_bus.sent.clear()
        refusals = sum((joined.back.refused + joined.back.refused_by(0)).values()) - before
        assert refusals + len(answers) >= 1
        assert len(answers) <= 1
    assert joined.back.status(1) == 15
    assert joined.back.refused_by(1) == {}


def test_what_the_device_side_has_no_room_for_is_answered_too():
    """A driver that gets no answer waits for ever."""

    class Full(RecordingDevice):
        def enable_queue(self, *setup: object) -> None:
            raise DeviceFault("arena-full", "nothing is left")

    joined = Joined(Full(), RecordingDevice()).open()
    joined.run(conversations.negotiate(0, OFFERED))
    with pytest.raises(DriverFault, match="other"):
        joined.run(conversations.enable_queue(0, 0, SETUP))
    assert joined.back.refused_by(0)["arena-full"] == 1
    joined.run(conversations.get_status(0))
