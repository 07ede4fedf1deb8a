# SPDX-License-Identifier: Apache-2.0
"""Conversations of a well-behaved driver with a well-behaved device."""

import pytest
from memorybus import OFFERED, Joined, RecordingDevice

from virtio_crq.errors import DeviceFault, DriverFault, PartnerLost
from virtio_crq.message import codec, conversations
from virtio_crq.message.bus import BusLimits
from virtio_crq.message.device import QueueResume, QueueSetup
from virtio_crq.message.status import State
from virtio_crq.virtio import status as bits
from virtio_crq.virtio.deviceid import DeviceId
from virtio_crq.virtio.features import MANDATORY, RING_RESET, VERSION_1, Features, feature_set
from virtio_crq.virtio.splitring import QueueSize

SETUP = QueueSetup(QueueSize(64), 0x1000, 0x2000, 0x3000)
RUNNING = bits.ACKNOWLEDGE | bits.DRIVER | bits.FEATURES_OK | bits.DRIVER_OK


def brought_up(*devices: RecordingDevice) -> Joined:
    joined = Joined(*devices).open()
    joined.run(conversations.negotiate(0, OFFERED))
    joined.run(conversations.start_queues(0, {0: SETUP}))
    return joined


@pytest.mark.clause("CRQ-F-4", "CRQ-D-10")
def test_hello_agrees_the_smaller_of_both_limits():
    joined = Joined(front=BusLimits(1024, 100), back=BusLimits(4096, 200, copy_max=4096)).open()
    assert joined.front.terms == joined.back.terms == joined.front_bus.terms == joined.back_bus.terms
    assert (joined.front.terms.max_message, joined.front.terms.ring_entries) == (1024, 100)
    assert joined.front.terms.session & 0xFF


@pytest.mark.clause("CRQ-D-44")
def test_devices_are_listed_whatever_their_numbers():
    joined = Joined()
    for number in (7, 8, 2000, 2100, 65535):
        joined.back.add(number, RecordingDevice())
    joined.open()
    assert joined.run(conversations.list_devices()) == [0, 7, 8, 2000, 2100, 65535]


@pytest.mark.clause("CRQ-D-46", "CRQ-D-47", "CRQ-D-90")
def test_a_device_describes_itself():
    description = Joined().open().run(conversations.describe(0))
    assert description == conversations.DeviceDescription(0, 2, 0x1AF4, b"identity-of-disk", OFFERED, 64, (256, 64))


@pytest.mark.clause("CRQ-D-65")
def test_no_queue_is_offered_whose_heads_do_not_fit_one_message():
    joined = Joined(front=BusLimits(264, 100)).open()
    sizes = joined.run(conversations.describe(0)).queue_sizes
    assert sizes == (64, 64)
    assert codec.ResumeVqueue.fixed_size() + 8 + 2 * 64 <= 264


@pytest.mark.clause("CRQ-F-23", "CRQ-D-50")
def test_bring_up_starts_the_queues_last():
    joined = brought_up()
    model = joined.models[0]
    assert model.calls == ["reset", "features", "enable 0", "driver_ok"]
    assert model.negotiated == OFFERED
    assert joined.back.status(0) == RUNNING
    assert joined.back.queue_enabled(0, 0)
    assert not joined.back.queue_enabled(0, 1)
    assert not joined.back.queue_enabled(9, 0)


def test_only_what_both_sides_want_is_negotiated():
    joined = Joined().open()
    assert joined.run(conversations.negotiate(0, 0)) == MANDATORY
    assert joined.run(conversations.negotiate(0, (1 << 128) - 1)) == OFFERED


@pytest.mark.clause("CRQ-F-22")
def test_a_device_without_access_platform_is_left_alone():
    joined = Joined(RecordingDevice(features=feature_set(VERSION_1))).open()
    with pytest.raises(DeviceFault, match="features-mandatory"):
        joined.run(conversations.negotiate(0, OFFERED))
    assert joined.back.status(0) & bits.FAILED


@pytest.mark.clause("CRQ-F-26", "CRQ-D-54")
def test_a_long_configuration_is_read_again_when_it_moved_meanwhile():
    device = RecordingDevice(config=bytearray(600))
    joined = Joined(device).open()
    outcome = joined.front.start(conversations.read_config(0, 0, 600))
    joined.back.receive(joined.front_bus.sent.popleft())  # the first piece is old
    device.config[:] = bytes([7]) * 600
    joined.back.config_changed(0)
    joined.pump()
    assert outcome.result() == bytes([7]) * 600


@pytest.mark.clause("CRQ-D-54", "CRQ-D-55")
def test_configuration_writes_arrive_and_changes_are_told_to_a_running_driver():
    joined = brought_up()
    joined.run(conversations.write_config(0, 32, b"\x01"))
    assert joined.run(conversations.read_config(0, 32, 1)) == b"\x01"
    assert joined.events == []
    joined.back.config_changed(0)
    joined.pump()
    assert joined.events == [("config", 0, RUNNING)]
    joined.run(conversations.write_config(0, 32, b"\x00"))
    with pytest.raises(DriverFault, match="other"):
        joined.run(conversations.write_config(0, 0, b"\x00"))
    assert joined.back.refused_by(0) == {"config-read-only": 1}


@pytest.mark.clause("CRQ-D-94", "CRQ-D-87", "CRQ-D-91")
def test_a_device_that_needs_a_reset_says_so_and_leaves_the_others_alone():
    joined = brought_up(RecordingDevice(), RecordingDevice())
    joined.run(conversations.negotiate(1, OFFERED))
    joined.run(conversations.start_queues(1, {0: SETUP}))
    joined.back.needs_reset(0, "chain-loop")
    joined.back.needs_reset(0, "chain-loop")
    joined.pump()
    assert joined.events == [("config", 0, RUNNING | bits.DEVICE_NEEDS_RESET)]
    assert not joined.models[0].enabled
    assert not joined.back.queue_enabled(0, 0)
    assert joined.back.refused_by(0) == {"chain-loop": 2}
    assert joined.back.queue_enabled(1, 0)
    with pytest.raises(DriverFault, match="queue-state"):
        joined.run(conversations.enable_queue(0, 1, SETUP))
    joined.run(conversations.negotiate(0, OFFERED))
    joined.run(conversations.start_queues(0, {0: SETUP}))
    assert joined.back.status(0) == RUNNING


@pytest.mark.clause("CRQ-D-62", "CRQ-D-63")
def test_a_queue_reset_is_answered_once_nothing_touches_its_memory():
    device = RecordingDevice(slow=True)
    joined = brought_up(device)
    outcome = joined.front.start(conversations.reset_queue(0, 0))
    joined.pump()
    assert not outcome.done
    device.settle()
    joined.back.settled(0)
    joined.pump()
    assert outcome.done
    joined.run(conversations.enable_queue(0, 0, SETUP))
    assert 0 in device.enabled


@pytest.mark.clause("CRQ-D-51", "CRQ-D-16", "CRQ-F-9")
def test_a_device_reset_is_answered_once_nothing_touches_the_drivers_memory():
    device = RecordingDevice(slow=True)
    joined = brought_up(device)
    outcome = joined.front.start(conversations.reset_device(0))
    later = joined.front.start(conversations.get_status(0))
    joined.pump()
    assert not outcome.done
    assert not later.done
    device.settle()
    joined.back.settled(0)
    joined.pump()
    assert outcome.done
    assert later.result() == 0
    assert joined.back.refused_by(0) == {}


@pytest.mark.clause("CRQ-D-12")
def test_hello_waits_for_the_copies_of_the_session_before():
    device = RecordingDevice(slow=True)
    joined = brought_up(device)
    joined.lose()
    joined.open()
    assert joined.front.terms is None
    device.settle()
    joined.back.settled(0)
    joined.pump()
    assert joined.front.terms is not None


@pytest.mark.clause("CRQ-D-45")
def test_devices_come_and_go():
    joined = Joined().open()
    joined.back.add(5, RecordingDevice(device_id=4))
    joined.pump()
    assert joined.run(conversations.list_devices()) == [0, 5]
    with pytest.raises(ValueError, match="device 5 exists"):
        joined.back.add(5, RecordingDevice())
    joined.back.remove(5)
    joined.pump()
    assert joined.events == [("device", 5, 1), ("device", 5, 0)]
    with pytest.raises(DriverFault, match="device-unknown"):
        joined.run(conversations.get_status(5))


@pytest.mark.clause("CRQ-F-32", "CRQ-D-82", "CRQ-D-85", "CRQ-D-86")
def test_a_device_carries_on_after_a_loss_with_the_heads_in_flight():
    joined = brought_up()
    model = joined.models[0]
    joined.lose()
    assert model.calls[-1] == "reset"
    joined.open()
    resume = QueueResume(2, 65535, (5, 0, 63))
    outcome = joined.front.start(conversations.resume(0, 2, model.identity, OFFERED, {0: (SETUP, resume)}))
    while not outcome.done:
        assert not model.running
        assert not model.served
        joined.back.receive(joined.front_bus.sent.popleft())
        joined.front.receive(joined.back_bus.sent.popleft())
    assert outcome.result() is None
    assert model.served == [5, 0, 63]
    assert model.enabled[0] == (SETUP, resume)
    assert joined.back.status(0) == RUNNING


@pytest.mark.clause("CRQ-D-82", "CRQ-F-34")
@pytest.mark.parametrize(
    ("identity", "features", "rule"),
    [(b"another disk....", OFFERED, "identity"), (b"identity-of-disk", OFFERED | 1, "features")],
)
def test_another_disk_or_a_missing_feature_is_never_resumed(identity: bytes, features: Features, rule: str):
    joined = Joined().open()
    with pytest.raises(DeviceFault, match=f"resume-{rule}"):
        joined.run(conversations.resume(0, 2, identity, features, {}))
    assert joined.back.status(0) == bits.DEVICE_NEEDS_RESET
    assert joined.models[0].negotiated is None
    assert joined.back.refused_by(0) == {f"resume-{rule}": 1}


@pytest.mark.clause("CRQ-F-35")
def test_what_may_not_happen_twice_is_never_resumed():
    joined = Joined(RecordingDevice(device_id=DeviceId.NET)).open()
    outcome = joined.front.start(conversations.resume(0, DeviceId.NET, b"identity-of-disk", OFFERED, {}))
    assert not joined.front_bus.sent
    with pytest.raises(DeviceFault, match="requests to a net device"):
        outcome.result()


@pytest.mark.clause("CRQ-D-9")
def test_a_front_end_of_another_revision_is_told_which():
    joined = Joined()
    joined.front._revision = 0
    joined.open()
    assert "up to 1" in str(joined.errors[0])
    assert joined.back.refused == {"hello-revision": 1}
    assert joined.front.terms is None


@pytest.mark.clause("CRQ-D-11", "CRQ-F-5")
def test_session_numbers_never_repeat_their_low_byte():
    joined = Joined().open()
    seen = joined.front.terms.session
    for _ in range(600):
        joined.lose()
        joined.open()
        assert joined.front.terms.session & 0xFF not in (0, seen & 0xFF)
        seen = joined.front.terms.session


def test_a_number_is_free_again_once_its_old_device_let_go():
    device = RecordingDevice(slow=True)
    joined = brought_up(device)
    joined.back.remove(0)
    with pytest.raises(ValueError, match="device 0 exists"):
        joined.back.add(0, RecordingDevice())
    device.settle()
    joined.back.settled(0)
    joined.back.add(0, RecordingDevice())
    assert joined.back.devices() == (0,)


def test_a_result_is_not_there_before_the_conversation_is_over():
    outcome = Joined().open().front.start(conversations.get_status(0))
    with pytest.raises(RuntimeError, match="not over"):
        outcome.result()


def test_conversations_end_with_the_session():
    joined = Joined().open()
    first, second = (joined.front.start(conversations.get_status(0)) for _ in range(2))
    joined.lose()
    for outcome in (first, second):
        with pytest.raises(PartnerLost):
            outcome.result()
    with pytest.raises(PartnerLost):
        joined.front.start(conversations.get_status(0)).result()


@pytest.mark.clause("CRQ-D-61")
def test_without_ring_reset_no_queue_is_added_later():
    joined = Joined().open()
    joined.run(conversations.negotiate(0, OFFERED & ~feature_set(RING_RESET)))
    joined.run(conversations.start_queues(0, {0: SETUP}))
    with pytest.raises(DriverFault, match="queue-state"):
        joined.run(conversations.enable_queue(0, 1, SETUP))
    with pytest.raises(DriverFault, match="queue-reset"):
        joined.run(conversations.reset_queue(0, 0))
    assert joined.back._served[0].machine.state is State.RUNNING
