# SPDX-License-Identifier: Apache-2.0
"""A disk in the server's memory, gone with the process."""

from virtio_crq.dataplane.store import Store


class RamStore(Store):
    """`RamStore(capacity)`: anonymous memory, allocated when first written."""
