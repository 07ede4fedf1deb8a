# SPDX-License-Identifier: Apache-2.0
"""Several loads, each on a device and a connection of its own, driven by one thread that looks at each in turn.

So many clients take no more processors than one, and none waits for another to be scheduled: what is measured is their
server. A round that sleeps does so once for all of them, as a server's worker does.
"""

import select
from collections.abc import Iterable

import cython

from virtio_crq.dataplane.load import LoadGenerator
from virtio_crq.platform.port import give_way, pause

FINISHED = 0
NOTHING_CAME = -1
IDLE = 0  # what a sweep finds, as in `load`
STRANGE = 2
FLOW = 128  # sweeps in vain while which work may still flow
LOOKS = 32  # and from then on, before the processor is offered to whoever it waits for


class LoadRound:
    """All have begun. `turn` is called until it answers FINISHED.

    After any other answer but NOTHING_CAME, `speaker` is the load whose channel has an entry for the caller.
    """

    def __init__(self, generators: Iterable[LoadGenerator]) -> None:
        self.generators = list(generators)
        self.first = self.generators[0]
        for generator, following in zip(self.generators, [*self.generators[1:], None], strict=True):
            generator.next = following
        self.speaker: LoadGenerator | None = None
        self.sleeps = 0
        self.epoll = select.epoll()
        self.sleepers = {generator.descriptor: generator for generator in self.generators}
        for descriptor in self.sleepers:
            # Only what is new wakes (EPOLLET): nothing has to be read.
            self.epoll.register(descriptor, select.EPOLLIN | select.EPOLLET)

    def turn(self, spins: int, seconds: float = 0) -> int:
        """Work until there is something for the caller.

        FINISHED: all are over. NOTHING_CAME: not after `spins` sweeps, nor in a sleep of so many `seconds`.
        """
        while True:
            with cython.nogil:
                found = self._sweep(spins)
            if found == STRANGE:
                return self._said()
            if self._over():
                return FINISHED
            if found == IDLE and not (seconds and self._sleep(seconds)):
                return NOTHING_CAME

    def _sweep(self, spins: int) -> int:
        """Sweep as long as something is found; IDLE after so many in vain. Loads that are over find nothing."""
        looks = 0
        while looks < spins:
            found = self.first.sweep()
            if found == STRANGE:
                return STRANGE
            if found != IDLE:
                looks = 0
                continue
            pause()
            looks += 1
            if looks > FLOW and looks % LOOKS == 0:
                give_way()
        return IDLE

    def _over(self) -> int:
        for generator in self.generators:
            if not generator.over:
                return 0
        return 1

    def _said(self) -> int:
        for generator in self.generators:
            if generator.strange:
                kind = generator.strange
                generator.strange = 0
                self.speaker = generator
                return kind
        raise AssertionError("nobody was told anything strange")

    def _sleep(self, seconds: float) -> int:
        """Until an interrupt, unless something came before they were on; 0 when nothing came for so long."""
        for generator in self.generators:
            generator.arm()
        found = self.first.sweep()
        if found != IDLE:
            return 1
        self.sleeps += 1
        roused = self.epoll.poll(seconds)
        for descriptor, _ in roused:
            self.sleepers[descriptor].woken = 1
        return 1 if roused else 0

    def close(self) -> None:
        self.epoll.close()
        for generator in self.generators:
            generator.next = None
