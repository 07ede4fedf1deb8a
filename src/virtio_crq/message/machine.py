# SPDX-License-Identifier: Apache-2.0
"""State machines whose legal transitions are one table: the code, the tests and the diagrams all read it."""

from collections.abc import Mapping
from enum import Enum
from typing import Generic, TypeVar

from virtio_crq.errors import VirtioCrqError

S = TypeVar("S", bound=Enum)
E = TypeVar("E", bound=Enum)


class IllegalTransition(VirtioCrqError):
    """An event that the table does not have for the present state."""


class Machine(Generic[S, E]):
    """Where one machine stands. `fire` is the only way to move it."""

    def __init__(self, table: Mapping[tuple[S, E], S], initial: S) -> None:
        self._table = table
        self.state = initial

    def may(self, event: E) -> bool:
        return (self.state, event) in self._table

    def fire(self, event: E) -> S:
        successor = self._table.get((self.state, event))
        if successor is None:
            raise IllegalTransition(f"{event.value} while {self.state.value}")
        self.state = successor
        return successor
