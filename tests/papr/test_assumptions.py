# SPDX-License-Identifier: Apache-2.0
"""The documents about the platform are printed from the code's tables, and the tables are whole."""

from pathlib import Path

from virtio_crq.papr import assumptions, choices
from virtio_crq.papr.profiles import PROFILES

SPEC = Path(__file__).parents[2] / "docs" / "spec"


def test_every_switch_of_a_profile_is_an_assumption_with_a_test_on_hardware() -> None:
    assert assumptions.undecided() == set()
    assert all(a.doubt and a.relied_on and a.test for a in assumptions.ASSUMPTIONS)
    assert [a.number for a in assumptions.ASSUMPTIONS] == list(range(1, len(assumptions.ASSUMPTIONS) + 1))


def test_the_pages_are_those_the_tables_print() -> None:
    assert (SPEC / "assumptions.md").read_text() == assumptions.markdown()
    assert (SPEC / "choices.md").read_text() == choices.markdown()


def test_the_profiles_differ_in_every_switch_that_is_a_doubt() -> None:
    """A switch that all profiles set alike would leave one side of the doubt untested."""
    for assumption in assumptions.ASSUMPTIONS:
        for switch in assumption.switches:
            assert len({getattr(profile, switch) for profile in PROFILES.values()}) > 1, switch
