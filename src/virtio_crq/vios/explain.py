# SPDX-License-Identifier: Apache-2.0
"""What the planner of each queue chose for recent requests, and why, in words; and what it goes by."""

from collections.abc import Mapping, Sequence
from typing import Any

from virtio_crq.axes import BATCHED, COPY, PACKED, REDIRECT, SPLIT, SUB_CRQ, WINDOW
from virtio_crq.dataplane import ways
from virtio_crq.dataplane.cost import Cost
from virtio_crq.dataplane.limits import UNSURE
from virtio_crq.dataplane.planner import Planner
from virtio_crq.dataplane.ringterms import PAIRED, RECORDS, RingTerms
from virtio_crq.dataplane.service import Service
from virtio_crq.virtio import block

Row = Mapping[str, Any]
PAGE = 4096
KINDS = {block.T_IN: "read", block.T_OUT: "write", block.T_FLUSH: "flush", block.T_GET_ID: "identity"}
WAYS = {ways.NOTHING: "nothing", ways.COPIED: COPY, ways.REDIRECTED: REDIRECT}
INLINES = {ways.HEADER_INLINE: "header", ways.STATUS_INLINE: "status"}
COSTS = {
    "copy": "a piece that is copied",
    "store-read": "a read of the store",
    "store-write": "a write of the store",
    "redirect-read": "a redirected read",
    "redirect-write": "a redirected write",
}
CARRIERS = {SPLIT: "", PACKED: "", RECORDS: WINDOW, PAIRED: SUB_CRQ}  # of a layout's requests
NEVER = {
    ways.NO_ADAPTER: "no storage adapter takes this file",
    ways.STABLE: "what is written has to be on the medium, and a transfer does not wait for one",
    ways.WAITS: "the file system always waits",
}
REASONS = {
    ways.NO_DATA: "no data moved",
    ways.ONLY_COPIES: "copies are all that is asked for, or that this backing can have",
    ways.ALWAYS: "whole pages, and the server redirects whatever it can",
    ways.CHEAPER: "redirected: {bytes:,} bytes were expected to take {redirecting}, store and copies {copying}{bound}",
    ways.DEARER: (
        "redirect not chosen: {bytes:,} bytes were expected to take {redirecting}, store and copies {copying}{bound}"
    ),
    ways.TRIAL: "the dearer way, so that its cost stays known: redirect {redirecting}, store and copies {copying}",
    ways.UNKNOWN: "both ways in turn, until their cost is known: redirect {redirecting}, store and copies {copying}",
    ways.NO_ADAPTER: f"redirect not possible: {NEVER[ways.NO_ADAPTER]}",
    ways.LARGE: "redirect not possible: {bytes:,} bytes are more than a queue moves in one turn",
    ways.STABLE: f"redirect not possible: {NEVER[ways.STABLE]}",
    ways.WAITS: f"redirect not possible: {NEVER[ways.WAITS]}",
    ways.SHARED: "redirect not possible: header or status shares a buffer with the data",
    ways.PIECES: "redirect not possible: the data are not whole pages of 4,096 bytes",
    ways.CROWDED: "redirect not possible: the batch had no room for its segments",
    ways.NOT_WHOLE: "redirect tried, but not all was transferred: pages out of reach, or data not in memory",
}


def explanation(terms: RingTerms, service: Service, last: int, disk: bool) -> dict[str, Any]:
    """One queue, as JSON-ready data. To be called where the queue is served.

    `ring` is empty where requests are pushed, `carrier` where the ring is read. `never` says of what cannot be
    redirected as things stand why not.
    """
    planner = service.ring.planner
    costs = {name: _cost(cost, planner.share if name == "copy" else 1.0) for name, cost in service.costs().items()}
    found: dict[str, Any] = {
        "queue": terms.queue,
        "fetch": terms.fetch,
        "ring": "" if CARRIERS[terms.ring] else terms.ring,
        "carrier": CARRIERS[terms.ring],
        "requests": service.requests,
        "max_copy": planner.max_copy,
        "joining": bool(planner.joining),
        "vectors": planner.vectors,
        "ring_copies": planner.journal.ring_copies(),
        "descriptors_ahead": planner.depth,
        "costs": costs,
        "redirect_from": {kind: pays_from(costs, kind) for kind in ("read", "write") if f"redirect-{kind}" in costs},
        "tried": {KINDS[kind]: batches for kind, batches in service.tried().items()},
        "never": {KINDS[kind]: NEVER[reason] for kind, reason in service.never().items()},
    }
    for kind in found["never"]:
        found["redirect_from"].pop(kind, None)
    recent = planner.journal.recent(last)
    return found | {"recent": [_request(row, planner, found["redirect_from"], disk) for row in recent]}


def _cost(cost: Cost, share: float) -> dict[str, Any]:
    """Of a piece, which takes `share` calls."""
    return {"call_ns": round(cost.call_ns * share, 1), "byte_ns": round(cost.byte_ns, 4), "samples": cost.samples}


def pays_from(costs: Mapping[str, Row], kind: str) -> int | None:
    """The bytes of a request of one segment from which redirecting is expected to cost less; None: of none."""
    redirect, store, copy = costs[f"redirect-{kind}"], costs[f"store-{kind}"], costs["copy"]
    ahead = redirect["call_ns"] - store["call_ns"] - copy["call_ns"]
    gain = store["byte_ns"] + copy["byte_ns"] - redirect["byte_ns"]
    if ahead <= 0:
        return PAGE if gain >= 0 else None
    return None if gain <= 0 else -(-ahead // (gain * PAGE)) * PAGE


def _request(row: Mapping[str, int], planner: Planner, bounds: Mapping[str, int | None], disk: bool) -> dict[str, Any]:
    kind = KINDS.get(row["kind"], "unknown") if disk else "buffer"
    joined = row["pieces"] + row["splits"] - row["copies"]
    return {
        "number": row["number"],
        "head": row["head"],
        "kind": kind,
        "bytes": row["bytes"],
        "segments": row["segments"],
        "batch": row["batch"],
        "chosen": WAYS[row["way"]] if disk else COPY,
        "inline": [name for bit, name in INLINES.items() if row["inline"] & bit],
        "pieces": row["pieces"],
        "copies": row["copies"],
        "joined": joined,
        "splits": row["splits"],
        "copying_ns": row["copying_ns"],
        "redirecting_ns": row["redirecting_ns"],
        "why": why(row, bounds.get(kind)) if disk else "this type of device has nothing to choose",
        "copied": _copied(row["pieces"], row["copies"], joined, row["splits"], planner.max_copy),
    }


def why(row: Mapping[str, int], bound: int | None) -> str:
    """What decided how a request's data moved, with its numbers."""
    text = "" if bound is None else f"; it pays from {bound:,} bytes on"
    return REASONS[row["reason"]].format(
        bytes=row["bytes"], copying=_time(row["copying_ns"]), redirecting=_time(row["redirecting_ns"]), bound=text
    )


def _copied(pieces: int, copies: int, joined: int, splits: int, most: int) -> str:
    """How pieces became copies."""
    parts = [f"{joined} of {pieces} pieces joined"] if joined else []
    parts += [f"split at {most:,} bytes"] if splits else []
    return f"{copies} ({', '.join(parts)})" if parts else str(copies)


def _time(ns: float) -> str:
    return f"{ns / 1000:.2f} µs" if ns >= 1000 else f"{ns:.0f} ns"


def render(name: str, queues: Sequence[Row]) -> str:
    """All of it for people, from what `explanation` gave (it may have come over the control socket)."""
    if not queues:
        return f"{name}: no queue has been open\n"
    return "\n".join(_render_queue(name, queue) for queue in queues)


def _render_queue(name: str, queue: Row) -> str:
    requests = max(1, queue["requests"])
    joining = f"neighbours joined, up to {queue['max_copy']:,} bytes" if queue["joining"] else "each piece by itself"
    ahead = queue["descriptors_ahead"]
    idle = {f"redirect-{kind}" for kind in queue["never"]}
    axes = ", ".join(f"{key} {queue[key]}" for key in ("fetch", "ring", "carrier") if queue[key])
    lines = [
        f"{name}, queue {queue['queue']}: {axes}, {queue['requests']:,} requests",
        "",
        *(_line("Measured", _measured(kind, cost)) for kind, cost in queue["costs"].items() if kind not in idle),
        *(_line("Redirecting", _pays(kind, bound, queue)) for kind, bound in queue["redirect_from"].items()),
        *(_line("Redirecting", f"no {kind}: {reason}") for kind, reason in queue["never"].items()),
        _line("Copies", joining),
    ]
    if (queue["ring"], queue["fetch"]) == (SPLIT, BATCHED):
        lines.append(_line("Ahead", f"{ahead} descriptor{'s' * (ahead != 1)} brought with each head"))
    share = f"{queue['ring_copies'] / requests:.2f} copies a request, in {queue['vectors'] / requests:.2f} vectors"
    lines += [_line("Ring itself", share), ""]
    if queue["recent"]:
        lines += _table(queue["recent"])
    else:
        lines.append("no request has ended yet")
    return "\n".join(lines) + "\n"


def _line(title: str, text: str) -> str:
    return f"{title:<14}{text}"


def _measured(kind: str, cost: Row) -> str:
    timed = f"{cost['samples']} timed" if cost["samples"] else "a guess, none timed yet"
    return f"{COSTS[kind]} takes {_time(cost['call_ns'])} and {cost['byte_ns'] * 1024:.1f} ns a KiB ({timed})"


def _pays(kind: str, bound: int | None, queue: Row) -> str:
    if queue["tried"][kind] < UNSURE:
        return f"a {kind} every other time until both ways are known ({queue['tried'][kind]} of {UNSURE} batches)"
    return f"a {kind} from {bound:,} bytes on" if bound is not None else f"no {kind}: it would cost more at any size"


def _table(rows: Sequence[Row]) -> list[str]:
    ways_gone = [row["chosen"] + (f", {' and '.join(row['inline'])} inline" if row["inline"] else "") for row in rows]
    wide = max(len(text) for text in ("CHOSEN", *ways_gone)) + 2
    head = f"{'REQUEST':>9}{'HEAD':>6}  {'KIND':<9}{'BYTES':>9}{'SEGS':>5}{'BATCH':>6}  {'CHOSEN':<{wide}}COPIES, WHY"
    lines = [head]
    for row, way in zip(rows, ways_gone, strict=True):
        lines.append(
            f"{row['number']:>9}{row['head']:>6}  {row['kind']:<9}{row['bytes']:>9,}{row['segments']:>5}"
            f"{row['batch']:>6}  {way:<{wide}}{row['copied']}; {row['why']}"
        )
    return lines
