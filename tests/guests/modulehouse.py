# SPDX-License-Identifier: Apache-2.0
"""What tests of the guest's transport share: a machine with a server that can be killed, and guests that load it."""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from guestlab import Running, booted, fit_qemu

from virtio_crq.cli.processes import ProcessTable
from virtio_crq.cli.roles import HYPERVISOR, roles
from virtio_crq.guests.cache import BUSYBOX, Lab
from virtio_crq.guests.complaints import TROUBLE
from virtio_crq.guests.guest import GuestPlan
from virtio_crq.guests.initramfs import STANDARD, make_initramfs
from virtio_crq.guests.modules import ModuleTree
from virtio_crq.hypervisor.machinefile import read_machine_file
from virtio_crq.hypervisor.statedirectory import make_state_directory

SERVER, GUEST = "vios1", "web1"


def adapters(*servers: str, node: str = "") -> str:
    """A machine file with an adapter of the guest to each of these servers, from slot 2 on, shown as a `node`."""
    text = "".join(f'[partition.{server}]\nmemory = "64M"\n' for server in servers)
    text += f'[partition.{GUEST}]\nmemory = "512M"\nguest = true\n'
    for slot, server in enumerate(servers, 2):
        text += f'[[adapter]]\nclient = "{GUEST}"\nslot = {slot}\nserver = "{server}"\n'
        text += f'node = "{node}"\n' if node else ""
    return text


ONE_ADAPTER = adapters(SERVER)
DISK = f"""
[[map]]
client = "{GUEST}"
server = "{SERVER}"
target = "disk"
backing = "file:disk.img"
"""
ONE_DISK = ONE_ADAPTER + DISK


class ModuleHouse:
    """`work` has the machine file and whatever its backings name."""

    def __init__(self, work: Path, text: str) -> None:
        self.work = work
        self.name = f"module-{os.getpid()}"
        self.directory = make_state_directory(self.name)
        self.describe(text)
        self._processes = ProcessTable(self.directory)

    def describe(self, text: str) -> None:
        """What the machine file says to processes that are started from now on."""
        file = self.work / "machine.toml"
        file.write_text(f'[machine]\nname = "{self.name}"\n{text}')
        self._roles = {role.name: role for role in roles(read_machine_file(file), self.directory)}

    def start(self, name: str = SERVER) -> None:
        self._processes.start(self._roles[name])

    def kill(self, name: str = SERVER) -> None:
        os.kill(self._processes.running()[name].pid, signal.SIGKILL)
        while name in self._processes.running():
            os.sched_yield()

    @contextmanager
    def guest(self, kernel: str, vcpus: int, words: str = "") -> Iterator[Running]:
        """With our transport, at a shell; it has to have nothing to complain of at its end."""
        lab = Lab.open()
        parts = lab.kernel(kernel)
        busybox = lab.userland() / BUSYBOX
        image = make_initramfs(ModuleTree(parts.modules), busybox, transport=parts.transport, names=STANDARD)
        initrd = image.write(self.work / f"initrd-{kernel}")
        plan = GuestPlan(parts.vmlinux, initrd, f"panic=-1 {words}", vcpus)
        with booted(self.directory, GUEST, plan, fit_qemu()) as running:
            yield running
            assert running.says(f"dmesg | grep -E '{TROUBLE}'; true") == ""

    def close(self) -> None:
        self._processes.stop_all(HYPERVISOR)
        shutil.rmtree(self.directory, ignore_errors=True)


@contextmanager
def house_of(work: Path, text: str, served: bool = True) -> Iterator[ModuleHouse]:
    """A machine that is up as long as this lasts, with its server or with the place of one."""
    house = ModuleHouse(work, text)
    try:
        house.start(HYPERVISOR)
        if served:
            house.start()
        yield house
    finally:
        house.close()
