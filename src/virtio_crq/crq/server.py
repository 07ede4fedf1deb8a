# SPDX-License-Identifier: Apache-2.0
"""The serving half of a CRQ connection."""

from collections.abc import Callable
from typing import Any

from virtio_crq.platform.partition import AdapterNode, Arena
from virtio_crq.platform.port import Port


class CrqServer:
    """An `Endpoint` (platform.endpoint). Takes its ring from the front of `arena` and maps all of it."""

    def __init__(
        self,
        port: Port,
        node: AdapterNode,
        arena: Arena,
        back_end: Callable[[Any], Any],  # given the endpoint as message.Bus, makes the message.BackEnd
        *,
        queues: int,  # of all devices together: together they size the ring
        devices: int,
    ) -> None:
        raise NotImplementedError
