# SPDX-License-Identifier: Apache-2.0
"""The client's half of a CRQ connection."""

import time
from collections.abc import Callable
from typing import Any

from virtio_crq.platform.partition import AdapterNode, Arena
from virtio_crq.platform.port import Port


class CrqClient:
    """An `Endpoint` (platform.endpoint). Takes its ring and message area from the front of `arena` and maps those."""

    def __init__(
        self,
        port: Port,
        node: AdapterNode,
        arena: Arena,
        front_end: Callable[[Any], Any],  # given the endpoint as message.Bus, makes the message.FrontEnd
        *,
        queues: int,
        devices: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        raise NotImplementedError
