# SPDX-License-Identifier: Apache-2.0
"""Reads zeroes, forgets writes: what the transport alone costs."""

from virtio_crq.dataplane.kernel import zero
from virtio_crq.dataplane.store import Store
from virtio_crq.platform.port import Port


class NullStore(Store):
    """`NullStore(capacity)`."""

    def read(self, port: Port, offset: int, length: int, position: int, token: int) -> int:
        return 2 if zero(port, offset, length) < 0 else 0

    def write(self, port: Port, offset: int, length: int, position: int, stable: int, token: int) -> int:
        return 0
