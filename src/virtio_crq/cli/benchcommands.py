# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq bench` and its verbs: measuring, comparing, and what is made of the results."""

import typer

from virtio_crq.cli.bench import bench
from virtio_crq.cli.benchcrowd import clients
from virtio_crq.cli.benchpeers import peers
from virtio_crq.cli.benchresults import plot, price
from virtio_crq.cli.benchstudy import study

app = typer.Typer(add_completion=False, rich_markup_mode=None, help=bench.__doc__)
app.callback(invoke_without_command=True)(bench)
app.command("peers")(peers)
app.command("clients")(clients)
app.command("price")(price)
app.command("plot")(plot)
app.command("study")(study)
