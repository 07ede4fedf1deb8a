# SPDX-License-Identifier: Apache-2.0
"""The study's tables as documents have them, made from its results: one function for each kind, named by load and mode.

They stand between `<!-- generated: study-… -->` and `<!-- end -->`; `virtio-crq bench study --regenerate` renews them.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from virtio_crq.axes import WINDOW
from virtio_crq.bench.case import NOTIFIES, RUNGS, SHOWN
from virtio_crq.bench.goals import HEADER, cells, reached
from virtio_crq.bench.paper import VSCSI as VSCSI_PAPER
from virtio_crq.bench.paper import paper
from virtio_crq.bench.peers import PEERS
from virtio_crq.bench.price import COPIES, HYPERCALLS, fastest, iops
from virtio_crq.bench.pricereport import leads_over_peers, sentence, until
from virtio_crq.bench.results import Point, read, settings
from virtio_crq.bench.studyfile import read as part

Row = Mapping[str, Any]
Tables = dict[str, Callable[[], str]]
DASH = "–"

# What the stock pair ibmvscsi and ibmvscsis costs, counted by `virtio-crq guests witness`: calls and bytes of 4 KiB.
VSCSI = (("vSCSI, depth 1", 13.0, 4388.0), ("vSCSI, depth 16, least", 9.5, 4388.0))
VSCSI_COPIES = "3.00"  # at depth 1 and at depth 16
MEASURES: Mapping[str, tuple[str, str]] = {
    "calls": ("hcalls_per_io", "{:.2f}"),
    "copies": ("copies_per_io", "{:.2f}"),
    "bytes": ("bytes_copied_per_io", "{:,.0f}"),
    "bounce": ("bounce_copies_per_io", "{:.2f}"),
    "interrupts": ("interrupts_per_io", "{:.2f}"),
    "iops": ("iops", "{:,.0f}"),
    "p50": ("p50_us", "{:,.1f}"),
    "p99": ("p99_us", "{:,.1f}"),
    "cpu": ("cpu_us_per_io", "{:.1f}"),
}


def tables(directory: Path) -> Tables:
    """Every table that the results in `directory` allow, by its name."""
    rungs, writes = part(directory, "rungs"), part(directory, "writes")
    rows = [*rungs["rows"], *writes["rows"]]
    points = read([directory / "rungs.json", directory / "writes.json"])
    found: Tables = {
        "study-setting": lambda: setting(rungs["setting"]),
        "study-raw": lambda: raw({**rungs["raw"], **writes["raw"]}),
        "study-paper": lambda: by_paper(rows),
        "study-overtakings": lambda: overtakings(points),
        "study-goals": lambda: goals(rows),
        "study-time": lambda: brief_times(rows),
        "study-short": lambda: short(rows),
        "study-calls": lambda: calls(of(rows, "randread-4k-qd32", "polling")),
        "study-clients": lambda: clients(part(directory, "clients")["rows"]),
        "study-queues": lambda: queues(part(directory, "queues")["rows"]),
        "study-apart": lambda: clients(part(directory, "apart")["rows"]),
    }
    for case in dict.fromkeys(row["case"] for row in rows):
        found[f"study-counts-{case}"] = lambda case=case: counts(rows, case)  # type: ignore[misc]
        found[f"study-times-{case}"] = lambda case=case: times(rows, case)  # type: ignore[misc]
        found[f"study-bill-{case}"] = lambda case=case: bill(of(rows, case, "polling"))  # type: ignore[misc]
    for case, _, notify in settings(points):
        here = [point for point in points if (point.case, point.notify) == (case, notify)]
        found[f"study-prices-{case.name}-{notify}"] = lambda here=here: prices(here)  # type: ignore[misc]
    for name, column in (("depths", depth), ("sizes", size)):
        for measure in MEASURES:
            found[f"study-{name}-{measure}"] = lambda name=name, column=column, measure=measure: sweep(  # type: ignore[misc]
                part(directory, name)["rows"], column, measure
            )
    return found


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def of(rows: Sequence[Row], case: str, notify: str) -> list[Row]:
    return [row for row in rows if (row["case"], row["notify"]) == (case, notify)]


def setting(found: Mapping[str, Any]) -> str:
    beside = f" Peer: {found['peer']}." if found["peer"] else ""
    platform = f"; platform profile {found['profile']}" if "profile" in found else ""
    return (
        f"*{found['date']}, {found['processor']}, {found['processors']} processors, Linux {found['kernel']}; data "
        f"plane {found['dataplane']}{platform}; medians of {found['rounds']} rounds.{beside}*\n"
    )


def raw(rates: Mapping[str, float]) -> str:
    return markdown(list(rates), [[f"{rate:,.0f}" for rate in rates.values()]])


def counts(rows: Sequence[Row], case: str) -> str:
    """What carries over to hardware, polling · sleeping."""
    found = []
    for rung, modes in _by_rung(rows, case).items():
        one = next(iter(modes.values()))
        if rung in PEERS:
            continue
        axes = [one[axis] for axis in ("ring", "fetch", "map", "data")]
        tce, copied, bounced = (
            one[name] for name in ("tce_hcalls_per_io", "bytes_copied_per_io", "bounce_copies_per_io")
        )
        found.append([
            rung, *axes, _both(modes, "hcalls_per_io"), f"{tce:.2f}", _both(modes, "copies_per_io"), f"{copied:,.0f}",
            f"{bounced:.0f}", _mode(modes, "sleeping", "interrupts_per_io", "{:.2f}"),
        ])  # fmt: skip
    return markdown(
        ["rung", "ring", "fetch", "map", "data", "calls, polling · sleeping", "of these TCE", "copies", "bytes",
         "bounce copies", "interrupts, sleeping"],
        found,
    )  # fmt: skip


def times(rows: Sequence[Row], case: str) -> str:
    """Emulator time, polling and sleeping under each other."""
    found = []
    for notify in NOTIFIES:
        for row in of(rows, case, notify):
            found.append([
                notify, row["rung"], f"{row['iops']:,.0f}", f"{row['lowest']:,.0f}–{row['highest']:,.0f}",
                f"{row['p50_us']:,.1f}", f"{row['p99_us']:,.1f}", f"{row['cpu_us_per_io']:.1f}", _number(row["vs_raw"]),
                _number(row["vs_peer"]), DASH if row["rung"] in PEERS else f"{row['priced_iops']:,.0f}",
                DASH if row["rung"] in PEERS else _number(row["priced_vs_peer"]),
            ])  # fmt: skip
    return markdown(
        ["both sides", "rung", "IOPS", "lowest–highest", "p50 µs", "p99 µs", "CPU µs", "÷ raw", "÷ peer",
         "priced IOPS", "priced ÷ peer"],
        found,
    )  # fmt: skip


def brief_times(rows: Sequence[Row]) -> str:
    """Every load, on a few rungs."""
    found = [
        [
            case, notify, row["rung"], f"{row['iops']:,.0f}", f"{row['mib_per_s']:,.0f}", f"{row['p50_us']:,.1f}",
            f"{row['p99_us']:,.1f}", f"{row['cpu_us_per_io']:.1f}", _number(row["vs_raw"]),
            f"{row['priced_iops']:,.0f}",
        ]
        for case in dict.fromkeys(row["case"] for row in rows) for notify in NOTIFIES for row in of(rows, case, notify)
        if row["rung"] in SHOWN
    ]  # fmt: skip
    header = [
        "load, file",
        "both sides",
        "rung",
        "IOPS",
        "MiB/s",
        "p50 µs",
        "p99 µs",
        "CPU µs",
        "of raw",
        "priced IOPS",
    ]
    return markdown(header, found)


def short(rows: Sequence[Row]) -> str:
    """One load, on a few rungs, all that matters in one row."""
    found = [
        [
            row["rung"], row["notify"], f"{row['hcalls_per_io']:.1f} ({row['tce_hcalls_per_io']:.0f})",
            f"{row['copies_per_io']:.1f}", f"{row['interrupts_per_io']:.2f}", f"{row['iops']:,.0f}",
            _number(row["vs_raw"]), f"{row['priced_iops']:,.0f}",
        ]
        for rung in SHOWN for notify in NOTIFIES for row in of(rows, "randread-4k-qd32", notify) if row["rung"] == rung
    ]  # fmt: skip
    header = ["rung", "both sides", "calls (to map)", "copies", "interrupts", "IOPS", "of raw", "priced IOPS"]
    return markdown(header, found)


def calls(rows: Sequence[Row]) -> str:
    """Where the calls go, by name."""
    own = [row for row in rows if row["rung"] not in PEERS]
    names = sorted({name for row in own for name in row["calls"]}, key=lambda name: (-max(_calls(own, name)), name))
    return markdown(
        ["rung", *names],
        [
            [row["rung"], *(f"{row['calls'][name]:.2f}" if name in row["calls"] else "" for name in names)]
            for row in own
        ],
    )


def _calls(rows: Sequence[Row], name: str) -> list[float]:
    return [row["calls"].get(name, 0.0) for row in rows]


def bill(rows: Sequence[Row]) -> str:
    """Microseconds that the platform charges for one I/O: no time of any emulator in it."""
    own = [(row["rung"], row["hcalls_per_io"], row["bytes_copied_per_io"]) for row in rows if row["rung"] not in PEERS]
    if rows and "4k" in rows[0]["case"]:
        own += VSCSI
    header = ["rung", "calls", "bytes", *(f"{call * 1e6:g} µs, {copy / 1e9:g} GB/s" for copy, call in _pairs())]
    return markdown(
        header,
        [
            [name, f"{called:.2f}", f"{copied:,.0f}"]
            + [f"{(called * call + copied / copy) * 1e6:.2f}" for copy, call in _pairs()]
            for name, called, copied in own
        ],
    )


def _pairs() -> list[tuple[float, float]]:
    return [(copy, call) for copy in COPIES for call in HYPERCALLS]


def prices(points: Sequence[Point]) -> str:
    """Thousands of requests a second at each price."""
    header = ["rung", "measured", *(f"{call * 1e6:g} µs, {copy / 1e9:g} GB/s" for copy, call in _pairs())]
    return markdown(
        header,
        [
            [point.rung, f"{point.iops / 1e3:,.0f}"]
            + [f"{iops(point, call, copy) / 1e3:,.0f}" for copy, call in _pairs()]
            for point in points
        ],
    )


def overtakings(points: Sequence[Point]) -> str:
    found = []
    for case, backing, notify in settings(points):
        here = [point for point in points if (point.case, point.backing, point.notify) == (case, backing, notify)]
        for copy in COPIES:
            ends = "; ".join(until(name, end) for name, end in leads_over_peers(here, copy).items()) or DASH
            found.append([case.name, notify, f"{copy / 1e9:g} GB/s", sentence(fastest(here, copy)), ends])
    return markdown(
        [
            "load",
            "both sides",
            "copies at",
            "fastest, by the price of a hypercall",
            "ahead of the peer, which pays nothing",
        ],
        found,
    )


def by_paper(rows: Sequence[Row]) -> str:
    found = []
    carriers = {rung.name: rung.carrier for rung in RUNGS}
    for single in of(rows, "randread-4k-qd1", "polling"):
        # Where rings are read there is none, and older results do not tell.
        carrier = single.get("carrier") or carriers.get(single["rung"], WINDOW)
        arithmetic = paper(single["ring"], single["fetch"], single["map"], single["data"], carrier)
        deep = [row for row in of(rows, "randread-4k-qd32", "polling") if row["rung"] == single["rung"]]
        if single["rung"] in PEERS or arithmetic is None or not deep:
            continue
        found.append([
            single["rung"], arithmetic.words, f"{arithmetic.single:g}", f"{single['copies_per_io']:.2f}",
            f"{arithmetic.deep:.2f}", f"{deep[0]['copies_per_io']:.2f}",
        ])  # fmt: skip
    if found:
        in_depth = f"{VSCSI_PAPER.deep:.2f}"
        found.append(["vSCSI", VSCSI_PAPER.words, f"{VSCSI_PAPER.single:g}", VSCSI_COPIES, in_depth, VSCSI_COPIES])
    return markdown(
        ["rung", "copies by paper", "depth 1", "counted", "depth 32", "counted"],
        found,
    )


def depth(row: Row) -> str:
    return str(row["case"]).rpartition("-qd")[2]


def size(row: Row) -> str:
    return str(row["case"]).split("-")[1]


def sweep(rows: Sequence[Row], column: Callable[[Row], str], measure: str) -> str:
    field, form = MEASURES[measure]
    columns = list(dict.fromkeys(column(row) for row in rows))
    found = []
    for notify in NOTIFIES:
        for rung in dict.fromkeys(row["rung"] for row in rows):
            line = {column(row): row[field] for row in rows if (row["rung"], row["notify"]) == (rung, notify)}
            if line and not (rung in PEERS and field.endswith("per_io") and measure != "cpu"):
                found.append([notify, rung, *(form.format(line[at]) if at in line else DASH for at in columns)])
    return markdown(["both sides", "rung", *columns], found)


def clients(rows: Sequence[Row]) -> str:
    return markdown(
        ["both sides", "crowd", "IOPS together", "÷ one at depth 32", "slowest ÷ even share", "calls", "copies",
         "interrupts", "processors of the server", "MiB of the server, each"],
        [
            [row["notify"], row["crowd"], f"{row['iops']:,.0f}" if row["load"] else DASH, _number(row["ratio"]),
             _number(row["slowest"] if row["load"] else None), _number(row["hcalls_per_io"]),
             _number(row["copies_per_io"]), _number(row["interrupts_per_io"]), f"{row['server_cpu']:.4f}",
             f"{row['server_mib_per_client']:.2f}"]
            for row in rows
        ],
    )  # fmt: skip


def queues(rows: Sequence[Row]) -> str:
    """One disk with several queues, the same depth spread over them."""
    found = [
        [
            row["notify"], row["rung"], str(row["queues"]), f"{row['iops']:,.0f}",
            f"{row['lowest']:,.0f}–{row['highest']:,.0f}", _number(row["vs_one"]), _number(row["vs_peer"]),
            *(DASH if row["rung"] in PEERS else f"{row[name]:.2f}"
              for name in ("hcalls_per_io", "copies_per_io", "interrupts_per_io")),
            f"{row['p99_us']:,.1f}", f"{row['cpu_us_per_io']:.1f}",
        ]
        for row in rows
    ]  # fmt: skip
    return markdown(
        ["both sides", "rung", "queues", "IOPS", "lowest–highest", "÷ one queue", "÷ peer with as many", "calls",
         "copies", "interrupts", "p99 µs", "CPU µs"],
        found,
    )  # fmt: skip


def goals(rows: Sequence[Row]) -> str:
    return markdown(HEADER, [cells(found) for found in reached(rows, lambda row: str(row["data"]))])


def _by_rung(rows: Sequence[Row], case: str) -> dict[str, dict[str, Row]]:
    found: dict[str, dict[str, Row]] = {}
    for row in rows:
        if row["case"] == case:
            found.setdefault(row["rung"], {})[row["notify"]] = row
    return found


def _both(modes: Mapping[str, Row], field: str) -> str:
    return " · ".join(f"{modes[notify][field]:.2f}" for notify in NOTIFIES if notify in modes)


def _mode(modes: Mapping[str, Row], notify: str, field: str, form: str) -> str:
    return form.format(modes[notify][field]) if notify in modes else DASH


def _number(value: float | None) -> str:
    return DASH if value is None else f"{value:.2f}"
