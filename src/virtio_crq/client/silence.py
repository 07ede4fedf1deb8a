# SPDX-License-Identifier: Apache-2.0
"""Notices a server that leaves requests unanswered. They are held all the same, for as long as it takes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from virtio_crq.client.disk import Disk

FIRST_SECONDS = 10.0
AGAIN_SECONDS = 60.0
Tell = Callable[[Disk, float], None]  # and for how many seconds nothing was answered


@dataclass
class _Wait:
    answered: int
    since: float
    due: float


class Silence:
    """`look` now and then while somebody waits: `tell` hears of a silent disk after 10 seconds, then every 60."""

    def __init__(self, disks: Callable[[], Iterable[Disk]], tell: Tell, clock: Callable[[], float]) -> None:
        self._disks = disks
        self._tell = tell
        self._clock = clock
        self._waits: dict[Disk, _Wait] = {}

    def look(self) -> None:
        now = self._clock()
        for disk in self._disks():
            wait = self._waits.get(disk)
            if not disk.outstanding:
                self._waits.pop(disk, None)
            elif wait is None or wait.answered != disk.answered:
                self._waits[disk] = _Wait(disk.answered, now, now + FIRST_SECONDS)
            elif now >= wait.due:
                wait.due += AGAIN_SECONDS
                self._tell(disk, now - wait.since)
