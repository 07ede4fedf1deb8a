# SPDX-License-Identifier: Apache-2.0
"""What the work on the lab tells whoever started it."""

from typing import Protocol


class Report(Protocol):
    """Calls may come from several threads."""

    def say(self, text: str) -> None:
        """A step that begins, or a notice."""

    def expect(self, total: int) -> None:
        """So many bytes are about to be fetched."""

    def received(self, count: int) -> None:
        """So many of them have come; less than nothing when some must come again."""

    def arrived(self) -> None:
        """All of them are here."""
