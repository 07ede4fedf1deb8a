# SPDX-License-Identifier: Apache-2.0
"""What prices do to the order of rungs: requests a second at each price, and where one rung overtakes another.

The time of a request at a price h of a hypercall and a rate c of copying is 1/IOPS + calls × h + bytes / c, as
`row.priced` has it: for a fixed c a straight line over h, so that the fastest rung of each h is a lower envelope.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from virtio_crq.bench.results import Point

HYPERCALLS = (0.1e-6, 0.3e-6, 1e-6, 3e-6)  # seconds
COPIES = (5e9, 10e9, 20e9)  # bytes a second


@dataclass(frozen=True)
class Overtaking:
    """From `hypercall` seconds a call on, `ahead` is the fastest; until there it was `behind` (at the start nobody)."""

    hypercall: float
    ahead: Point
    behind: Point | None


def seconds(point: Point, hypercall: float, copy: float) -> float:
    """A request's share of the time."""
    if point.peer:
        return 1 / point.iops
    return 1 / point.iops + point.hcalls_per_io * hypercall + point.bytes_copied_per_io / copy


def iops(point: Point, hypercall: float, copy: float) -> float:
    return 1 / seconds(point, hypercall, copy)


def calls(point: Point) -> float:
    """Those that cost: how steep the line is."""
    return 0.0 if point.peer else point.hcalls_per_io


def fastest(points: Sequence[Point], copy: float) -> list[Overtaking]:
    """The fastest of our own at rising prices of a hypercall; the first entry is who leads at no price."""
    own = [point for point in points if not point.peer]
    if not own:
        return []
    leader = min(own, key=lambda point: (seconds(point, 0, copy), calls(point)))
    found = [Overtaking(0.0, leader, None)]
    while True:
        rivals = [(_meeting(leader, point, copy), calls(point), point) for point in own if calls(point) < calls(leader)]
        if not rivals:
            return found
        price, _, rival = min(rivals, key=lambda rival: rival[:2])
        found.append(Overtaking(price, rival, leader))
        leader = rival


def _meeting(leader: Point, rival: Point, copy: float) -> float:
    return (seconds(rival, 0, copy) - seconds(leader, 0, copy)) / (calls(leader) - calls(rival))


def lead_ends(point: Point, peer: Point, copy: float) -> float:
    """The price of a hypercall up to which `point` is faster than the peer, which pays none; below 0: at no price."""
    spare = 1 / peer.iops - seconds(point, 0, copy)
    if calls(point) == 0:
        return inf if spare > 0 else -1.0
    return spare / calls(point)
