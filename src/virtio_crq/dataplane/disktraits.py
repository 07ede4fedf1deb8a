# SPDX-License-Identifier: Apache-2.0
"""What a disk is to those who serve its requests, however they move its data."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DiskTraits:
    """`sectors`: capacity in 512-byte units. `identity`: what GET_ID answers. `writethrough`: each write is stable
    before it completes (CONFIG_WCE 0). `seg_max`, `size_max`: limits that were offered, 0 for none.

    Capacity and cache are those at first: a service may be told of others at any time.
    """

    sectors: int
    identity: bytes
    read_only: bool = False
    writethrough: bool = False
    seg_max: int = 0
    size_max: int = 0
