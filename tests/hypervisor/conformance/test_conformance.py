# SPDX-License-Identifier: Apache-2.0
"""Hypercall conformance: every row of every table, on both extremes of the platform profiles."""

from collections.abc import Iterator

import conformance_copies
import conformance_queues
import conformance_redirect
import conformance_subqueues
import conformance_tables
import pytest
from conformance_row import Row
from conformance_scene import Scene

from virtio_crq.papr.choices import CHOICES
from virtio_crq.papr.hypercalls import Hypercall
from virtio_crq.papr.profiles import EXTREMES, LOPAR_MINIMUM, PROFILES, Profile
from virtio_crq.papr.returncodes import ReturnCode, code_name

TABLES = {
    **conformance_queues.ROWS,
    **conformance_copies.ROWS,
    **conformance_tables.ROWS,
    **conformance_redirect.ROWS,
    **conformance_subqueues.ROWS,
}
PARAMETERS = [*conformance_queues.PARAMETERS, *conformance_copies.PARAMETERS, *conformance_tables.PARAMETERS]
PARAMETERS += [*conformance_redirect.PARAMETERS, *conformance_subqueues.PARAMETERS]
ROWS = [(call, row) for call, rows in TABLES.items() for row in rows]
# Choices that a row cannot hold, because they are about what runs at the same time, and the test that holds each.
HELD_ELSEWHERE = {
    15: "test_copies.py: after unmapping no byte moves; test_stop_points.py: a stopped process",
    26: "test_redirect.py: a stopped transfer",
}


@pytest.fixture(params=EXTREMES, ids=lambda profile: profile.name)
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    made = Scene(request.param)
    yield made
    made.close()


@pytest.mark.parametrize("row", PARAMETERS)
def test_a_call_answers_as_its_row_says(scene: Scene, row: Row) -> None:
    for step in row.steps:
        scene.step(step)
    code, outputs = scene.call(row.end, row.call, row.arguments)
    if row.call in scene.profile.absent_calls:
        assert code == ReturnCode.H_FUNCTION
        return
    assert code_name(code) == code_name(row.expected(scene.profile))
    if row.outputs is not None:
        assert outputs[: len(row.outputs)] == row.outputs
    for look, expected in row.effects.items():
        value = expected(scene.profile) if callable(expected) else expected
        assert (look, scene.look(look)) == (look, value)


@pytest.mark.parametrize("profile", EXTREMES, ids=lambda profile: profile.name)
@pytest.mark.parametrize("opcode", [0x2C, 0x114, 0x7FC, 0x111, 0xF000, 1 << 63])
def test_what_the_platform_does_not_have_is_h_function(scene: Scene, profile: Profile, opcode: int) -> None:
    assert scene.ports["client"].call(opcode)[0] == ReturnCode.H_FUNCTION


def test_absent_calls_are_h_function_and_have_no_effect(scene: Scene) -> None:
    for call in scene.profile.absent_calls:
        assert scene.ports["server"].call(call, scene.value("server.ua"))[0] == ReturnCode.H_FUNCTION


def test_a_busy_free_is_made_again_and_no_entry_follows() -> None:
    """LoPAR H_FREE_CRQ: on a busy code the same call again; by then no new entry or interrupt appears."""
    scene = Scene(LOPAR_MINIMUM)
    try:
        for step in ("client registers", "server registers"):
            scene.step(step)
        period = scene.profile.faults[0].period
        codes = []
        for _ in range(period):
            codes.append(scene.call("client", Hypercall.H_FREE_CRQ, ("client.ua",), settle=False)[0])
        assert codes == [ReturnCode.H_SUCCESS] * (period - 1) + [scene.profile.faults[0].code]
        assert scene.look("server ring 1") == "00" * 16
    finally:
        scene.close()


def test_every_choice_is_held_by_a_row() -> None:
    held = {row.choice for _, row in ROWS if row.choice} | HELD_ELSEWHERE.keys()
    assert held == {choice.number for choice in CHOICES}


def test_every_row_says_what_it_stands_on() -> None:
    assert [row.name for _, row in ROWS if not (row.source or row.clauses or row.choice)] == []


def test_every_emulated_call_has_rows() -> None:
    emulated = set(Hypercall) - set.intersection(*({*profile.absent_calls} for profile in PROFILES.values()))
    assert {row.call for _, row in ROWS} == emulated


def test_names_of_rows_are_unique_within_a_call() -> None:
    names = [(call, row.name) for call, row in ROWS]
    assert len(names) == len(set(names))
