# SPDX-License-Identifier: Apache-2.0
"""What tests of real guests share: a machine whose hypervisor is a process, and guests with an agent inside."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from virtio_crq.guests.agent import Agent
from virtio_crq.guests.cache import BUSYBOX, Lab
from virtio_crq.guests.guest import Guest, GuestPlan
from virtio_crq.guests.initramfs import make_initramfs
from virtio_crq.guests.modules import ModuleTree
from virtio_crq.guests.qemu import Qemu
from virtio_crq.hypervisor.statedirectory import ATTACH_SOCKET, answers

DEADLINE = 20.0


@contextmanager
def machine_of(text: str) -> Iterator[Path]:
    """The state directory of a machine that is up as long as this lasts; `text` is its file, its name is `gm`."""
    runtime = Path(tempfile.mkdtemp(prefix="crq-", dir="/tmp"))  # short: names of Unix sockets have 107 bytes
    directory = runtime / "virtio-crq" / "gm"
    (runtime / "m.toml").write_text(text)
    hypervisor = subprocess.Popen(
        [sys.executable, "-m", "virtio_crq.cli", "hypervisor", str(runtime / "m.toml")],
        env={**os.environ, "XDG_RUNTIME_DIR": str(runtime)},
    )
    try:
        end = time.monotonic() + DEADLINE
        while not answers(directory / ATTACH_SOCKET):
            assert hypervisor.poll() is None
            assert time.monotonic() < end
            os.sched_yield()
        yield directory
    finally:
        hypervisor.terminate()
        hypervisor.wait(DEADLINE)
        shutil.rmtree(runtime)


def fit_qemu() -> Qemu:
    return Qemu.ask(Lab.open().qemu().argv)


def plan_of(
    directory: Path,
    kernel: str,
    modules: Sequence[str],
    vcpus: int = 1,
    firmware: str = "vof",
    extra: Sequence[str] = (),
) -> GuestPlan:
    """A kernel of the lab with these of its own modules, nothing of ours but the agent, at a shell."""
    lab = Lab.open()
    parts = lab.kernel(kernel)
    image = make_initramfs(ModuleTree(parts.modules), lab.userland() / BUSYBOX, names=modules)
    initrd = image.write(directory / f"initrd-{kernel}-{len(modules)}")
    return GuestPlan(parts.vmlinux, initrd, "panic=-1", vcpus, firmware, tuple(extra))


class Running:
    """A guest and its agent."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.agent = Agent(guest.agent, guest.console)

    def says(self, command: str, seconds: float = 30.0) -> str:
        return self.agent.check(command, seconds).strip()

    def interrupts(self, irq: int) -> int:
        """How often the adapter of this XIVE number has interrupted, on all processors."""
        for line in self.says("cat /proc/interrupts").splitlines():
            words = line.split()
            if "XIVE-IRQ" in words and words[words.index("XIVE-IRQ") + 1] == str(irq):
                return sum(int(word) for word in words[1 : words.index("XIVE-IRQ")])
        return 0


@contextmanager
def booted(directory: Path, partition: str, plan: GuestPlan, qemu: Qemu) -> Iterator[Running]:
    with Guest.start(directory, partition, plan, qemu) as guest:
        running = Running(guest)
        running.agent.wait(60)
        yield running
