# SPDX-License-Identifier: Apache-2.0
"""How the lab's filling shows on a terminal, and as plain lines elsewhere."""

import threading
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TimeRemainingColumn, TransferSpeedColumn


class LabReport:
    """Lines on stderr; a bar while packages come, where somebody is watching."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._progress = Progress(
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> "LabReport":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.arrived()

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)

    def expect(self, total: int) -> None:
        if self._console.is_terminal:
            self._task = self._progress.add_task("", total=total)
            self._progress.start()

    def received(self, count: int) -> None:
        with self._lock:
            if self._task is not None:
                self._progress.advance(self._task, count)

    def arrived(self) -> None:
        with self._lock:
            if self._task is not None:
                self._progress.remove_task(self._task)
                self._task = None
                self._progress.stop()
