# SPDX-License-Identifier: Apache-2.0
"""Tests that boot guests are one process's when several run tests: two guests beside each other are slow ones."""

from types import SimpleNamespace
from typing import Any

import pytest


def scheduler(request: pytest.FixtureRequest, guests: bool) -> Any:
    plugins = request.config.pluginmanager.get_plugins()
    make = next(plugin for plugin in plugins if hasattr(plugin, "boots_guests")).pytest_xdist_make_scheduler
    option = {"tx": ["popen"], "px": []}
    config = SimpleNamespace(getoption=lambda name: guests, getvalue=option.get, rootpath=request.config.rootpath)
    config.option = SimpleNamespace(verbose=0, debug=False)
    return make(config, None)


def test_modules_of_guests_are_one_piece_of_work_and_other_tests_are_each_one(request: pytest.FixtureRequest) -> None:
    scope = scheduler(request, guests=True)._split_scope
    suite, witnesses = "tests/guests/test_suite.py::test_a[6.1]", "tests/guests/test_witnesses.py::test_b"
    assert scope(suite) == scope(witnesses)
    others = ["tests/guests/test_fio.py::test_a", "tests/guests/test_fio.py::test_b"]
    assert len({scope(other) for other in [suite, *others]}) == 3


def test_without_guests_tests_are_spread_as_asked(request: pytest.FixtureRequest) -> None:
    assert scheduler(request, guests=False) is None
