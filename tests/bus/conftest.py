# SPDX-License-Identifier: Apache-2.0
"""Every test of this folder runs on every bus."""

from collections.abc import Callable, Iterator

import pytest

from .models import NotingDevice
from .wiring import WIRINGS, Wiring

Wire = Callable[..., Wiring]


@pytest.fixture(params=WIRINGS)
def wire(request: pytest.FixtureRequest) -> Iterator[Wire]:
    """Makes a client and a server with these device models, not yet started."""
    made: list[Wiring] = []

    def make(*models: NotingDevice) -> Wiring:
        made.append(WIRINGS[request.param](*models))
        return made[-1]

    yield make
    for wiring in made:
        wiring.close()
