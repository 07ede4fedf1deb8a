# SPDX-License-Identifier: Apache-2.0
"""The whole table of hostile acts; those on packed rings, pushed and paired queues are for who can have them."""

from virtio_crq.conformance.hostile import beginnings, entries, packedrings, pairs, pushes, rings
from virtio_crq.conformance.hostile.act import ACTS, Act, Kind

__all__ = ["PACKED_TABLE", "PAIRED_TABLE", "PUSHED_TABLE", "TABLE"]

_SOURCES = (entries, rings, packedrings, pushes, pairs, beginnings)  # importing them fills the table
_SPECIAL = (Kind.PACKED, Kind.PUSHED, Kind.PAIRED)
TABLE: tuple[Act, ...] = tuple(each for each in ACTS if each.kind not in _SPECIAL)
PACKED_TABLE: tuple[Act, ...] = tuple(each for each in ACTS if each.kind is Kind.PACKED)
PAIRED_TABLE: tuple[Act, ...] = tuple(each for each in ACTS if each.kind is Kind.PAIRED)
PUSHED_TABLE: tuple[Act, ...] = tuple(each for each in ACTS if each.kind is Kind.PUSHED)
