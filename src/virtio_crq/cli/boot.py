# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq boot`: a real Linux guest, its console in this terminal."""

import os
import re
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from virtio_crq.cli.guestconsole import GuestConsole
from virtio_crq.cli.guestplan import Wishes, check_images, find_qemu, guest_partition, make_plan
from virtio_crq.cli.interruption import terminated_as_interrupted
from virtio_crq.cli.ownmachine import machine_up
from virtio_crq.errors import UsageError, VirtioCrqError
from virtio_crq.guests.guest import Ending, Guest, GuestPlan
from virtio_crq.guests.lastlines import readable
from virtio_crq.guests.qemu import Qemu
from virtio_crq.hypervisor.machinefile import read_machine_file

SILENCE = 300  # seconds; a kernel that boots is never that quiet
OFF_SECONDS = 30.0  # for a guest that was asked to shut down
LINES = 10
PANIC = re.compile(rb"Kernel panic - not syncing: ([^\r\n]{1,200})")


def boot(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The machine file.")],
    partition: Annotated[
        str | None, typer.Argument(metavar="GUEST", help="The guest; needed when the file has several.")
    ] = None,
    kernel: Annotated[
        str | None, typer.Option(metavar="NAME|PATH", help="One of the lab's (6.1, 6.12, 7.2), or a ppc64le vmlinux.")
    ] = None,
    initrd: Annotated[Path | None, typer.Option(metavar="PATH", help="An initrd; without it, ours is made.")] = None,
    append: Annotated[str, typer.Option(metavar="TEXT", help="More words for the kernel's command line.")] = "",
    vcpus: Annotated[int | None, typer.Option(metavar="N", min=1, max=16, help="Virtual processors.")] = None,
    firmware: Annotated[str, typer.Option(metavar="NAME", help="vof, or slof: slower, and it shows itself.")] = "vof",
    qemu: Annotated[str | None, typer.Option(metavar="PATH", help="The qemu-system-ppc64 to use.")] = None,
    log: Annotated[Path | None, typer.Option(metavar="FILE", help="Keep the console's output in a file, too.")] = None,
    timeout: Annotated[
        int | None, typer.Option(metavar="SECONDS", min=0, help="Give up on a console this long silent; 0: never.")
    ] = None,
) -> None:
    """Boot a real Linux guest; its console is this terminal.

    The machine is started when it is not up, and is then gone with the guest. Ctrl-] leaves: the guest is asked to
    shut down, and a second Ctrl-] pulls its plug. Without a terminal, each line of a pipe is typed when the guest
    shows a prompt, the end of the pipe is Ctrl-D, and a console that is silent for 300 seconds is given up.

    It ends with status 0 when the guest has shut down or was left, 1 when it panicked, died or never answered.

    Examples:
      virtio-crq boot examples/linux-guest.toml
      virtio-crq boot examples/linux-guest.toml --kernel 7.2 --vcpus 2
      echo 'cat /proc/version' | virtio-crq boot examples/linux-guest.toml
      virtio-crq boot machine.toml web1 --kernel ./vmlinux --initrd ./initrd.img --append root=/dev/vda2
    """
    machine = read_machine_file(file)
    row = guest_partition(machine, partition)
    typing = os.isatty(0)
    silence = (None if typing else SILENCE) if timeout is None else timeout or None
    with ExitStack() as stack, terminated_as_interrupted():
        try:
            check_images(machine, row)
            work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="virtio-crq-boot-")))
            plan = make_plan(machine, row, Wishes(kernel, initrd, append, vcpus, firmware), work)
            fit = find_qemu(qemu)
            if log is not None:
                _check_log(log)
            state = stack.enter_context(machine_up(machine))
            run = Run(state, row.name, plan, fit, log, silence)
            while (ending := run.once()).why == "reboot":
                _say(f"guest {row.name} starts again")
        except KeyboardInterrupt:
            _say(f"guest {row.name} was stopped")
            raise SystemExit(130) from None
    _judge(row.name, ending, run.panic)


class Run:
    """One guest after the other in the same partition, as it reboots."""

    def __init__(
        self, state: Path, partition: str, plan: GuestPlan, qemu: Qemu, log: Path | None, silence: float | None
    ) -> None:
        self.state = state
        self.partition = partition
        self.plan = plan
        self.qemu = qemu
        self.log = log
        self.silence = silence
        self.panic = ""  # what the kernel called it
        self.input = bytearray()  # lines of a pipe that were read and not typed yet

    def once(self) -> Ending:
        """From power on to the end, however it comes; `left` and `silent` are endings as well."""
        with Guest.start(self.state, self.partition, self.plan, self.qemu, self.log) as guest:
            leaving = "Ctrl-] leaves it" if os.isatty(0) else "Ctrl-C stops it"
            _say(f"guest {self.partition} runs as process {guest.pid}; {leaving}")
            console = GuestConsole(guest.console, 0, 1, self.silence, self.input)
            why = console.run()
            if guest.console.trouble:
                _say(f"{self.log}: {guest.console.trouble}; the rest of the console is not in it")
            if why == "silent":
                return Ending("silent", "\n".join(guest.console.last_lines(LINES)))
            if why == "left":
                _say(f"guest {self.partition} is asked to shut down; Ctrl-] again pulls its plug")
                guest.power_button()
                console.silence = OFF_SECONDS
                console.run()
                return Ending("left")
            ending = guest.wait() or Ending("killed")
            panic = PANIC.findall(guest.console.output()) if ending.why == "panic" else []
            self.panic = readable(panic[-1].decode(errors="replace")).strip() if panic else ""
            return ending


def _judge(name: str, ending: Ending, panic: str) -> None:
    """Status 0 for a guest that did as it was asked; else the error, with what its console said last."""
    if ending.why in ("off", "left"):
        _say(f"guest {name} is off")
        return
    told = {
        "panic": f"guest {name} panicked" + (f": {panic}" if panic else ""),
        "silent": f"guest {name} never answered: its console was silent too long",
        "killed": f"guest {name} died",
    }.get(ending.why, f"guest {name} ended: {ending.why}")
    lines = ending.detail.splitlines()
    if ending.why == "killed" or not lines:
        raise VirtioCrqError(f"{told}: {ending.detail}" if ending.detail else told)
    print("the last lines of its console:", *(f"  {line}" for line in lines[-LINES:]), sep="\n", file=sys.stderr)
    raise VirtioCrqError(told)


def _check_log(path: Path) -> None:
    try:
        path.open("ab").close()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None


def _say(text: str) -> None:
    """On standard error: standard output is the guest's alone."""
    print(f"virtio-crq: {text}", file=sys.stderr, flush=True)
