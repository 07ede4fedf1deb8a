# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq bench price` and `bench plot`: what result files say at other prices, as tables and as pictures."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from virtio_crq.bench.plot import KINDS, plot_crowds
from virtio_crq.bench.plot import plot as draw
from virtio_crq.bench.pricereport import overtakings, prices, report
from virtio_crq.bench.results import read, read_all
from virtio_crq.cli.bench import words
from virtio_crq.cli.reportfile import check_report_file, write_report_file

WIDE = 160
Files = Annotated[list[Path], typer.Argument(metavar="FILE…", help="What bench or bench peers wrote by --json.")]


def price(
    files: Files,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write everything there.", metavar="FILE")] = None,
) -> None:
    """Show result files at other prices of a hypercall and of copying, and who overtakes whom.

    Rows of the same load, rung and mode are one: their medians. A peer pays nothing at any price.

    Examples:
      virtio-crq bench price rows.json
      virtio-crq bench price rows.json peers.json --json prices.json
    """
    check_report_file(json_file)
    points = read(files)
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)
    report(points, console)
    write_report_file(json_file, {"prices": prices(points), "overtakings": overtakings(points)})


def plot(
    files: Files,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the pictures go.")],
    kind: Annotated[
        list[str] | None, typer.Option(metavar="KIND", help="Only rungs, prices, depths or sizes (repeatable).")
    ] = None,
    svg: Annotated[bool, typer.Option("--svg", help="Pictures of lines instead of dots.")] = False,
) -> None:
    """Draw result files: counts, rates, latency and processor time by rung, depth and size, and rates over prices.

    Over prices, a dot is where one rung overtakes another, a cross where the last of ours falls behind the peer. What
    bench clients wrote is drawn over the number of clients. Needs matplotlib, which is not installed with the rest:
    pip install 'matplotlib>=3.8'.

    Examples:
      virtio-crq bench plot rows.json --out pictures
      virtio-crq bench plot rows.json peers.json --out pictures --kind prices --svg
    """
    points, crowds = read_all(files)
    suffix = "svg" if svg else "png"
    for path in draw(points, out, words(KINDS, kind or [], "kind"), suffix):
        print(path)
    if crowds:
        print(plot_crowds(crowds, out, suffix))
