# SPDX-License-Identifier: Apache-2.0
"""Reads zeroes, forgets writes: what the transport alone costs."""

from virtio_crq.dataplane.store import Store


class NullStore(Store):
    """`NullStore(capacity)`."""
