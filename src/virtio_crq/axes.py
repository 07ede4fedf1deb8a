# SPDX-License-Identifier: Apache-2.0
"""The axes along which the copy evolves, and the values of each: one table for all layers, which imports none of them.

A value is a strategy, readable alone in its file. Which class it is stands once on each side that has one:
`dataplane/strategies.py` (how a server fetches from a ring, or what is pushed), `vios/blockdevice.py` (data) and
`client/device.py` (map, and what carries records). Presets of values are `bench/case.py`, and for the module of real
guests `guests/rungs.py`. Nowhere else is a value's name written out: tests/house/test_axes.py.
"""

from dataclasses import dataclass

SPLIT, PACKED = "split", "packed"
NAIVE, BATCHED, PUSH = "naive", "batched", "push"
PER_REQUEST, POOL = "per-request", "pool"
COPY, REDIRECT, PLANNED = "copy", "redirect", "planned"
WINDOW, SUB_CRQ = "window", "sub-crq"


@dataclass(frozen=True)
class Axis:
    """What a server and a client of ours may say of it, if it is theirs to say; by themselves they say the first."""

    name: str
    server: tuple[str, ...] = ()
    client: tuple[str, ...] = ()

    @property
    def values(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.server, *self.client)))


RING = Axis("ring", server=(PACKED, SPLIT), client=(PACKED, SPLIT))  # packed: a driver may choose
FETCH = Axis("fetch", server=(PUSH, BATCHED, NAIVE), client=(PUSH, BATCHED))  # batched: rings are read, somehow
MAP = Axis("map", client=(POOL, PER_REQUEST))
DATA = Axis("data", server=(REDIRECT, PLANNED, COPY))  # the first where it has a storage adapter, otherwise the last
CARRIER = Axis("carrier", server=(WINDOW, SUB_CRQ))  # of pushed requests
AXES = (RING, FETCH, MAP, DATA, CARRIER)

SERVER = {axis.name: axis.server for axis in AXES if axis.server}
CLIENT = {axis.name: axis.client for axis in AXES if axis.client}
