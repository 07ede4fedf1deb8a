# SPDX-License-Identifier: Apache-2.0
"""What a request to a device will have come to, for callers that block, call back or await."""

import asyncio
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Transfer(Generic[T]):
    """Ends once, with a value or an error. Belongs to the thread that drives the client."""

    def __init__(self) -> None:
        self.done = False
        self._value: Any = None
        self._error: Exception | None = None
        self._callbacks: list[Callable[[Transfer[T]], None]] = []

    def result(self) -> T:
        """The value, or the error is raised; only once `done`."""
        if not self.done:
            raise RuntimeError("the transfer has not ended")
        if self._error is not None:
            raise self._error
        value: T = self._value
        return value

    def when_done(self, callback: Callable[["Transfer[T]"], None]) -> None:
        """Call back once; at once when already done."""
        if self.done:
            callback(self)
        else:
            self._callbacks.append(callback)

    def finish(self, value: T) -> None:
        self._end(value, None)

    def fail(self, error: Exception) -> None:
        self._end(None, error)

    def _end(self, value: Any, error: Exception | None) -> None:
        if self.done:
            return
        self.done, self._value, self._error = True, value, error
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self)

    def __await__(self) -> Generator[Any, None, T]:
        """Await it in the event loop that the client is attached to. Cancelling the wait does not undo the request."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake(_transfer: "Transfer[T]") -> None:
            if not future.done():
                future.set_result(None)

        self.when_done(wake)
        yield from future
        return self.result()
