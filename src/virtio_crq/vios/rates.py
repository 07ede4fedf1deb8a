# SPDX-License-Identifier: Apache-2.0
"""Figures between two looks at the mapping view: requests and bytes per second of each target."""

from collections.abc import Mapping, Sequence
from typing import Any

from virtio_crq.vios.lsmap import carried
from virtio_crq.vios.mapping import BLOCK

Adapters = Sequence[Mapping[str, Any]]


Wires = Mapping[
    tuple[str, int], Mapping[str, int]
]  # by client and the server adapter's unit address: its calls, copies


def rates(
    before: Adapters,
    after: Adapters,
    seconds: float,
    wires_before: Wires | None = None,
    wires_after: Wires | None = None,
) -> list[dict[str, Any]]:
    """One row per target of `after`; a target (or server) that is new counts from zero.

    `wires` is what the hypervisor counted on both ends of each connection. A connection's targets share it, so each of
    them shows the connection's calls and copies per request, none when there was no request.
    """
    earlier = {(a["client"], t["target"]): t["counters"] for a in before for t in a["targets"]}
    queues = {(a["client"], t["target"]): t["queues"] for a in before for t in a["targets"]}
    return [
        _row(adapter, target, earlier.get((adapter["client"], target["target"]), {}), seconds)
        | {"queues": _queues(target, queues.get((adapter["client"], target["target"]), ()), seconds)}
        | _costs(adapter, earlier, wires_before or {}, wires_after or {})
        for adapter in after
        for target in adapter["targets"]
    ]


def _costs(
    adapter: Mapping[str, Any],
    earlier: Mapping[tuple[str, str], Mapping[str, int]],
    wires_before: Wires,
    wires_after: Wires,
) -> dict[str, float | None]:
    requests = 0
    for target in adapter["targets"]:
        then = earlier.get((adapter["client"], target["target"]), {})
        requests += _grown(target["counters"].get("requests", 0), then.get("requests", 0))
    wire = adapter["client"], adapter.get("unit_address", 0)
    now, then = wires_after.get(wire), wires_before.get(wire, {})
    costs: dict[str, float | None] = {}
    for name, counter in (("hcalls_per_io", "calls"), ("copies_per_io", "copies")):
        known = now is not None and requests > 0
        costs[name] = _grown(now[counter], then.get(counter, 0)) / requests if now is not None and known else None
    return costs


def wires(view: Mapping[str, Any]) -> Wires:
    """From the hypervisor's view of the machine: all calls and copies of either partition on each connection."""
    found = {}
    for row in view["adapters"]:
        ends = (row["client_counters"], row["server_counters"])
        calls = sum(count for end in ends for name, count in end.items() if name.startswith("H_"))
        copies = sum(end.get("copies", 0) for end in ends)
        found[row["client"], row["server_unit_address"]] = {"calls": calls, "copies": copies}
    return found


def _grown(now: int, then: int) -> int:
    return now - then if now >= then else now  # whoever was restarted counts from zero


def _row(
    adapter: Mapping[str, Any], target: Mapping[str, Any], earlier: Mapping[str, int], seconds: float
) -> dict[str, Any]:
    def per_second(name: str) -> float:
        return _grown(int(target["counters"].get(name, 0)), earlier.get(name, 0)) / seconds

    return {
        "adapter": adapter["adapter"],
        "client": adapter["client"],
        "target": target["target"],
        "device": target["device"],
        "iops": per_second("requests"),
        "errors_per_s": per_second("errors"),
        "in_mib_per_s": per_second("bytes_in") / (1 << 20),
        "out_mib_per_s": per_second("bytes_out") / (1 << 20),
        "carried": dict(target.get("carried", {})),
        "in_flight": sum(queue["in_flight"] for queue in target["queues"]),
        "damage": target.get("damage", ""),
    }


def _queues(target: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]], seconds: float) -> list[dict[str, Any]]:
    """Of each of its queues; one that is new counts from zero."""
    before = {queue["index"]: queue.get("requests", 0) for queue in earlier}
    return [
        {
            "index": queue["index"],
            "iops": _grown(queue.get("requests", 0), before.get(queue["index"], 0)) / seconds,
            "in_flight": queue["in_flight"],
        }
        for queue in target["queues"]
    ]


def render_rates(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table for people."""
    lines = [
        f"{'ADAPTER':<10}{'CLIENT/TARGET':<28}{'IOPS':>12}{'IN MiB/s':>12}{'OUT MiB/s':>12}{'ERR/s':>8}{'QUEUED':>8}"
        f"{'HCALLS/IO':>11}{'COPIES/IO':>11}  CARRIED"
    ]
    for row in rows:
        name = f"{row['client']}/{row['target']}"
        lines.append(
            f"{row['adapter']:<10}{name:<28}{row['iops']:>12,.0f}{row['in_mib_per_s']:>12,.1f}"
            f"{row['out_mib_per_s']:>12,.1f}{row['errors_per_s']:>8,.0f}{row['in_flight']:>8}"
            f"{_cost(row['hcalls_per_io']):>11}{_cost(row['copies_per_io']):>11}  {carried(row) or '-'}"
        )
        if row.get("damage"):
            lines.append(f"{'':<12}damage: {row['damage']}")
        if row["device"] == BLOCK and len(row["queues"]) > 1:
            lines += [
                f"{'':<10}{'  queue ' + str(queue['index']):<28}{queue['iops']:>12,.0f}{'':>32}{queue['in_flight']:>8}"
                for queue in row["queues"]
            ]
    return "\n".join(lines) + "\n"


def _cost(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
