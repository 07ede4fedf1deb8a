# SPDX-License-Identifier: Apache-2.0
"""Both halves joined, messages delivered one at a time in any interleaving, the connection lost at any moment.

The invariant: an honest front-end is never refused for the protocol's sake, no answer crosses a session, a device model
is enabled, started and reset in the order the specification gives, and everything comes to an end.
"""

import contextlib
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from memorybus import OFFERED, Joined, RecordingDevice

from virtio_crq.errors import DeviceFault, DriverFault, PartnerLost
from virtio_crq.message import conversations
from virtio_crq.message.device import QueueResume, QueueSetup
from virtio_crq.message.frontend import Conversation, FrontState, Outcome
from virtio_crq.message.message import Message
from virtio_crq.message.session import BackState
from virtio_crq.message.status import State
from virtio_crq.virtio.splitring import QueueSize

DEVICES = 2
SETUPS = {
    0: QueueSetup(QueueSize(64), 0x1000, 0x2000, 0x3000),
    1: QueueSetup(QueueSize(16), 0x4000, 0x5000, 0x6000),
}
# What an honest front-end may be told when its own conversations contradict each other, or the device broke.
EXCUSED = {"queue-state", "queue-reset", "config-state", "features-state", "status-illegal", "chain-loop"}
EXCUSED |= {"resume-state", "config-read-only"}
devices = st.integers(0, DEVICES - 1)


def brought_up(device: int) -> Conversation[int]:
    features = yield from conversations.negotiate(device, OFFERED)
    yield from conversations.start_queues(device, SETUPS)
    return features


def resumed(device: int) -> Conversation[None]:
    queues = {
        0: (SETUPS[0], QueueResume(3, 1, (9, 8))),
        1: (SETUPS[1], QueueResume(0, 0, ())),
    }
    yield from conversations.resume(device, 2, RecordingDevice().identity, OFFERED, queues)


LOST, INITIALIZE, COMPLETE = "lost", "initialize", "initialization complete"  # what a bus puts among the messages


class TwoHalves(RuleBasedStateMachine):
    """A bus like CRQ: each wire keeps its order, loss and initialization stand in line with the messages.

    A client that resets gets an empty ring, but the device side still answers what it finds before the loss; a server
    that died is replaced by one that knows nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.joined = Joined(*(RecordingDevice() for _ in range(DEVICES)))
        self.started: list[tuple[Outcome[Any], int | None]] = []
        self.refused: set[str] = set()
        self.front_asked = self.back_asked = False
        self.reset_client()

    # What becomes of the two sides ----------------------------------------------------------------------------------

    @rule()
    def reset_client(self) -> None:
        """The front-end frees and registers its CRQ again."""
        self.joined.front.lost("reset")
        self.joined.back_bus.sent.clear()
        self.joined.front_bus.sent.extend([LOST, INITIALIZE])
        self.front_asked = True
        self.nothing_is_left_open()

    @rule()
    def kill_server(self) -> None:
        """The server's process dies; a new one registers and calls out."""
        self.refused |= set(self.joined.back.refused)
        self.joined.replace_server()
        self.joined.front_bus.sent.clear()
        self.joined.back_bus.sent.extend([LOST, INITIALIZE])
        self.back_asked = True

    def to_device(self) -> None:
        item = self.joined.front_bus.sent.popleft()
        back = self.joined.back
        if item == LOST:
            back.lost("partner deregistered")
        elif item == INITIALIZE:
            self.joined.back_bus.sent.append(COMPLETE)
            back.opened()
        elif item == COMPLETE:
            if self.back_asked:
                back.opened()
            self.back_asked = False
        else:
            back.receive(item)

    def to_driver(self) -> None:
        item = self.joined.back_bus.sent.popleft()
        front = self.joined.front
        if item == LOST:
            front.lost("partner failed")
            self.front_asked = False
            self.nothing_is_left_open()
        elif item == INITIALIZE:
            self.joined.front_bus.sent.append(COMPLETE)
            front.opened()
        elif item == COMPLETE:
            if self.front_asked and front.state is FrontState.CLOSED:
                front.opened()
            self.front_asked = False
        else:
            front.receive(item)

    def nothing_is_left_open(self) -> None:
        for outcome, _ in self.started:
            assert outcome.done

    # What drivers do ------------------------------------------------------------------------------------------------

    @rule(device=devices, make=st.sampled_from([brought_up, resumed, conversations.reset_device]))
    def bring(self, device: int, make: Any) -> None:
        self._start(make(device))

    @rule(device=devices, queue=st.integers(0, 1), reset=st.booleans())
    def touch_queue(self, device: int, queue: int, reset: bool) -> None:
        self._start(
            conversations.reset_queue(device, queue)
            if reset
            else conversations.enable_queue(device, queue, SETUPS[queue])
        )

    @rule(device=devices, write=st.booleans())
    def touch_config(self, device: int, write: bool) -> None:
        self._start(
            conversations.write_config(device, 32, b"\1") if write else conversations.read_config(device, 0, 64)
        )

    @rule()
    def look(self) -> None:
        self._start(conversations.list_devices())

    def _start(self, conversation: Conversation[Any]) -> None:
        terms = self.joined.front.terms
        self.started.append((self.joined.front.start(conversation), terms.session if terms else None))

    # What the device side's models do -------------------------------------------------------------------------------

    @rule(device=devices, slow=st.booleans())
    def pace(self, device: int, slow: bool) -> None:
        self.joined.models[device].slow = slow

    @rule(device=devices)
    def settle(self, device: int) -> None:
        if self.joined.models[device].pending:
            self.joined.models[device].settle()
            self.joined.back.settled(device)

    @rule(device=devices)
    def fault(self, device: int) -> None:
        self.joined.back.needs_reset(device, "chain-loop")

    @rule(device=devices)
    def change_config(self, device: int) -> None:
        self.joined.back.config_changed(device)

    # The wires ------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.joined.front_bus.sent)
    @rule(count=st.integers(1, 6))
    def deliver_to_device(self, count: int) -> None:
        for _ in range(min(count, len(self.joined.front_bus.sent))):
            self.to_device()

    @precondition(lambda self: self.joined.back_bus.sent)
    @rule(count=st.integers(1, 6))
    def deliver_to_driver(self, count: int) -> None:
        for _ in range(min(count, len(self.joined.back_bus.sent))):
            self.to_driver()

    # What always holds ----------------------------------------------------------------------------------------------

    @invariant()
    def nobody_honest_is_refused(self) -> None:
        # A client that has not seen yet that the server is another one speaks before it says hello.
        assert set(self.joined.back.refused) | self.refused <= {"session-none"}
        assert set(self.joined.front.refused) <= {"session-none", "session-stale", "response-stale"}
        for device in range(DEVICES):
            assert set(self.joined.back.refused_by(device)) <= EXCUSED

    @invariant()
    def models_do_what_the_status_says(self) -> None:
        for number, model in self.joined.models.items():
            machine = self.joined.back._served[number].machine
            if machine.state in (State.RESET, State.ACKNOWLEDGED, State.DRIVER, State.BROKEN, State.FAILED):
                assert not model.enabled
            if model.running and machine.state is not State.BROKEN:
                assert machine.running
            if model.enabled:
                assert model.negotiated == OFFERED

    @invariant()
    def one_request_is_outstanding_per_device(self) -> None:
        asked: set[tuple[bool, int]] = set()
        for item in self.joined.front_bus.sent:
            if isinstance(item, str):  # what stands before it belongs to an earlier session
                asked.clear()
            elif isinstance(item, Message):
                assert (item.bus, item.device) not in asked
                asked.add((item.bus, item.device))

    @invariant()
    def no_conversation_outlives_its_session(self) -> None:
        terms = self.joined.front.terms
        for outcome, session in self.started:
            if not outcome.done:
                assert terms is not None
                assert terms.session == session

    def teardown(self) -> None:
        """Let everything settle: each conversation ends, one way or another."""
        for number, model in self.joined.models.items():
            model.slow = False
            if model.pending:
                model.settle()
                self.joined.back.settled(number)
        while self.joined.front_bus.sent or self.joined.back_bus.sent:
            if self.joined.front_bus.sent:
                self.to_device()
            if self.joined.back_bus.sent:
                self.to_driver()
        self.nothing_is_left_open()
        for outcome, _ in self.started:
            with contextlib.suppress(PartnerLost, DriverFault, DeviceFault):
                outcome.result()
        assert self.joined.front.state is FrontState.ACTIVE
        assert self.joined.back.state is BackState.ACTIVE
        assert self.joined.front.terms == self.joined.back.terms


TestTwoHalves = pytest.mark.clause("CRQ-F-7", "CRQ-F-8", "CRQ-F-9", "CRQ-D-12", "CRQ-D-14", "CRQ-D-81")(
    TwoHalves.TestCase
)
TestTwoHalves.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
