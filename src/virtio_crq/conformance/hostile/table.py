# SPDX-License-Identifier: Apache-2.0
"""The whole table of hostile acts."""

from virtio_crq.conformance.hostile import beginnings, entries, rings
from virtio_crq.conformance.hostile.act import ACTS, Act

__all__ = ["TABLE"]

_SOURCES = (entries, rings, beginnings)  # importing them fills the table
TABLE: tuple[Act, ...] = tuple(ACTS)
