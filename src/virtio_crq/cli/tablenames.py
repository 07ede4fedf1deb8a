# SPDX-License-Identifier: Apache-2.0
"""The names in a table, as `--help` tells them and as the shell completes them."""

from collections.abc import Callable, Iterable
from typing import Protocol


class Named(Protocol):
    @property
    def name(self) -> str: ...


def told(table: Iterable[Named]) -> str:
    return ", ".join(row.name for row in table)


def completed(table: Iterable[Named]) -> Callable[[str], list[str]]:
    """For an option's `autocompletion`."""
    names = [row.name for row in table]

    def begun(incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)]

    return begun
