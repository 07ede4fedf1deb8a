# SPDX-License-Identifier: Apache-2.0
"""Block requests of one queue (virtio 1.4 §5.2.6): IN, OUT, FLUSH, GET_ID."""

from virtio_crq.dataplane.service import Service
from virtio_crq.dataplane.store import Store


class BlockService(Service):
    """Serves a store. All queues of one device share the store object, and all of them are on one worker.

    `sectors`: capacity in 512-byte units. `writethrough`: each write is stable before it completes (CONFIG_WCE 0);
    may be changed at any time. `seg_max`, `size_max`: limits that were offered, 0 for none.
    """

    def __init__(
        self,
        store: Store,
        sectors: int,
        identity: bytes,
        read_only: bool = False,
        writethrough: bool = False,
        seg_max: int = 0,
        size_max: int = 0,
    ) -> None:
        super().__init__()
        raise NotImplementedError
