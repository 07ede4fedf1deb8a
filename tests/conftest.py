# SPDX-License-Identifier: Apache-2.0
"""What holds for every test: unexpected warnings fail it, the data plane it meets is the compiled one.

And no example of a property fails because the machine was busy.
"""

import functools
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

GUEST_SECONDS = 300  # of a test that boots a guest, unless it says otherwise; emulated processors on a shared host


settings.register_profile("house", deadline=None)  # time is given, not taken
settings.load_profile("house")


class _Warnings(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture(autouse=True)
def no_unexpected_warnings(request: pytest.FixtureRequest) -> Iterator[None]:
    """A warning in the log is a finding: a test that provokes one names its logger by `expects_warnings`."""
    expected = tuple(name for mark in request.node.iter_markers("expects_warnings") for name in mark.args)
    handler = _Warnings()
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
    surprises = [f"{r.name}: {r.getMessage()}" for r in handler.records if not r.name.startswith(expected or ("\0",))]
    assert not surprises, "logged without being expected:\n" + "\n".join(surprises)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--guests", action="store_true", help="also run what boots real guests; ./lab must have run")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With guests, their modules are one process's, one after the other, and all else goes beside them.

    An emulated guest has as many processors as a small host. (pytest-xdist's own groups are marks, which it writes
    into an attribute that pytest 9.2 does not read any more.)
    """
    if not config.getoption("--guests"):
        return None
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    class OneGuest(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return "guests" if boots_guests(config.rootpath / nodeid.partition("::")[0]) else nodeid

    return OneGuest(config, log)


@functools.cache
def boots_guests(module: Path) -> bool:
    return "mark.guest" in module.read_text()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of guests are left out, or all run: without a lab that is an error and not a skip."""
    guests = [item for item in items if item.get_closest_marker("guest")]
    if not config.getoption("--guests"):
        config.hook.pytest_deselected(items=guests)
        items[:] = [item for item in items if item not in set(guests)]
        return
    require_lab()
    for item in guests:
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(GUEST_SECONDS))


def require_lab() -> None:
    from virtio_crq.errors import UsageError
    from virtio_crq.guests.cache import KERNELS, Lab

    try:
        lab = Lab.open()
        lab.qemu(), lab.userland()
        for name in KERNELS:
            lab.kernel(name)
    except UsageError as error:
        raise pytest.UsageError(f"--guests: {error}") from None


def pytest_report_header() -> str:
    from virtio_crq.platform import port

    kind = "interpreted" if os.environ.get("VIRTIO_CRQ_INTERPRETED") == "1" else "compiled"
    return f"virtio-crq: data plane {kind}, seam from {port.__file__}"
