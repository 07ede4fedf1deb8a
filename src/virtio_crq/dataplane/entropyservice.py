# SPDX-License-Identifier: Apache-2.0
"""Entropy requests of one queue (virtio 1.4 §5.4)."""

from virtio_crq.dataplane.service import Service


class EntropyService(Service):
    """Fills each writable chain from the kernel's generator, up to 64 KiB a request."""
