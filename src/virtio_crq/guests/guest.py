# SPDX-License-Identifier: Apache-2.0
"""A guest: one run of a real kernel in a guest partition of a machine that is up."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from virtio_crq.errors import UsageError
from virtio_crq.guests import tree
from virtio_crq.guests.kernelfile import check_kernel
from virtio_crq.guests.qemu import Qemu, check_firmware
from virtio_crq.guests.qmp import Monitor
from virtio_crq.guests.terminal import Terminal
from virtio_crq.guests.treeservice import TreeService
from virtio_crq.platform.partition import UnitAddress

CONSOLE = "console=hvc0"  # the guest's first virtual terminal, on its kernel's command line
PANIC_LINES = 200  # back to where a kernel says that it panics, with all that it prints of itself afterwards
ATTACH_SECONDS = 40.0  # the hypervisor may still be cleaning up after the partition's last process


@dataclass(frozen=True)
class GuestPlan:
    """What is to run. `extra` are further arguments of QEMU: a disk of its own to compare with, say."""

    kernel: Path  # an ELF file: vmlinux
    initrd: Path | None = None
    command_line: str = ""
    vcpus: int = 1
    firmware: str = "vof"  # or "slof", which takes four seconds longer and shows itself on the console
    extra: tuple[str, ...] = ()

    def check(self) -> None:
        """Refuse what cannot run, in one line."""
        check_kernel(self.kernel)
        if self.initrd is not None and not self.initrd.is_file():
            raise UsageError(f"{self.initrd}: no such initial file system")
        check_firmware(self.firmware)


@dataclass(frozen=True)
class Ending:
    """Why a guest is no more: `off`, `reboot`, `panic`, or `killed` when QEMU ended without a word of the guest."""

    why: str
    detail: str = ""  # what QEMU said last, or the console's last lines


class Guest:
    """Made by `start`. Death by kill -9 is an ending like any other: the hypervisor cleans up after it."""

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        description: dict[str, Any],
        console: Terminal,
        agent: Terminal,
        monitor: Monitor,
        trees: TreeService,
        errors: Any,
    ) -> None:
        self._process = process
        self._description = description
        self._monitor = monitor
        self._trees = trees
        self._errors = errors
        self.console = console  # hvc0: messages of the kernel
        self.agent = agent  # hvc1: commands of whoever started it
        self.ending: Ending | None = None

    @classmethod
    def start(
        cls, state_directory: Path, partition: str, plan: GuestPlan, qemu: Qemu, log: Path | None = None
    ) -> "Guest":
        """Power the partition on. Refused while something runs there. `log` gets all of the console's output."""
        plan.check()
        ours, theirs = {}, {}
        for name in ("control", "console", "agent", "monitor"):
            ours[name], theirs[name] = socket.socketpair()
        errors = tempfile.TemporaryFile()  # noqa: SIM115 — closed by the guest
        order = {
            "state": str(state_directory),
            "partition": partition,
            "qemu": qemu.command,
            "sockets": {name: end.fileno() for name, end in theirs.items()},
            "plan": {
                "kernel": str(plan.kernel),
                "initrd": str(plan.initrd) if plan.initrd else None,
                "command_line": plan.command_line,
                "vcpus": plan.vcpus,
                "firmware": plan.firmware,
                "extra": list(plan.extra),
            },
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "virtio_crq.guests.runner", json.dumps(order)],
            pass_fds=[end.fileno() for end in theirs.values()],
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            start_new_session=True,  # Ctrl-C at the terminal is the guest's to see, not QEMU's
        )
        for end in theirs.values():
            end.close()
        try:
            description = _description(ours["control"], errors)
        except BaseException:
            process.kill()
            process.wait()
            errors.close()
            for end in ours.values():
                end.close()
            raise
        return cls(
            process,
            description,
            Terminal(ours["console"], f"{partition}-console", log),
            Terminal(ours["agent"], f"{partition}-agent"),
            Monitor(ours["monitor"]),
            TreeService(ours["control"], description),
            errors,
        )

    @property
    def pid(self) -> int:
        """QEMU's process, which is the partition."""
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait(self, seconds: float | None = None) -> Ending | None:
        """How it ended; None while it still runs after `seconds`."""
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        if self.ending is None:
            self._monitor.join()
            self._trees.close()
            self.ending = self._ended(status)
        return self.ending

    def _ended(self, status: int) -> Ending:
        if self._trees.trouble:
            return Ending("killed", self._trees.trouble)
        if self._monitor.reason:
            return Ending(self._monitor.reason, self._panic() if self._monitor.reason == "panic" else "")
        said = _said(self._errors)
        cause = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
        return Ending("killed", said or cause)

    def _panic(self) -> str:
        """The kernel's own word for it; its registers say little to people."""
        lines = self.console.last_lines(PANIC_LINES)
        return next((line for line in lines if "Kernel panic" in line), lines[-1] if lines else "")

    def kill(self) -> Ending:
        """End it as by pulling a plug; its partners hear that the partition failed (0xFF01)."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        ending = self.wait()
        assert ending is not None
        return ending

    def power_button(self) -> None:
        """Ask the guest's operating system to shut down."""
        self._monitor.execute("system_powerdown")

    def slot_node(self, unit_address: UnitAddress) -> bytes:
        """What adds an adapter to the running guest when it is written to /proc/powerpc/ofdt (DLPAR)."""
        return tree.slot_node(self._description, unit_address)

    def slot_name(self, unit_address: UnitAddress) -> str:
        """The DRC name of the adapter's slot, as /sys/bus/pci/slots/control/add_slot wants it."""
        return tree.slot_name(self._description, unit_address)

    def close(self) -> None:
        """End it if it runs; give everything back."""
        self.kill()
        self.console.close()
        self.agent.close()
        self._monitor.close()
        self._errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _said(errors: Any) -> str:
    """QEMU's last words: it shares the descriptor, so read without moving its place."""
    size = os.fstat(errors.fileno()).st_size
    text = os.pread(errors.fileno(), 4096, max(0, size - 4096)).decode("utf-8", "replace")
    lines = [line for line in text.splitlines() if line.strip() and "warning:" not in line]
    return lines[-1] if lines else ""


def _description(control: socket.socket, errors: Any) -> dict[str, Any]:
    """The runner's first line: the partition's description, or why there is none."""
    received = b""
    deadline = time.monotonic() + ATTACH_SECONDS
    while b"\n" not in received:
        control.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            # What follows the line is the plugin's, and the tree service reads it.
            data = control.recv(1 << 16, socket.MSG_PEEK)
            data = control.recv(data.find(b"\n") + 1 or len(data))
        except TimeoutError:
            raise UsageError(f"the hypervisor gave no partition within {ATTACH_SECONDS:.0f} s") from None
        if not data:
            raise UsageError(f"the guest could not be started: {_said(errors) or 'its runner ended without a word'}")
        received += data
    control.settimeout(None)
    answer = json.loads(received)
    if "error" in answer:
        raise UsageError(answer["error"])
    description: dict[str, Any] = answer["ok"]
    return description
