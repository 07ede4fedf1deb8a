# SPDX-License-Identifier: Apache-2.0
"""The request loop of one queue, whatever the device type."""


class Service:
    """One per queue; a device type subclasses it. `requests`, `errors` count; `bytes_in`, `bytes_out` too."""

    def __init__(self) -> None:
        self.requests = 0
        self.errors = 0
        self.bytes_in = 0
        self.bytes_out = 0
