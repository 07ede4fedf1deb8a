# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq demo`, run by ./demo: the whole idea in a minute."""

import shutil
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from virtio_crq.cli.demoguest import kernel_of_the_lab
from virtio_crq.cli.demomachine import DemoMachine
from virtio_crq.cli.demosteps import Demo
from virtio_crq.cli.demotree import tool
from virtio_crq.cli.interruption import held_back, terminated_as_interrupted
from virtio_crq.cli.scratch import SCRATCH
from virtio_crq.errors import UsageError, VirtioCrqError

ROOM = 1500 << 20  # bytes that the images and trees take

LAB = ("./lab", "fetch what real guests need; ./demo then ends by booting one")
NEXT = (
    ("virtio-crq up examples/two-clients.toml --detach", "a machine of two clients, yours to look at"),
    ("virtio-crq vios lsmap", "who is served what"),
    ("virtio-crq bench --case randread-4k-qd32", "what one I/O costs, here and by the price list"),
)


def demo() -> None:
    """Carry a file system over CRQ, look at one read, kill the server, and check everything.

    It makes a machine of its own, which is gone afterwards. ./demo installs what is missing and runs it.

    Example:
      virtio-crq demo
    """
    for name in ("mke2fs", "e2fsck", "debugfs"):
        tool(name)
    if shutil.disk_usage(SCRATCH).free < ROOM:
        raise UsageError(f"{SCRATCH} has no room: the demo takes {ROOM >> 20} MiB while it runs")
    console = Console(highlight=False)
    begun = time.monotonic()
    with terminated_as_interrupted(), ExitStack() as stack:
        try:
            with held_back():
                work = Path(tempfile.mkdtemp(prefix="virtio-crq-demo-", dir=SCRATCH))
                stack.callback(shutil.rmtree, work, ignore_errors=True)
            with held_back():
                machine = DemoMachine(work)
                stack.callback(machine.close)
            steps = Demo(work, machine, console)
            _run(steps, console)
        except KeyboardInterrupt:
            console.print("\nstopped; nothing is left behind")
            raise SystemExit(130) from None
    console.print(f"\n[bold]Done in {time.monotonic() - begun:.0f} s.[/bold] Try next, after `. .venv/bin/activate`:")
    for line, what in NEXT if kernel_of_the_lab() else (LAB, *NEXT):
        console.print(f"   {line:<52} {what}", markup=False, soft_wrap=True)


def _run(steps: Demo, console: Console) -> None:
    """A failure is three lines: what, where more is written, what to do."""
    try:
        steps.run()
    except (VirtioCrqError, OSError) as error:
        logs = Path(tempfile.mkdtemp(prefix="virtio-crq-demo-logs-"))
        for path in (*steps.machine.directory.glob("*.log"), *steps.work.glob("*.log")):
            shutil.copy(path, logs)
        console.print(f"\nThe demo failed in step {steps.number}: {' '.join(str(error).split())}", soft_wrap=True)
        console.print(f"What the processes said is in {logs}", soft_wrap=True)
        console.print("Run ./check: it tells whether the tests hold on this machine.", soft_wrap=True)
        raise SystemExit(1) from None
