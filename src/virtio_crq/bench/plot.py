# SPDX-License-Identifier: Apache-2.0
"""Result files as pictures. matplotlib is an optional dependency, and loaded only here."""

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from virtio_crq.bench.case import Case
from virtio_crq.bench.grammar import short
from virtio_crq.bench.price import COPIES, HYPERCALLS, fastest, iops, lead_ends
from virtio_crq.bench.results import Point, of, settings
from virtio_crq.errors import UsageError

MISSING = "matplotlib is not installed; type: pip install 'matplotlib>=3.8'"
MEASURES: tuple[tuple[str, str, Callable[[Point], float]], ...] = (
    ("iops", "requests a second", lambda point: point.iops),
    ("hypercalls", "hypercalls per I/O", lambda point: point.hcalls_per_io),
    ("copies", "copies per I/O", lambda point: point.copies_per_io),
    ("latency", "p99 in µs", lambda point: point.p99_us),
)
PRICES = [0.03e-6 * 1.15**step for step in range(38)]  # 0.03 to 5.3 µs a hypercall


class Easel:
    """One picture after another into a directory."""

    def __init__(self, directory: Path) -> None:
        try:
            matplotlib: Any = import_module("matplotlib")
            matplotlib.use("Agg")
            self._pyplot: Any = import_module("matplotlib.pyplot")
        except ImportError:
            raise UsageError(MISSING) from None
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{directory}: {error.strerror}") from None
        self._directory = directory

    def draw(self, name: str, panels: int, paint: Callable[[Sequence[Any]], None]) -> Path:
        """A picture of `panels` axes side by side."""
        figure, axes = self._pyplot.subplots(1, panels, figsize=(5.2 * panels, 4.4), squeeze=False)
        try:
            paint(axes[0])
            figure.tight_layout()
            path = self._directory / f"{name}.png"
            figure.savefig(path, dpi=130)
        except OSError as error:
            raise UsageError(f"{error.filename}: {error.strerror}") from None
        finally:
            self._pyplot.close(figure)
        return path


def plot(points: Sequence[Point], directory: Path) -> Iterator[Path]:
    """Each picture, once it is there."""
    easel = Easel(directory)
    for case, backing in dict.fromkeys((case, backing) for case, backing, _ in settings(points)):
        yield _by_rung(easel, points, case, backing)
        for notify in dict.fromkeys(point.notify for point in points):
            here = of(points, case, backing, notify)
            if any(not point.peer for point in here):
                yield _priced(easel, here, case, backing, notify)
    yield from _sweeps(easel, points, "depth", lambda case: case.depth, lambda case: case.size)
    yield from _sweeps(easel, points, "size", lambda case: case.size, lambda case: case.depth)


def _by_rung(easel: Easel, points: Sequence[Point], case: Case, backing: str) -> Path:
    here = [point for point in points if (point.case, point.backing) == (case, backing)]
    labels = [point.label for point in here]

    def paint(axes: Sequence[Any]) -> None:
        for axis, (name, what, value) in zip(axes, MEASURES, strict=True):
            bars = [value(point) for point in here]
            axis.barh(labels, bars, color=["0.6" if point.peer else "C0" for point in here])
            if name == "latency":
                axis.plot([point.p50_us for point in here], labels, "k|", markersize=14, label="p50")
                axis.set_xscale("log")
                axis.legend()
            axis.invert_yaxis()
            axis.set_xlabel(what)
            axis.set_title(f"{case.name}, {backing}", fontsize=9)

    return easel.draw(f"{case.name}-{backing}", len(MEASURES), paint)


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
            axis.legend(fontsize=7)

    return easel.draw(f"{case.name}-{backing}-{notify}-priced", len(COPIES), paint)


def _note(axis: Any, price: float, rate: float) -> None:
    """What a hypercall costs at a point."""
    place = {"xytext": (4, 5), "textcoords": "offset points"}
    axis.annotate(f"{price * 1e6:.2g} µs", (price * 1e6, rate), fontsize=7, **place)


def _sweeps(
    easel: Easel, points: Sequence[Point], name: str, along: Callable[[Case], int], fixed: Callable[[Case], int]
) -> Iterator[Path]:
    """Where loads differ in nothing but depth (or size), a line for each rung."""
    groups: dict[tuple[bool, bool, int, str], list[Point]] = {}
    for point in points:
        case = point.case
        groups.setdefault((case.write, case.sequential, fixed(case), point.backing), []).append(point)
    for (write, sequential, value, backing), group in groups.items():
        if len({along(point.case) for point in group}) < 2:
            continue
        kind = ("seq" if sequential else "rand") + ("write" if write else "read")
        title = f"{kind}-{short(value)}" if name == "depth" else f"{kind}-qd{value}"
        yield _sweep(easel, group, f"{title}-{backing}-by-{name}", name, along)


def _sweep(easel: Easel, group: Sequence[Point], title: str, name: str, along: Callable[[Case], int]) -> Path:
    lines: dict[str, list[Point]] = {}
    for point in sorted(group, key=lambda point: along(point.case)):
        lines.setdefault(point.label, []).append(point)

    def paint(axes: Sequence[Any]) -> None:
        for axis, (_, what, value) in zip(axes, MEASURES, strict=True):
            for label, line in lines.items():
                axis.plot([along(point.case) for point in line], [value(point) for point in line], "o-", label=label)
            axis.set_xscale("log", base=2)
            axis.set_ylim(bottom=0)
            axis.set_xlabel(name if name == "depth" else "bytes of a request")
            axis.set_ylabel(what)
            axis.set_title(title, fontsize=9)
        axes[0].legend(fontsize=7)

    return easel.draw(title, len(MEASURES), paint)
