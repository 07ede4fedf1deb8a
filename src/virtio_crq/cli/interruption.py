# SPDX-License-Identifier: Apache-2.0
"""SIGTERM, or a terminal that goes away, ends a foreground command as Ctrl-C does, so that all leave nothing behind."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
BURST_SECONDS = 2.0  # in which a stop that is told again is still the same one


@contextmanager
def terminated_as_interrupted(clock: Callable[[], float] = time.monotonic) -> Iterator[None]:
    """Within it, SIGTERM and SIGHUP are a KeyboardInterrupt, too; nohup still keeps SIGHUP away.

    One stop is often told more than once: timeout(1) tells the process and then its group, and a shell its jobs. The
    second would end the cleaning up that the first began.
    """
    told: float | None = None

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal told
        now = clock()
        if told is None or now - told >= BURST_SECONDS:
            told = now
            raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in STOPS}
    taken = [number for number, handler in before.items() if handler != signal.SIG_IGN]
    for number in taken:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, before[number])


@contextmanager
def held_back() -> Iterator[None]:
    """Within it a stop waits: what is made is also written down, and what is cleaned up is cleaned up to the end.

    By handlers and not by the signal mask, which a process that is started meanwhile would keep.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are not told here
        return
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in STOPS}
    taken = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    for number in taken:
        signal.signal(number, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, before[number])
        if came:
            signal.raise_signal(came[0])
