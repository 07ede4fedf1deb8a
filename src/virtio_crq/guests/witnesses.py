# SPDX-License-Identifier: Apache-2.0
"""IBM's own drivers as witnesses: stock ibmvscsi in one guest, stock ibmvscsis in another, no driver of ours in either.

They know nothing of this project, so what they do over our CRQ, TCEs and copies tests the hypervisor by software that
nobody here wrote, and their counted calls are what virtual SCSI costs.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from virtio_crq.errors import VirtioCrqError
from virtio_crq.guests.agent import Agent
from virtio_crq.guests.cache import BUSYBOX, Lab
from virtio_crq.guests.guest import CONSOLE, Ending, Guest, GuestPlan
from virtio_crq.guests.initramfs import make_initramfs
from virtio_crq.guests.modules import Module, ModuleTree
from virtio_crq.guests.programfiles import program_archive
from virtio_crq.guests.qemu import Qemu
from virtio_crq.guests.stocktarget import Target
from virtio_crq.hypervisor.conversation import ask

SERVER, CLIENT = "target", "initiator"
UNIT = "30000002"  # slot 2 on either side, as the vio bus names its devices
MACHINE = """\
[machine]
name = "{name}"
profile = "{profile}"
[partition.target]
memory = "1GiB"
guest = true
[partition.initiator]
memory = "512MiB"
guest = true
[[adapter]]
client = "initiator"
slot = 2
server = "target"
server_slot = 2
window = "256MiB"
node = "vscsi"
"""
SERVER_MODULES = ("target_core_file", "ibmvscsis")
BASE_MODULES = ("sd_mod", "ext4")  # of the client; its driver comes when the server is settled
CLIENT_MODULE = "ibmvscsi"
# One target, one channel: otherwise the server complains of 255 LUNs that are not there.
CLIENT_OPTIONS = "max_id=1 max_channel=0 init_timeout=60"
PROGRAMS = ("fio", "mke2fs", "e2fsck")
PLACE = "witness"  # of the client's driver, outside of what the guest's init loads
PREPARE_SECONDS = 60.0
SETTLE_SECONDS = 30.0
LOOK_SECONDS = 0.05  # between looks at a queue's state


@dataclass(frozen=True)
class Parts:
    """What both guests run, and the modules in them with their hashes: all of the distribution's package."""

    release: str
    kernel: Path
    server_initrd: Path
    client_initrd: Path
    modules: Mapping[str, str]  # name: SHA-256 of the file, decompressed
    client_order: tuple[str, ...]


def make_parts(lab: Lab, kernel: str, work: Path) -> Parts:
    """Two initramfs archives in `work`, from the lab's kernel of that name."""
    chosen = lab.kernel(kernel)
    tree, userland = ModuleTree(chosen.modules), lab.userland()
    busybox = userland / BUSYBOX
    offer = {f"{PLACE}/offer": script(Target(UNIT).prepare())}
    server = make_initramfs(tree, busybox, names=SERVER_MODULES, extra=offer)
    there = {module.name for module in tree.in_order(BASE_MODULES)}
    later = [module for module in tree.in_order([CLIENT_MODULE]) if module.name not in there]
    order = tuple(module.name for module in later)
    files = {f"{PLACE}/{module.name}.ko": module.content for module in later}
    files[f"{PLACE}/load"] = script(load_command(order))
    client = make_initramfs(tree, busybox, names=BASE_MODULES, extra=files)
    programs = b"".join(_aligned(program_archive(userland, name).content()) for name in PROGRAMS)
    (work / "client.img").write_bytes(client.image + bytes(-len(client.image) % 4) + programs)
    return Parts(
        release=chosen.release,
        kernel=chosen.vmlinux,
        server_initrd=server.write(work / "server.img"),
        client_initrd=work / "client.img",
        modules={carried.name: carried.sha256 for carried in (*server.modules, *client.modules)} | _hashes(later),
        client_order=order,
    )


def load_command(order: Sequence[str]) -> str:
    """Insert the client's driver, after what it needs."""
    lines = [f"insmod /{PLACE}/{name}.ko" for name in order]
    return "\n".join(("set -e", *lines)) + f" {CLIENT_OPTIONS}"


def script(commands: str) -> bytes:
    """For those who steer the guests by hand; their commands are the checks'."""
    return f"#!/bin/sh\n{commands}\n".encode()


def _hashes(modules: list[Module]) -> dict[str, str]:
    return {module.name: module.sha256 for module in modules}


def _aligned(archive: bytes) -> bytes:
    return archive + bytes(-len(archive) % 512)


class Side:
    """One of the two guests; it may be started again after its end."""

    def __init__(self, name: str, state: Path, plan: GuestPlan, qemu: Qemu) -> None:
        self.name = name
        self._state, self._plan, self._qemu = state, plan, qemu
        self._guest: Guest | None = None
        self._agent: Agent | None = None

    def start(self) -> None:
        """Power on; `wait` for it before it is asked for anything."""
        self.close()
        self._guest = Guest.start(self._state, self.name, self._plan, self._qemu)
        self._agent = Agent(self._guest.agent, self._guest.console)

    @property
    def guest(self) -> Guest:
        if self._guest is None:
            raise VirtioCrqError(f"guest {self.name} was not started")
        return self._guest

    def wait(self) -> None:
        assert self._agent is not None
        self._agent.wait()

    def run(self, command: str, seconds: float = 60.0) -> str:
        """What a command wrote; one that fails is an error."""
        assert self._agent is not None
        return self._agent.check(command, seconds)

    def fails(self, command: str, seconds: float = 60.0) -> bool:
        """Whether a command ends with another status than 0."""
        assert self._agent is not None
        return self._agent.run(command, seconds).status != 0

    def news(self) -> str:
        """The kernel's messages since they were asked for last."""
        return self.run("dmesg -c")

    def reboot(self) -> Ending | None:
        """By its own kernel, with nothing shut down: no driver frees its queue."""
        self.fails("(sleep 0.2; reboot -f) >/dev/null 2>&1 &")
        return self.guest.wait(PREPARE_SECONDS)

    def kill(self) -> Ending:
        return self.guest.kill()

    def close(self) -> None:
        if self._guest is not None:
            self._guest.close()
            self._guest = None


class Pair:
    """Both guests of a machine that was made from MACHINE and is up. `with` ends them."""

    def __init__(self, state: Path, parts: Parts, qemu: Qemu, target: Target | None = None) -> None:
        self._state = state
        self._parts = parts
        self.target = target or Target(UNIT)
        self.server = Side(SERVER, state, GuestPlan(parts.kernel, parts.server_initrd, CONSOLE), qemu)
        self.client = Side(CLIENT, state, GuestPlan(parts.kernel, parts.client_initrd, CONSOLE), qemu)

    def boot(self, say: Callable[[str], None] = lambda text: None) -> None:
        """Both up, the server enabled and settled, then the client's driver: the order that suits both."""
        self.server.start()
        self.client.start()
        self.server.wait()
        say("the server's guest is up")
        self.offer()
        say("ibmvscsis offers a disk")
        self.client.wait()
        say("the client's guest is up")
        self.load()
        self.wait_for_disk()
        say("ibmvscsi has logged in and found it")

    def offer(self) -> None:
        """Set the server up and enable it; also after its guest was started again."""
        self.server.run(self.target.prepare(), PREPARE_SECONDS)
        self.server.run(self.target.enable())
        self.until("server_queue", "open")

    def start_client(self) -> None:
        """Its guest and its driver, which finds the disk."""
        self.client.start()
        self.client.wait()
        self.load()
        self.wait_for_disk()

    def load(self) -> None:
        """The client's driver: when a server is there, it logs in and scans while it is loaded."""
        self.client.run(load_command(self._parts.client_order), PREPARE_SECONDS)

    def wait_for_disk(self) -> None:
        waits = "n=0; until [ -b /dev/sda ]; do n=$((n + 1)); [ $n -lt 600 ] || exit 1; usleep 50000; done"
        self.client.run(waits, SETTLE_SECONDS + 10)

    def wait_for_login(self) -> None:
        """Of a client that was there before its server."""
        waits = (
            "n=0; until dmesg | grep -q 'SRP_LOGIN succeeded'; do n=$((n + 1)); "
            "[ $n -lt 600 ] || exit 1; usleep 50000; done"
        )
        self.client.run(waits, SETTLE_SECONDS + 10)

    def connection(self) -> Mapping[str, Any]:
        """The hypervisor's view of the one connection: states of the queues, counters of both ends."""
        row: Mapping[str, Any] = ask(self._state, "show")["adapters"][0]
        return row

    def until(self, field: str, value: Any, seconds: float = SETTLE_SECONDS) -> None:
        """Wait for a field of `connection`."""
        deadline = time.monotonic() + seconds
        while (found := self.connection()[field]) != value:
            if time.monotonic() > deadline:
                raise VirtioCrqError(f"{field} is {found!r} after {seconds:.0f} s, not {value!r}")
            time.sleep(LOOK_SECONDS)

    def close(self) -> None:
        self.client.close()
        self.server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
