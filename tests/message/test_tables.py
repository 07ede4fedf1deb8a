# SPDX-License-Identifier: Apache-2.0
"""Every pair of state and event: what the tables have happens, what they lack does not."""

import itertools

import pytest

from virtio_crq.message import session, status
from virtio_crq.message.machine import IllegalTransition, Machine
from virtio_crq.message.status import TRANSITIONS, Event, State, StatusMachine
from virtio_crq.virtio import status as bits

WAYS = {
    State.RESET: [],
    State.ACKNOWLEDGED: [1],
    State.DRIVER: [1, 3],
    State.NEGOTIATED: [1, 3, 11],
    State.RUNNING: [1, 3, 11, 15],
    State.FAILED: [1, 129],
}
TABLES = [
    (TRANSITIONS, status.State, status.Event),
    (session.BACK_TRANSITIONS, session.BackState, session.BackEvent),
    (session.FRONT_TRANSITIONS, session.FrontState, session.FrontEvent),
]


def machine_in(state: State) -> StatusMachine:
    machine = StatusMachine()
    for written in WAYS[State.DRIVER if state is State.BROKEN else state]:
        machine.fire(machine.asked(written))
    if state is State.BROKEN:
        machine.fire(Event.FAULT)
    assert machine.state is state
    return machine


@pytest.mark.parametrize(("table", "states", "events"), TABLES, ids=["status", "device side", "front-end"])
def test_only_what_a_table_has_moves_a_machine(table, states, events):
    for state, event in itertools.product(states, events):
        machine = Machine(table, state)
        assert machine.may(event) == ((state, event) in table)
        if (state, event) in table:
            assert machine.fire(event) is table[state, event]
        else:
            with pytest.raises(IllegalTransition):
                machine.fire(event)
            assert machine.state is state


@pytest.mark.parametrize(("table", "states", "events"), TABLES, ids=["status", "device side", "front-end"])
def test_every_state_is_reached_and_every_event_used(table, states, events):
    reached, frontier = set(), {next(iter(states))}
    while frontier:
        reached |= frontier
        frontier = {target for (source, _), target in table.items() if source in reached} - reached
    assert reached == set(states)
    assert {event for _, event in table} == set(events)


@pytest.mark.clause("CRQ-D-50")
@pytest.mark.parametrize("state", State)
def test_each_of_the_256_status_writes_is_one_step_of_the_table_or_nothing(state: State):
    for written in range(256):
        machine = machine_in(state)
        event = machine.asked(written)
        if written == 0:
            assert event is Event.WRITE_RESET
        elif event is not None:
            before = machine.bits
            assert machine.fire(event) is TRANSITIONS[state, event]
            assert (machine.bits ^ before).bit_count() == 1
            assert machine.bits & ~bits.DEVICE_NEEDS_RESET == written & ~bits.DEVICE_NEEDS_RESET
        else:
            added = written & ~machine.bits & ~bits.DEVICE_NEEDS_RESET
            removed = machine.bits & ~written & ~bits.DEVICE_NEEDS_RESET
            steps = {event for (source, event) in TRANSITIONS if source is state} - {Event.FAULT, Event.RESUME}
            assert removed or added not in {status._BIT[step] for step in steps if step is not Event.WRITE_RESET}


def test_the_drivers_ordinary_way_up_shows_in_the_bits():
    machine = StatusMachine()
    for written in (1, 3, 11, 15):
        machine.fire(machine.asked(written))
        assert machine.bits == written
    assert machine.running
    assert machine.repeats(15)
    assert machine.repeats(15 | bits.DEVICE_NEEDS_RESET)
    assert not machine.repeats(11)


@pytest.mark.clause("CRQ-D-87")
def test_a_broken_device_leaves_that_state_by_reset_alone():
    for written in range(1, 256):
        machine = machine_in(State.BROKEN)
        event = machine.asked(written)
        assert event in (None, Event.WRITE_FAILED)
    machine.fire(Event.WRITE_RESET)
    assert machine.bits == 0
