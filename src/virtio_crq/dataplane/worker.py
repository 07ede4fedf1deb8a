# SPDX-License-Identifier: Apache-2.0
"""A thread that serves connections, with one sleep for all of them.

    look at the links that are awake ── work ──► look …
         │ nothing, for as long as patience has it
         ▼
    signal(1) on those that are not armed ──► look once more ──► epoll ──► look …

Looking, and serving what is found, runs without the interpreter until something needs it: a control message, a store
that finished later, a request from another thread. An entry that comes between the last look and the sleep finds the
interrupt on; one that came before it was turned on makes the platform raise it then (edge interrupts signal at
unmask). So nothing is slept over. A link that is woken stays armed, and one that is found to have work while awake is
disarmed: with few entries neither costs a call.

While others work, a link that had nothing for a while is put to sleep alone: armed, looked at no more, and woken by
its descriptor, which is asked for now and then.
"""

import itertools
import logging
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

import cython

from virtio_crq.dataplane.kernel import now, wait
from virtio_crq.dataplane.link import Link
from virtio_crq.dataplane.patience import Patience
from virtio_crq.errors import DriverFault, VirtioCrqError
from virtio_crq.platform.port import give_way, pause

log = logging.getLogger("virtio_crq.dataplane")
T = TypeVar("T")
PAUSES = 32  # between two whole turns that found nothing
FOR_EVER = 1 << 62
FLOW = 128  # looks in vain, a few microseconds, while which work may still flow
LOOKS = 32  # and from then on, before the processor is offered to whoever it waits for
CLOCKED = 7  # the clock is looked at every eighth time
ROUND = 200_000  # nanoseconds of work without the interpreter, before it sees to those that sleep alone
QUIET = 5  # rounds without an entry after which a link sleeps alone
IDLE = 0  # what a look finds: nothing, for as long as it was worth looking
WORKED = 1
BY_TURN = 2  # what takes whole turns
ROUND_OVER = 3


class Worker:
    """`polling` is how long it looks for work before it sleeps, at most, in microseconds (see `Patience`; 0: it sleeps
    at once); None: it never sleeps, unless it has no connections, when it would only take time from those that have.
    `processor` is where it runs, if that matters.

    An error in a turn of one connection ends the service of that one: it is dropped and its `on_failure` is called.
    `failures` counts these, `sleeps` counts sleeps. `failure` is what ended the thread, if anything but `stop` did;
    `on_end` is called when that happens.
    """

    def __init__(
        self,
        name: str,
        polling: int | None = 32,
        on_end: Callable[[], None] = lambda: None,
        processor: int | None = None,
    ) -> None:
        self.name = name
        self.polling = polling
        self.processor = processor
        self.patience = Patience(1000 * (polling or 0))
        self.links: list[Link] = []
        self.awake: list[Link] = []  # those that are looked at; all others are armed
        self.first: Link | None = None  # of them
        self.called = 0
        self.since = 0  # when there was work last
        self.tended = 0  # when a round was over last
        self._calm: dict[Link, tuple[int, int]] = {}  # what a link had heard, and how many rounds ago
        self.sleeps = 0
        self.failures = 0
        self.on_end = on_end
        self.failure: BaseException | None = None
        self._stopping = False
        self._requests: deque[Callable[[], None]] = deque()
        self._ending = threading.Lock()
        self._epoll: select.epoll | None = None
        self._awaited: dict[int, tuple[Link | None, bool]] = {}  # and whether it is a store's
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    # --- any thread ---

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def add(self, link: Link) -> None:
        """Serve this connection from now on (any thread)."""
        self.call(lambda: self._take(link))

    def remove(self, link: Link) -> None:
        """Serve it no more; returns when the worker no longer touches it (any thread)."""
        self.call(lambda: self._drop(link))

    def call(self, work: Callable[[], T]) -> T:
        """Run `work` in the worker's thread, between two turns, and return what it returns (any thread)."""
        if threading.current_thread() is self._thread or not self._thread.is_alive():
            return work()
        outcome: list[Any] = []
        failed: list[BaseException] = []
        ended = threading.Event()

        def run() -> None:
            try:
                outcome.append(work())
            except BaseException as error:
                failed.append(error)
            ended.set()

        self._requests.append(run)
        self.wake()
        while not ended.wait(0.1):
            if not self._thread.is_alive():
                raise VirtioCrqError(f"worker {self.name} has ended") from self.failure
        if failed:
            raise failed[0]
        answer: T = outcome[0]
        return answer

    def wake(self) -> None:
        """Have the worker look at everything (any thread)."""
        self.called = 1
        with self._ending:
            if self._event >= 0:
                os.eventfd_write(self._event, 1)

    def stop(self) -> None:
        """End the thread after its current turn."""
        self._stopping = True
        self.wake()
        if threading.current_thread() is self._thread:
            return
        if self._thread.is_alive():
            self._thread.join()
        with self._ending:
            if self._event >= 0:
                os.close(self._event)
                self._event = -1

    # --- the worker's own thread ---

    def _run(self) -> None:
        try:
            if self.processor is not None:
                os.sched_setaffinity(0, {self.processor})
            while not self._stopping:
                self._answer()
                found = self._look(self.serve())
                if found == ROUND_OVER:
                    self._tend()
                elif found == IDLE:
                    self._sleep()
        except BaseException as error:
            self.failure = error
            log.exception("worker %s has ended", self.name)
            self.on_end()
        finally:
            self._chain([])  # nothing is looked at any more
            self._grant()
            self._unwire()

    def _answer(self) -> None:
        if self.called:
            self.called = 0
            self._stir()
        self._grant()

    def _grant(self) -> None:
        while self._requests:
            self._requests.popleft()()

    def _stir(self) -> None:
        """What happened outside the links' own queues may concern any of them."""
        for link in self.links:
            link.restless = 1
        self._chain(list(self.links))

    def _take(self, link: Link) -> None:
        self.links.append(link)
        link.restless = 1
        self._unwire()
        self._chain([*self.awake, link])

    def _drop(self, link: Link) -> None:
        if link in self.links:
            self.links.remove(link)
            self._calm.pop(link, None)
            self._unwire()
            self._chain([other for other in self.awake if other is not link])

    def _chain(self, links: list[Link]) -> None:
        """These are looked at from now on."""
        for link in self.awake:
            link.next = None
        self.awake = links
        self.first = links[0] if links else None
        for link, following in itertools.pairwise(links):
            link.next = following

    def serve(self) -> int:
        """Whole turns of the links that need one; 0 when there was nothing to do."""
        moved = 0
        for link in self.awake:
            if link.restless or link.due_turn or link.due:
                try:
                    moved += link.turn()
                except Exception as error:
                    self._give_up(link, error)
                    return 1
        if moved:
            self.since = now()
        return moved

    def _look(self, moved: int) -> int:
        """Look at all that is awake, and serve what is found, until that takes the interpreter or finds no more.

        Where whole turns moved something, or something is under way of which no entry tells, they are soon taken again.
        """
        if self.first is None:
            return IDLE
        limit = FOR_EVER if self.polling is None else 0
        watched = moved or any(link.restless for link in self.awake)
        try:
            with cython.nogil:
                found = self._watch_on(self.first, limit, moved) if watched else self._look_on(self.first, limit)
        except DriverFault as fault:
            for link in self.awake:
                if link.fault(fault):
                    return BY_TURN
            raise
        except Exception as error:
            for link in self.awake:
                if link.within:
                    self._give_up(link, error)
                    return BY_TURN
            raise
        return found

    def _watch_on(self, first: Link, limit: int, moved: int) -> int:
        """One look at everybody who needs no whole turn: they do not wait for those who do."""
        found = first.sweep(1)
        clock = now()
        if found != IDLE:
            self.since = clock
        if clock - self.tended > ROUND:
            return ROUND_OVER
        if found != IDLE or moved:
            return BY_TURN
        if clock - self.since > limit and clock - self.since > self.patience.granted:
            return IDLE
        for _ in range(PAUSES):
            pause()
        give_way()
        return BY_TURN

    def _look_on(self, first: Link, limit: int) -> int:
        looks = 0
        begun = clock = now()
        while True:
            if self.called:
                return BY_TURN
            found = first.sweep(0)
            if found != IDLE:
                if looks:
                    self.patience.waited(clock - self.since)  # what was served meanwhile is no wait
                    looks = 0
                if found == BY_TURN:
                    return BY_TURN
                self.since = now()
                if self.since - begun > ROUND:
                    return ROUND_OVER
                continue
            pause()
            if looks & CLOCKED == 0:
                clock = now()
                if clock - self.since > limit and clock - self.since > self.patience.granted:
                    return IDLE
                if clock - begun > ROUND:
                    return ROUND_OVER
            looks += 1
            if looks > FLOW and looks & (LOOKS - 1) == 0:
                give_way()

    def _tend(self) -> None:
        """A round is over: links that hear nothing go to sleep alone, and those that were woken come back."""
        self.tended = now()
        if self.polling is None:
            self._stir()
            return
        staying = [link for link in self.awake if not self._rests(link)]
        if len(staying) < len(self.awake):
            for link in self.awake:
                if link not in staying:
                    self._arm(link)
            self._chain(staying)
        if len(self.awake) < len(self.links):
            self._rouse(self._rewired().poll(0))

    def _rests(self, link: Link) -> bool:
        """Whether nothing came on this link for a while, and nothing of it is under way."""
        heard, rounds = self._calm.get(link, (-1, 0))
        rounds = rounds + 1 if heard == link.heard and not link.restless and not link.due else 0
        self._calm[link] = link.heard, rounds
        return rounds > QUIET

    def _give_up(self, link: Link, error: Exception) -> None:
        """An error that no rule foresees: nobody knows what state this connection is in, so it is turned no more."""
        self.failures += 1
        self._drop(link)
        link.port.signal(0)
        link.on_failure(error)

    def _arm(self, link: Link) -> None:
        link.woken = 0
        if not link.armed:
            link.port.signal(1)
            link.armed = 1
            link.listen()
            link.restless = 1  # what came before that is looked for once more

    def _sleep(self) -> None:
        """Have whoever is awake wake us; those that something is under way for stay awake through it."""
        armed = [link for link in self.awake if not link.armed]
        for link in self.awake:
            self._arm(link)
        if (armed and self._last_look(armed)) or self.called or self._requests or self._stopping:
            return
        if any(link.expects() for link in self.awake):
            return
        self.sleeps += 1
        epoll = self._rewired()
        busy = [link for link in self.awake if link.restless or link.due]
        limit = 0.001 if any(link.unsaid for link in busy) else -1
        due = min((link.due for link in busy if link.due), default=0)
        if due:
            wait(epoll.fileno(), due - time.monotonic_ns())
            limit = 0
        self._chain(busy)
        self._rouse(epoll.poll(limit))
        self.tended = now()
        self.patience.waited(self.tended - self.since)

    def _last_look(self, links: list[Link]) -> int:
        """What came while the interrupts were being turned on."""
        moved = 0
        for link in links:
            try:
                moved += link.turn()
            except Exception as error:
                self._give_up(link, error)
                return 1
        return moved

    def _rouse(self, found: list[tuple[int, int]]) -> None:
        """These descriptors have something: their links are looked at again."""
        roused = []
        for descriptor, _ in found:
            link, knocked = self._awaited[descriptor]
            if link is None:
                continue  # somebody called, which `called` says, too
            link.woken = 0 if knocked else 1
            if knocked:
                link.restless = 1
            if link not in self.awake and link not in roused:
                roused.append(link)
        if roused:
            self._chain([*self.awake, *roused])

    def _rewired(self) -> select.epoll:
        """What is slept on: made anew when connections or queues changed: a number may mean another file now.

        Only what is new wakes (EPOLLET): nothing has to be read, and what a look found before is reported once at most.
        """
        if self._epoll is not None and not any(link.rewired for link in self.links):
            return self._epoll
        self._unwire()
        self._awaited = {self._event: (None, False)}
        for link in self.links:
            link.rewired = 0
            self._awaited.update((descriptor, (link, True)) for descriptor in link.wakeups())
            self._awaited[link.port.fileno()] = link, False
        self._epoll = select.epoll()
        for descriptor in self._awaited:
            self._epoll.register(descriptor, select.EPOLLIN | select.EPOLLET)
        return self._epoll

    def _unwire(self) -> None:
        if self._epoll is not None:
            self._epoll.close()
            self._epoll = None
