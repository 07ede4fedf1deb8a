# SPDX-License-Identifier: Apache-2.0
"""What a driver may not say: each is refused by its rule, the session and the other devices go on, on every bus."""

from collections.abc import Callable

import pytest

from virtio_crq.message import codec, conversations
from virtio_crq.message.codec import message_of
from virtio_crq.message.message import Message, token
from virtio_crq.virtio import status

from .models import OFFERED, NotingDevice
from .wiring import Wiring

Wire = Callable[..., Wiring]
HELLO_BODY = codec.Hello(codec.HELLO_MAGIC, 1, 1, 0, 0, 4104, 256, 16, 2, 0, 0, 0)


def vqueue(index: int = 0, size: int = 64, descriptors: int = 0x1000, reserved: int = 0) -> codec.SetVqueue:
    return codec.SetVqueue(index, reserved, size, 0, descriptors, 0x2000, 0x3000)


REFUSED_ALWAYS = [
    pytest.param(Message(0x3E, 0), "message-unknown", id="unknown request"),
    pytest.param(Message(0x7D, 0), "message-unknown", id="unknown event"),
    pytest.param(Message(0x1F, 0, bus=True), "message-unknown", id="unknown bus request"),
    pytest.param(Message(codec.GET_DEVICE_STATUS, 0, b"x"), "message-size", id="payload too long"),
    pytest.param(Message(codec.SET_DEVICE_STATUS, 0, b"xy"), "message-size", id="payload too short"),
    pytest.param(Message(codec.SET_DEVICE_STATUS, 0, bytes(2000)), "message-size", id="payload far too long"),
    pytest.param(
        Message(codec.SET_DRIVER_FEATURES, 0, b"\0\0\0\0\xff\xff\xff\xff" + bytes(16)), "message-size", id="false count"
    ),
    pytest.param(Message(codec.GET_DEVICE_STATUS, 0, bytes(4), response=True), "message-direction", id="a response"),
    pytest.param(message_of(codec.EventConfig(0, 0)), "message-direction", id="an event of devices"),
    pytest.param(Message(codec.GET_DEVICE_STATUS, 9), "device-unknown", id="no such device"),
    pytest.param(Message(codec.GET_DEVICE_STATUS, 0xFFFF), "device-unknown", id="no such device at the end"),
    pytest.param(message_of(HELLO_BODY), "hello-repeated", id="HELLO again"),
    pytest.param(message_of(codec.GetDevices(3, 8)), "devices-window", id="crooked window"),
    pytest.param(message_of(codec.GetDevices(0xFFF8, 16)), "devices-window", id="window beyond the end"),
    pytest.param(message_of(codec.GetConfig(99, 2)), "config-range", id="configuration beyond its end"),
    pytest.param(message_of(codec.GetConfig(0xFFFFFFFF, 2)), "config-range", id="configuration that wraps"),
    pytest.param(message_of(codec.GetVqueue(2)), "queue-unknown", id="no such queue"),
    pytest.param(message_of(codec.ResetVqueue(0)), "queue-reset", id="reset of a queue that is off"),
    pytest.param(message_of(vqueue()), "queue-state", id="queue before FEATURES_OK"),
    pytest.param(message_of(codec.SetConfig(0, 0, 1, b"x")), "config-state", id="configuration before DRIVER"),
    pytest.param(message_of(codec.SetDriverFeatures(0, 1, (0,))), "features-state", id="features before DRIVER"),
    pytest.param(message_of(codec.SetDeviceStatus(status.DRIVER_OK)), "status-illegal", id="a leap to DRIVER_OK"),
]


@pytest.mark.clause("CRQ-D-17", "CRQ-D-18", "CRQ-D-19", "CRQ-D-20", "CRQ-D-6", "CRQ-D-44", "CRQ-D-91", "CRQ-D-93")
@pytest.mark.parametrize(("message", "rule"), REFUSED_ALWAYS)
def test_a_message_that_may_not_be_is_refused_and_all_else_goes_on(wire: Wire, message: Message, rule: str) -> None:
    wiring = wire(NotingDevice(), NotingDevice()).open()
    wiring.ask(conversations.negotiate(1, OFFERED))
    session = wiring.client.session
    spoken = Message(
        message.msg_id, message.device, message.payload, message.response, message.bus, token(session, 0x55)
    )
    for _ in range(3):
        wiring.say(spoken)
    assert wiring.refused() == {rule: 3}
    assert wiring.server.session == wiring.client.session == session
    assert wiring.ask(conversations.negotiate(0, OFFERED)) == OFFERED
    assert wiring.ask(conversations.get_status(1)) == status.ACKNOWLEDGE | status.DRIVER | status.FEATURES_OK


@pytest.mark.clause("CRQ-D-58", "CRQ-D-59", "CRQ-D-60", "CRQ-D-66", "CRQ-D-57")
@pytest.mark.parametrize(
    ("setup", "rule"),
    [
        (vqueue(index=2), "queue-unknown"),
        (vqueue(size=0), "queue-size"),
        (vqueue(size=48), "queue-size"),
        (vqueue(size=256), "queue-size"),
        (vqueue(descriptors=0x1008), "queue-alignment"),
        (vqueue(descriptors=0xFFFF_FFFF_FFFF_FFF0), "queue-address"),
        (vqueue(descriptors=0x2000), "queue-address"),
        (vqueue(reserved=1), "reserved-nonzero"),
    ],
)
def test_a_queue_that_cannot_be_is_refused(wire: Wire, setup: codec.SetVqueue, rule: str) -> None:
    wiring = wire().open()
    wiring.ask(conversations.negotiate(0, OFFERED))
    wiring.say(message_of(setup, 0, token(wiring.client.session, 1)))
    assert wiring.refused() == {rule: 1}
    assert wiring.models[0].queues == {}


@pytest.mark.clause("CRQ-D-13")
def test_a_message_of_another_session_is_dropped(wire: Wire) -> None:
    wiring = wire().open()
    wiring.say(Message(codec.SET_DEVICE_STATUS, 0, bytes(4), token=token(wiring.client.session + 1, 1)))
    assert wiring.refused() == {"session-stale": 1}
    assert wiring.models[0].resets == 0


@pytest.mark.clause("CRQ-D-16")
def test_a_second_request_before_the_answer_is_refused(wire: Wire) -> None:
    wiring = wire().open()
    wiring.ask(conversations.negotiate(0, OFFERED))
    wiring.models[0].slow = True
    reset = wiring.begin(conversations.reset_device(0))
    wiring.settle()
    wiring.say(Message(codec.GET_DEVICE_STATUS, 0, token=token(wiring.client.session, 0x55)))
    assert wiring.refused() == {"request-outstanding": 1}
    wiring.back.settled(0)
    wiring.settle()
    assert reset.done


@pytest.mark.clause("CRQ-D-7", "CRQ-D-8", "CRQ-D-9")
@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"magic": 1}, "hello-magic"),
        ({"reserved": 1}, "hello-magic"),
        ({"max_message": 51}, "hello-limits"),
        ({"ring_entries": 17}, "hello-limits"),
        ({"copy_granularity": 16}, "hello-limits"),
        ({"revision": 9, "lowest_revision": 9}, "hello-revision"),
        ({"revision": 0, "lowest_revision": 0}, "hello-revision"),
    ],
)
def test_a_hello_that_cannot_open_a_session_opens_none(wire: Wire, change: dict[str, int], rule: str) -> None:
    wiring = wire()
    wiring.front.opened = lambda: None  # type: ignore[method-assign]  # a client of another make
    wiring.server.start()
    wiring.client.start()
    wiring.settle()
    wiring.say(message_of(codec.Hello(**{**HELLO_BODY.__dict__, **change})))
    assert wiring.refused() == {rule: 1}
    assert wiring.server.session == 0


@pytest.mark.clause("CRQ-D-5")
def test_before_hello_nothing_else_is_heard(wire: Wire) -> None:
    wiring = wire()
    wiring.front.opened = lambda: None  # type: ignore[method-assign]
    wiring.server.start()
    wiring.client.start()
    wiring.settle()
    wiring.say(message_of(codec.Ping(1)))
    wiring.say(message_of(codec.GetDeviceInfo()))
    wiring.say(message_of(vqueue()))
    assert wiring.refused() == {"session-none": 3}
    assert wiring.models[0].resets == 0
