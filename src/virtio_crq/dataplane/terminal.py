# SPDX-License-Identifier: Apache-2.0
"""The far end of a console's port, as its queues see it: bytes both ways, a size, and whether anybody is there."""


class Terminal:
    """Nothing here waits, and nothing raises for what the far end does. One worker's object.

    Whoever makes one sees to it that the port's store is told (`StreamStore.knock`) when bytes come after `read` had
    none, when there is room after `write` took less than it was given, and when `size` or `connected` change.
    """

    connected = False
    discarded = 0  # bytes that came while nobody was there to see them

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows; zeroes when there is no such thing."""
        return 0, 0

    def read(self, limit: int) -> bytes:
        """Up to `limit` bytes that came; they are the caller's to deliver now."""
        return b""

    def write(self, data: bytes) -> int:
        """How many of the bytes were taken, or had to be discarded."""
        return len(data)
