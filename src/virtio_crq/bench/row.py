# SPDX-License-Identifier: Apache-2.0
"""One measured row: what a request cost, what it took, and the raw file beside it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

HYPERCALL_SECONDS = 0.3e-6  # the cost model's price of one hypercall
COPY_BYTES_PER_SECOND = 10e9  # and of copying

# Calls that only map and unmap: counted in hcalls_per_io, and beside it.
MAPPING_CALLS = frozenset(
    {
        "H_PUT_TCE",
        "H_GET_TCE",
        "H_PUT_TCE_INDIRECT",
        "H_STUFF_TCE",
        "H_REMOVE_RTCE",
        "H_PUT_RTCE",
        "H_PUT_RTCE_INDIRECT",
    }
)


@dataclass(frozen=True)
class Counts:
    """What the hypervisor counted on both adapters of a connection, hypercalls by name."""

    hcalls: Mapping[str, int]
    copies: int
    bytes_copied: int
    interrupts: int

    def since(self, earlier: "Counts") -> "Counts":
        grown = {name: count - earlier.hcalls.get(name, 0) for name, count in self.hcalls.items()}
        return Counts(
            {name: count for name, count in sorted(grown.items()) if count},
            self.copies - earlier.copies,
            self.bytes_copied - earlier.bytes_copied,
            self.interrupts - earlier.interrupts,
        )


@dataclass(frozen=True)
class Load:
    """What the load generator saw: completed requests, how long they took, what the processes burnt.

    `ran` is by axis what really ran, as far as the client can tell: a row is labelled by it, not by what was asked for.
    """

    requests: int
    seconds: float
    p50_us: float
    p99_us: float
    cpu_seconds: float
    batch: float
    bounces: int = 0
    bounce_bytes: int = 0
    ran: Mapping[str, str] = field(default_factory=dict)
    queues: int = 1  # of the disk, in use


@dataclass(frozen=True)
class Row:
    """The fields of a result file, in their order.

    The axes are what ran, as far as the client can tell, so not `data`; `asked` has what the rung says where something
    else ran. `carrier` is empty where rings are read; queues may have different ones, which are then joined by a "+".
    """

    case: str
    rung: str
    ring: str
    fetch: str
    map: str
    data: str
    carrier: str
    backing: str
    dataplane: str
    notify: str
    batch: float
    resident: float | None
    iops: float
    mib_per_s: float
    hcalls_per_io: float
    tce_hcalls_per_io: float
    copies_per_io: float
    bytes_copied_per_io: float
    bounce_copies_per_io: float
    bounce_bytes_per_io: float
    interrupts_per_io: float
    hcalls: Mapping[str, int]
    p50_us: float
    p99_us: float
    cpu_us_per_io: float
    raw_iops: float | None
    raw_engine: str | None
    raw_ratio: float | None
    priced_iops: float
    queues: int = 1  # of the disk
    asked: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The rung, and how many queues if they are several."""
        return spread(self.rung, self.queues)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def spread(rung: str, queues: int) -> str:
    """What a rung is called where a disk has so many queues."""
    return f"{rung} ×{queues}" if queues > 1 else rung


def priced(iops: float, hcalls_per_io: float, bytes_copied_per_io: float) -> float:
    """Requests a second if each hypercall and each copied byte also cost its price.

    Added to the measured time of a request as if nothing overlapped and the emulator's own copying were free: a
    hypervisor that charges these prices does no worse than this.
    """
    seconds = 1 / iops + hcalls_per_io * HYPERCALL_SECONDS + bytes_copied_per_io / COPY_BYTES_PER_SECOND
    return 1 / seconds


def per_request(counts: Counts, requests: int) -> dict[str, float]:
    """The five counts per completed request, under the names they have in a row."""
    mapping = sum(count for name, count in counts.hcalls.items() if name in MAPPING_CALLS)
    return {
        "hcalls_per_io": round(sum(counts.hcalls.values()) / requests, 3),
        "tce_hcalls_per_io": round(mapping / requests, 3),
        "copies_per_io": round(counts.copies / requests, 3),
        "bytes_copied_per_io": round(counts.bytes_copied / requests, 1),
        "interrupts_per_io": round(counts.interrupts / requests, 4),
    }


def bounced(load: Load) -> dict[str, float]:
    """The client's own copies between its pages and memory that stays mapped: no call of the platform, but not free."""
    return {
        "bounce_copies_per_io": round(load.bounces / load.requests, 3),
        "bounce_bytes_per_io": round(load.bounce_bytes / load.requests, 1),
    }
