# SPDX-License-Identifier: Apache-2.0
"""The study's pictures: those of `bench plot`, chosen part by part."""

from collections.abc import Iterator
from pathlib import Path

from virtio_crq.bench.plot import plot, plot_crowds
from virtio_crq.bench.results import read_all

KINDS = {"rungs": ("rungs", "prices"), "depths": ("depths",), "sizes": ("sizes",), "clients": ()}
SUFFIX = "svg"


def pictures(directory: Path) -> Iterator[Path]:
    """Of every part whose result is there."""
    for part, kinds in KINDS.items():
        path = directory / f"{part}.json"
        if path.exists():
            points, crowds = read_all([path])
            yield from plot(points, directory, kinds, SUFFIX)
            if crowds:
                yield plot_crowds(crowds, directory, SUFFIX)
