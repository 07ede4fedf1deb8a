# SPDX-License-Identifier: Apache-2.0
"""The whole table of hostile acts; those on packed rings and pushed queues are for front-ends that can have them."""

from virtio_crq.conformance.hostile import beginnings, entries, packedrings, pushes, rings
from virtio_crq.conformance.hostile.act import ACTS, Act, Kind

__all__ = ["PACKED_TABLE", "PUSHED_TABLE", "TABLE"]

_SOURCES = (entries, rings, packedrings, pushes, beginnings)  # importing them fills the table
TABLE: tuple[Act, ...] = tuple(each for each in ACTS if each.kind not in (Kind.PACKED, Kind.PUSHED))
PACKED_TABLE: tuple[Act, ...] = tuple(each for each in ACTS if each.kind is Kind.PACKED)
PUSHED_TABLE: tuple[Act, ...] = tuple(each for each in ACTS if each.kind is Kind.PUSHED)
