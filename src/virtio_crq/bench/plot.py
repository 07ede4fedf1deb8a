# SPDX-License-Identifier: Apache-2.0
"""Result files as pictures. matplotlib is an optional dependency, and loaded only here."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from virtio_crq.bench.case import Case
from virtio_crq.bench.grammar import short
from virtio_crq.bench.price import COPIES, HYPERCALLS, fastest, iops, lead_ends
from virtio_crq.bench.results import Point, of, settings
from virtio_crq.errors import UsageError

MISSING = "matplotlib is not installed; type: pip install 'matplotlib>=3.8'"
MEASURES: tuple[tuple[str, Callable[[Point], float]], ...] = (
    ("hypercalls per I/O", lambda point: point.hcalls_per_io),
    ("hypervisor copies per I/O", lambda point: point.copies_per_io),
    ("bytes copied per I/O", lambda point: point.bytes_copied_per_io),
    ("interrupts per I/O", lambda point: point.interrupts_per_io),
    ("bounce copies per I/O", lambda point: point.bounce_copies_per_io),
    ("1,000 requests a second", lambda point: point.iops / 1e3),
    ("p99 in µs", lambda point: point.p99_us),
    ("processor time in µs per I/O", lambda point: point.cpu_us_per_io),
)
WIDE = 4  # panels in a row
LEGEND = 0.5  # inches
PRICES = [0.03e-6 * 1.15**step for step in range(38)]  # 0.03 to 5.3 µs a hypercall
KINDS = ("rungs", "prices", "depths", "sizes")
SUFFIXES = ("png", "svg")
# An SVG of the same results is the same file: no date, and names that do not depend on the day; text stays text.
SAME = {"svg.hashsalt": "virtio-crq", "svg.fonttype": "none", "font.size": 8, "axes.titlesize": 9}


class Easel:
    """One picture after another into a directory."""

    def __init__(self, directory: Path, suffix: str = SUFFIXES[0]) -> None:
        try:
            matplotlib: Any = import_module("matplotlib")
            matplotlib.use("Agg")
            matplotlib.rcParams.update(SAME)
            colours = [*matplotlib.colormaps["tab10"].colors, *matplotlib.colormaps["Dark2"].colors]
            matplotlib.rcParams["axes.prop_cycle"] = matplotlib.cycler(color=colours)  # more rungs than ten
            self._pyplot: Any = import_module("matplotlib.pyplot")
        except ImportError:
            raise UsageError(MISSING) from None
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{directory}: {error.strerror}") from None
        self._directory = directory
        self._suffix = suffix

    def draw(
        self, name: str, panels: int, paint: Callable[[Sequence[Any]], None], height: float = 3.4, legend: bool = True
    ) -> Path:
        """A picture of `panels` axes, each `height` inches, at most four side by side; what lines are stands below."""
        columns = min(panels, WIDE)
        rows = -(-panels // columns)
        figure, axes = self._pyplot.subplots(rows, columns, figsize=(4.2 * columns, height * rows), squeeze=False)
        try:
            paint(list(axes.flat))
            if legend:
                figure.legend(*axes[0][0].get_legend_handles_labels(), loc="lower center", ncols=5, frameon=False)
            figure.tight_layout(rect=(0, LEGEND / (height * rows) if legend else 0, 1, 1))
            path = self._directory / f"{name}.{self._suffix}"
            figure.savefig(path, dpi=110, metadata={"Date": None} if self._suffix == "svg" else None)
            if self._suffix == "svg":
                path.write_text(slim(path.read_text()))
        except OSError as error:
            raise UsageError(f"{error.filename}: {error.strerror}") from None
        finally:
            self._pyplot.close(figure)
        return path


def slim(svg: str) -> str:
    """The same picture in fewer bytes: hundredths of a point are not seen, nor is what stands between elements."""
    svg = re.sub(r"(\d+\.\d)\d+", r"\1", svg)
    svg = re.sub(r"font-family: [^;]*, sans-serif", "font-family: sans-serif", svg)
    return re.sub(r">\s+<", ">\n<", re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL))


def plot(
    points: Sequence[Point], directory: Path, kinds: Sequence[str] = KINDS, suffix: str = SUFFIXES[0]
) -> Iterator[Path]:
    """Each picture, once it is there."""
    easel = Easel(directory, suffix)
    if "rungs" in kinds:
        for case, backing in dict.fromkeys((case, backing) for case, backing, _ in settings(points)):
            yield _by_rung(easel, points, case, backing)
    for case, backing, notify in settings(points) if "prices" in kinds else ():
        here = of(points, case, backing, notify)
        if any(not point.peer for point in here):
            yield _priced(easel, here, case, backing, notify)
    if "depths" in kinds:
        yield from _sweeps(easel, points, "depth", lambda case: case.depth, lambda case: case.size)
    if "sizes" in kinds:
        yield from _sweeps(easel, points, "size", lambda case: case.size, lambda case: case.depth)


def _by_rung(easel: Easel, points: Sequence[Point], case: Case, backing: str) -> Path:
    here = [point for point in points if (point.case, point.backing) == (case, backing)]
    labels = [point.label for point in here]
    colours = ["0.6" if point.peer else f"C{index}" for index, point in _by_mode(here)]

    def paint(axes: Sequence[Any]) -> None:
        for place, (axis, (what, value)) in enumerate(zip(axes, MEASURES, strict=True)):
            axis.barh(labels, [value(point) for point in here], color=colours)
            if what.startswith("p99"):
                axis.plot([point.p50_us for point in here], labels, "k|", label="p50")
                axis.set_xscale("log")
                axis.legend()
            axis.invert_yaxis()
            axis.set_xlabel(what)
            if place % WIDE:
                axis.set_yticklabels([])
        axes[0].set_title(f"{case.name}, {backing}")

    return easel.draw(f"{case.name}-{backing}", len(MEASURES), paint, height=1 + 0.16 * len(here), legend=False)


def _by_mode(points: Sequence[Point]) -> list[tuple[int, Point]]:
    modes = list(dict.fromkeys(point.notify for point in points))
    return [(modes.index(point.notify), point) for point in points]


def _priced(easel: Easel, here: Sequence[Point], case: Case, backing: str, notify: str) -> Path:
    def paint(axes: Sequence[Any]) -> None:
        for axis, copy in zip(axes, COPIES, strict=True):
            for point in here:
                rates = [iops(point, price, copy) for price in PRICES]
                axis.plot([price * 1e6 for price in PRICES], rates, "--" if point.peer else "-", label=point.rung)
            for step in fastest(here, copy):
                if PRICES[0] <= step.hypercall <= PRICES[-1]:
                    rate = iops(step.ahead, step.hypercall, copy)
                    axis.plot([step.hypercall * 1e6], [rate], "ko", markersize=4)
                    _note(axis, step.hypercall, rate)
            for peer in (point for point in here if point.peer):
                end = max((lead_ends(point, peer, copy) for point in here if not point.peer), default=-1.0)
                if PRICES[0] <= end <= PRICES[-1]:
                    axis.plot([end * 1e6], [peer.iops], "kx")
                    _note(axis, end, peer.iops)
            for price in HYPERCALLS:
                axis.axvline(price * 1e6, color="0.9", zorder=0)
            axis.set_xscale("log")
            axis.set_ylim(bottom=0)
            axis.set_xlabel("µs a hypercall")
            axis.set_ylabel("requests a second, priced")
            axis.yaxis.set_major_formatter("{x:,.0f}")
            axis.set_title(f"{case.name}, {backing}, {notify}; copies {copy / 1e9:g} GB/s", fontsize=9)

    return easel.draw(f"{case.name}-{backing}-{notify}-priced", len(COPIES), paint)


def _note(axis: Any, price: float, rate: float) -> None:
    """What a hypercall costs at a point."""
    place = {"xytext": (4, 5), "textcoords": "offset points"}
    axis.annotate(f"{price * 1e6:.2g} µs", (price * 1e6, rate), fontsize=7, **place)


def _sweeps(
    easel: Easel, points: Sequence[Point], name: str, along: Callable[[Case], int], fixed: Callable[[Case], int]
) -> Iterator[Path]:
    """Where loads differ in nothing but depth (or size), a picture for each mode, a line in it for each rung."""
    groups: dict[tuple[bool, bool, int, str, str], list[Point]] = {}
    for point in points:
        case = point.case
        groups.setdefault((case.write, case.sequential, fixed(case), point.backing, point.notify), []).append(point)
    for (write, sequential, value, backing, notify), group in groups.items():
        if len({along(point.case) for point in group}) < 2:
            continue
        kind = ("seq" if sequential else "rand") + ("write" if write else "read")
        title = f"{kind}-{short(value)}" if name == "depth" else f"{kind}-qd{value}"
        yield _sweep(easel, group, f"{title}-{backing}-{notify}-by-{name}", name, along)


def _sweep(easel: Easel, group: Sequence[Point], title: str, name: str, along: Callable[[Case], int]) -> Path:
    lines: dict[str, list[Point]] = {}
    for point in sorted(group, key=lambda point: along(point.case)):
        lines.setdefault(point.rung, []).append(point)

    def paint(axes: Sequence[Any]) -> None:
        for axis, (what, value) in zip(axes, MEASURES, strict=True):
            for label, line in lines.items():
                style = "--" if line[0].peer else "-"
                where = [along(point.case) for point in line]
                axis.plot(where, [value(point) for point in line], f"o{style}", label=label, markersize=3)
            axis.set_xscale("log", base=2)
            axis.set_ylim(bottom=0)
            axis.set_xlabel(name if name == "depth" else "bytes of a request")
            axis.set_ylabel(what)
        axes[0].set_title(title)

    return easel.draw(title, len(MEASURES), paint)


def plot_crowds(crowds: Sequence[Mapping[str, Any]], directory: Path, suffix: str = SUFFIXES[0]) -> Path:
    """What crowds get together over the number of clients, a line for each load."""
    easel = Easel(directory, suffix)
    lines: dict[str, list[Mapping[str, Any]]] = {}
    for row in sorted(crowds, key=lambda row: int(row["clients"])):
        if row["load"]:
            lines.setdefault(f"{row['load']}, {row['notify']}", []).append(row)
    panels = (
        ("iops", "requests a second, all together"), ("hcalls_per_io", "hypercalls per I/O"),
        ("interrupts_per_io", "interrupts per I/O"), ("server_cpu", "processors the server takes"),
    )  # fmt: skip

    def paint(axes: Sequence[Any]) -> None:
        for axis, (name, what) in zip(axes, panels, strict=True):
            for label, line in lines.items():
                axis.plot([row["clients"] for row in line], [row[name] for row in line], "o-", label=label)
            axis.set_xscale("log", base=2)
            axis.set_ylim(bottom=0)
            axis.set_xlabel("clients")
            axis.set_ylabel(what)

    return easel.draw("by-clients", len(panels), paint)
