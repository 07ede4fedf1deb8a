# SPDX-License-Identifier: Apache-2.0
"""fio in a guest: the loads that are measured, its command line, and what its JSON says."""

import json
from dataclasses import dataclass
from typing import Any

from virtio_crq.errors import UsageError, VirtioCrqError


@dataclass(frozen=True)
class Load:
    """Blocks of `size` bytes, `depth` requests in flight, past the guest's page cache."""

    name: str
    size: int
    depth: int
    write: bool = False
    sequential: bool = False

    def command(self, device: str, seconds: float) -> str:
        kind = ("" if self.sequential else "rand") + ("write" if self.write else "read")
        return (
            f"fio --output-format=json --name={self.name} --filename={device} --rw={kind} --bs={self.size} "
            f"--iodepth={self.depth} --ioengine=libaio --direct=1 --time_based --runtime={round(seconds * 1000)}ms "
            "--norandommap --randrepeat=0 --thread"
        )


LOADS = (
    Load("randread-4k-qd16", 4096, 16),
    Load("randread-4k-qd1", 4096, 1),
    Load("seqread-128k-qd8", 128 << 10, 8, sequential=True),
    Load("randwrite-4k-qd16", 4096, 16, write=True),
)


@dataclass(frozen=True)
class Measured:
    """One run of fio."""

    requests: int
    iops: float
    mib_per_s: float
    mean_us: float
    p99_us: float


def chosen_loads(names: list[str]) -> tuple[Load, ...]:
    """The loads of these names, all of them without any."""
    known = {load.name: load for load in LOADS}
    for name in names:
        if name not in known:
            raise UsageError(f"case {name!r} is not one of {', '.join(known)}")
    return tuple(known[name] for name in names) if names else LOADS


def the_job(output: str) -> dict[str, Any]:
    """The only job of fio's JSON, which it may precede by a line, of a signal or an error, and follow by another."""
    begin = output.find("{")
    try:
        job: dict[str, Any] = json.JSONDecoder().raw_decode(output, max(0, begin))[0]["jobs"][0]
    except (ValueError, KeyError, IndexError, TypeError):
        raise VirtioCrqError(f"fio did not answer as expected in the guest: {output[-300:].strip()}") from None
    return job


def measured(output: str) -> Measured:
    """What fio's JSON says. An I/O error of the disk is an error here, whatever the rates are."""
    try:
        job = the_job(output)
        if job["error"]:
            said = output[: output.find("{")].strip()
            raise VirtioCrqError(f"fio had error {job['error']} in the guest: {said}")
        sides = [job["read"], job["write"]]
        side = max(sides, key=lambda each: each["total_ios"])
        return Measured(
            requests=sum(each["total_ios"] for each in sides),
            iops=float(side["iops"]),
            mib_per_s=side["bw_bytes"] / (1 << 20),
            mean_us=side["clat_ns"]["mean"] / 1000,
            p99_us=side["clat_ns"].get("percentile", {}).get("99.000000", 0) / 1000,
        )
    except (ValueError, KeyError, IndexError, TypeError):
        raise VirtioCrqError(f"fio did not answer as expected in the guest: {output[-300:].strip()}") from None
