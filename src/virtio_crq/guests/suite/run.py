# SPDX-License-Identifier: Apache-2.0
"""Runs checks one after the other. A check that fails is a result; the next one finds a guest all the same."""

import time
from collections.abc import Callable, Iterable

from virtio_crq.errors import VirtioCrqError
from virtio_crq.guests.agent import AgentFailed
from virtio_crq.guests.suite.check import Boot, Check, CheckFailed, Result
from virtio_crq.guests.suite.scene import Scene

Tell = Callable[[Check, Result | None], None]  # a check begins (None), or has ended


def play(checks: Iterable[Check], scene: Scene, tell: Tell) -> list[Result]:
    """The results in order. The guest is gone afterwards."""
    results = []
    try:
        for row in checks:
            tell(row, None)
            results.append(_one(row, scene))
            tell(row, results[-1])
    finally:
        scene.leave()
    return results


def _one(row: Check, scene: Scene) -> Result:
    begun = time.monotonic()
    try:
        scene.need(row.boot is Boot.ROOT)
        detail = row.run(scene)
        if row.ends_guest:
            scene.leave()
        elif trouble := scene.trouble():
            raise CheckFailed(f"the kernel complained: {trouble[-1]}")
        return Result(row.name, row.shows, True, time.monotonic() - begun, detail)
    except Exception as error:  # one of the check's own is a result as well: the others have not run yet
        if isinstance(error, AgentFailed):
            scene.ask_who_waits()
        lines = list(scene.last_lines())
        said = str(error) if isinstance(error, VirtioCrqError) else f"the check itself: {error!r}"
        scene.leave()  # whatever state it is in, the next check shall not suffer from it
        return Result(row.name, row.shows, False, time.monotonic() - begun, said, lines)
