# SPDX-License-Identifier: Apache-2.0
"""Two well-behaved halves under any interleaving of work, resets and deaths: nothing stale, and no rule broken."""

import contextlib
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from virtio_crq.errors import PartnerLost
from virtio_crq.message import conversations
from virtio_crq.message.frontend import Outcome
from virtio_crq.platform.channel import AVAIL, USED

from .models import OFFERED, NotingDevice
from .wiring import WIRINGS, Wiring

DEVICE_COUNT = 2
# What one half sent before it read of the other's going, and what is therefore dropped in the new beginning.
CROSSED = {"init-stale", "session-none", "session-stale"}


class Interleaving(RuleBasedStateMachine):
    """Either end does one thing at a time; each announcement carries a number that only grows."""

    wiring_class: ClassVar[type[Wiring]]

    def __init__(self) -> None:
        super().__init__()
        self.wiring = self.wiring_class(*(NotingDevice() for _ in range(DEVICE_COUNT)))
        self.wiring.server.start()
        self.wiring.client.start()
        self.ended: dict[int, int] = {}
        self.begun: list[Outcome[Any]] = []
        self.sent = 0
        self.credits = {"client": 4, "server": 4}

    @rule()
    def the_server_works(self) -> None:
        self.wiring.server.pump()

    @rule()
    def the_client_works(self) -> None:
        self.wiring.client.pump()

    @rule(device=st.integers(0, DEVICE_COUNT - 1), what=st.integers(0, 3))
    def the_driver_asks(self, device: int, what: int) -> None:
        conversation: Any = (
            conversations.get_status(device),
            conversations.negotiate(device, OFFERED),
            conversations.read_config(device, 0, 100),
            conversations.list_devices(),
        )[what]
        number = len(self.begun)
        outcome = self.wiring.begin(conversation)
        self.begun.append(outcome)
        outcome.when_done(lambda _: self.ended.__setitem__(number, self.ended.get(number, 0) + 1))

    @precondition(lambda self: self.wiring.client.session and self.credits["client"])
    @rule()
    def the_client_announces(self) -> None:
        self._announce("client", AVAIL)

    @precondition(lambda self: self.wiring.server.session and self.credits["server"])
    @rule()
    def the_server_announces(self) -> None:
        self._announce("server", USED)

    def _announce(self, who: str, kind: int) -> None:
        end = self.wiring.client if who == "client" else self.wiring.server
        self.sent += 1
        if end.channel.announce(kind, 0, end.session, self.sent, 0) == 0:
            self.credits[who] -= 1

    @rule()
    def credits_return(self) -> None:
        self.wiring.settle()
        self.credits = {"client": 4, "server": 4}

    @rule()
    def the_server_dies_and_returns(self) -> None:
        self.wiring.kill_server()
        self.wiring.models = {number: NotingDevice() for number in self.wiring.models}
        self.wiring.new_server()
        self.wiring.server.start()

    @rule()
    def the_client_dies_and_returns(self) -> None:
        self.wiring.kill_client()
        self.begun, self.ended = [], {}
        self.wiring.new_client()
        self.wiring.client.start()

    @rule()
    def the_client_resets(self) -> None:
        bus: Any = self.wiring.client
        bus.reset("a test wants it")
        self.wiring.client.pump()

    @rule()
    def the_server_resets(self) -> None:
        bus: Any = self.wiring.server
        bus.reset("a test wants it")
        self.wiring.server.pump()

    @invariant()
    def no_rule_was_broken(self) -> None:
        assert set(self.wiring.refused()) | set(self.wiring.client.refusals) <= CROSSED
        assert not self.wiring.front.refused

    @invariant()
    def announcements_come_in_order_and_in_their_session(self) -> None:
        for hearer, speaker in (("server", AVAIL), ("client", USED)):
            heard = [position for who, kind, _, _, position, _ in self.wiring.announced if who == hearer]
            assert heard == sorted(set(heard))
            assert all(kind == speaker for who, kind, *_ in self.wiring.announced if who == hearer)

    @invariant()
    def a_conversation_ends_once(self) -> None:
        assert all(count == 1 for count in self.ended.values())

    def teardown(self) -> None:
        try:
            self.wiring.settle()
            assert self.wiring.client.session == self.wiring.server.session != 0
            assert len(self.ended) == len(self.begun), "a conversation hangs"
            for outcome in self.begun:
                with contextlib.suppress(PartnerLost):
                    outcome.result()
            assert self.wiring.ask(conversations.list_devices()) == list(range(DEVICE_COUNT))
            self.no_rule_was_broken()
        finally:
            self.wiring.close()


@pytest.mark.clause("CRQ-D-81", "CRQ-F-29", "CRQ-F-30", "CRQ-D-80", "CRQ-F-8", "CRQ-D-14")
@pytest.mark.parametrize("bus", WIRINGS)
def test_any_interleaving_ends_in_one_session(bus: str) -> None:
    machine = type("Wired", (Interleaving,), {"wiring_class": WIRINGS[bus]})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
