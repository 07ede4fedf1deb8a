# SPDX-License-Identifier: Apache-2.0
"""Figures between two looks at the mapping view: requests and bytes per second of each target."""

from collections.abc import Mapping, Sequence
from typing import Any

Adapters = Sequence[Mapping[str, Any]]


def rates(before: Adapters, after: Adapters, seconds: float) -> list[dict[str, Any]]:
    """One row per target of `after`; a target (or server) that is new counts from zero."""
    earlier = {(a["client"], t["target"]): t["counters"] for a in before for t in a["targets"]}
    return [
        _row(adapter, target, earlier.get((adapter["client"], target["target"]), {}), seconds)
        for adapter in after
        for target in adapter["targets"]
    ]


def _row(
    adapter: Mapping[str, Any], target: Mapping[str, Any], earlier: Mapping[str, int], seconds: float
) -> dict[str, Any]:
    def per_second(name: str) -> float:
        now, then = int(target["counters"].get(name, 0)), earlier.get(name, 0)
        return (now - then if now >= then else now) / seconds  # a restarted server counts from zero

    return {
        "adapter": adapter["adapter"],
        "client": adapter["client"],
        "target": target["target"],
        "iops": per_second("requests"),
        "errors_per_s": per_second("errors"),
        "in_mib_per_s": per_second("bytes_in") / (1 << 20),
        "out_mib_per_s": per_second("bytes_out") / (1 << 20),
        "in_flight": sum(queue["in_flight"] for queue in target["queues"]),
    }


def render_rates(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table for people."""
    lines = [
        f"{'ADAPTER':<10}{'CLIENT/TARGET':<28}{'IOPS':>12}{'IN MiB/s':>12}{'OUT MiB/s':>12}{'ERR/s':>8}{'QUEUED':>8}"
    ]
    for row in rows:
        name = f"{row['client']}/{row['target']}"
        lines.append(
            f"{row['adapter']:<10}{name:<28}{row['iops']:>12,.0f}{row['in_mib_per_s']:>12,.1f}"
            f"{row['out_mib_per_s']:>12,.1f}{row['errors_per_s']:>8,.0f}{row['in_flight']:>8}"
        )
    return "\n".join(lines) + "\n"
