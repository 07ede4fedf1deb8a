# SPDX-License-Identifier: Apache-2.0
"""A raw file or a block device."""

from virtio_crq.dataplane.store import Store


class FileStore(Store):
    """Does I/O on `descriptor`, which stays the caller's (the image lock is held on the same open file).

    `engine`: "auto" (io_uring, or threads where it is forbidden), "uring", "threads". `write_now`: try writes without
    waiting first, as reads are.
    """

    def __init__(self, descriptor: int, capacity: int, engine: str = "auto", write_now: bool = False) -> None:
        super().__init__(capacity)
        raise NotImplementedError
