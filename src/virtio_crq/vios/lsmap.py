# SPDX-License-Identifier: Apache-2.0
"""The mapping view: what VIOS's `lsmap -all` shows, and what a virtio server knows beyond it.

This is the model only: plain data that goes through JSON unchanged and a text rendering of it. The server fills it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class QueueView:
    """One virtqueue: `requests` were answered, `in_flight` were fetched and not answered yet."""

    index: int
    size: int
    enabled: bool
    in_flight: int = 0
    requests: int = 0
    carrier: str = ""  # of pushed requests; empty where the server reads the ring


@dataclass(frozen=True)
class PortView:
    """One port of a console: where people find it, and whether somebody is there. Port 0 has no name."""

    name: str
    kind: str
    path: str
    connected: bool
    size: tuple[int, int]  # columns and rows; zeroes when nobody said


@dataclass(frozen=True)
class TargetView:
    """One virtual target device (VTD)."""

    target: str
    backing: str
    device: str
    size: int
    readonly: bool
    state: str
    identity: str
    write_cache: str = ""
    features: Sequence[str] = ()
    carried: Mapping[str, str] = field(default_factory=dict)  # by axis, as negotiated; nothing while no queue is on
    queues: Sequence[QueueView] = ()
    counters: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    ports: Sequence[PortView] = ()
    number: int = 0
    damage: str = ""  # what became of the image while it is in use


@dataclass(frozen=True)
class AdapterView:
    """One server adapter and the client partition at its far end. `refused` counts what belongs to no device."""

    adapter: str
    location: str
    unit_address: int
    client: str
    client_number: int
    state: str
    session: int
    counters: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    targets: Sequence[TargetView] = ()


def to_json(adapters: Sequence[AdapterView]) -> list[dict[str, Any]]:
    """The view as JSON-ready data; the field names are the interface of `vios lsmap --json`."""
    return [asdict(adapter) for adapter in adapters]


def render(adapters: Sequence[Mapping[str, Any]]) -> str:
    """The view for people, from what `to_json` gave (it may have come over the control socket)."""
    if not adapters:
        return "no client adapters\n"
    return "\n".join(_render_adapter(adapter) for adapter in adapters)


def _render_adapter(adapter: Mapping[str, Any]) -> str:
    head = [f"{'SVSA':<12}{'Physloc':<28}{'Client Partition':<20}State"]
    head.append("-" * 12 + "-" * 28 + "-" * 20 + "-" * 14)
    client = f"{adapter['client']} ({adapter['client_number']})"
    head.append(f"{adapter['adapter']:<12}{adapter['location']:<28}{client:<20}{adapter['state']}")
    pairs = [("Unit address", f"{adapter['unit_address']:#010x}"), ("Session", str(adapter["session"]))]
    pairs += _counted("Counters", adapter["counters"]) + _counted("Refused", adapter["refused"])
    lines = [*head, "", *_aligned(pairs), ""]
    for target in adapter["targets"]:
        lines += [*_aligned(_target_pairs(target)), ""]
    if not adapter["targets"]:
        lines += ["VTD                   NO VIRTUAL TARGET DEVICE FOUND", ""]
    return "\n".join(lines)


def _target_pairs(target: Mapping[str, Any]) -> list[tuple[str, str]]:
    access = ", read-only" if target["readonly"] else ""
    pairs = [
        ("VTD", target["target"]),
        ("State", target["state"]),
        ("Device type", f"{target['device']}{access}"),
        ("Backing device", target["backing"]),
        ("Identity", target["identity"]),
    ]
    if target["size"]:
        pairs.insert(4, ("Size", f"{target['size']} ({target['size'] / (1 << 20):g} MiB)"))
    if target.get("damage"):
        pairs.append(("Damage", target["damage"]))
    if target["write_cache"]:
        pairs.append(("Write cache", target["write_cache"]))
    pairs.append(("Features", " ".join(target["features"]) or "not negotiated"))
    if target.get("carried"):
        pairs.append(("Carried", carried(target)))
    for index, port in enumerate(target.get("ports", ())):
        there = "attached" if port["connected"] else "nobody attached"
        size = "{} columns, {} rows".format(*port["size"]) if any(port["size"]) else ""
        words = [port["name"], f"{port['kind']} {port['path']}", there, size]
        pairs.append((f"Port {index}", ", ".join(word for word in words if word)))
    for queue in target["queues"]:
        state = "" if queue["enabled"] else ", off"
        text = f"size {queue['size']}, in flight {queue['in_flight']}, requests {queue['requests']}{state}"
        if queue.get("carrier"):
            text += f", pushed by {queue['carrier']}"
        pairs.append((f"Queue {queue['index']}", text))
    return pairs + _counted("Counters", target["counters"]) + _counted("Refused", target["refused"])


def carried(target: Mapping[str, Any]) -> str:
    """How a target's requests and data travel, on one line."""
    return ", ".join(f"{axis} {value}" for axis, value in target.get("carried", {}).items())


def _counted(title: str, counts: Mapping[str, int]) -> list[tuple[str, str]]:
    shown = [f"{name} {count}" for name, count in sorted(counts.items()) if count]
    return [(title, ", ".join(shown))] if shown else []


def _aligned(pairs: Sequence[tuple[str, str]]) -> list[str]:
    return [f"{title:<22}{text}" for title, text in pairs]
