# SPDX-License-Identifier: Apache-2.0
"""Where a block device's bytes live: the interface between a request loop and a backing."""


class Store:
    """Used by one worker's thread. `capacity` is in bytes."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity

    def close(self) -> None:
        """Release what the store holds, after its last operation ended."""
