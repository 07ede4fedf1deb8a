# SPDX-License-Identifier: Apache-2.0
"""The machine of the comparison: hypervisor and I/O server as processes, and a guest with three disks on one file."""

import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from virtio_crq.axes import PUSH
from virtio_crq.bench.image import Image
from virtio_crq.bench.row import Counts, per_request
from virtio_crq.cli.guestplan import find_qemu
from virtio_crq.cli.ownmachine import machine_up
from virtio_crq.cli.version import dataplane
from virtio_crq.errors import VirtioCrqError
from virtio_crq.guests.agent import Agent
from virtio_crq.guests.cache import BUSYBOX, Lab
from virtio_crq.guests.guest import CONSOLE, Guest, GuestPlan
from virtio_crq.guests.initramfs import STANDARD, Initramfs, make_initramfs
from virtio_crq.guests.modules import ModuleTree
from virtio_crq.guests.programfiles import program_archive
from virtio_crq.guests.stockdisks import DISKS, LISTING, VIRTIO_CRQ, Disk, found_devices, stock_disks
from virtio_crq.hypervisor.conversation import Conversation
from virtio_crq.hypervisor.machinefile import parse_machine_file

SERVER, GUEST = "vios1", "guest1"
MODULES = (*STANDARD, "virtio_pci", "sd_mod", "ibmvscsi")
GATHERING = 180  # microseconds; about as long as an emulated processor takes to make five requests
FIND_SECONDS = 20  # that the disks may take to appear
# As is advised for disks of virtual machines: whoever has the real disk sorts. All three alike.
SCHEDULERS = "/sys/block/[sv]d*/queue/scheduler"
PROBES = 16  # places of the file that all disks must agree on

# The server sleeps at once: two cores, and QEMU's own devices do not poll either.
MACHINE = """
[machine]
name = "{name}"
[partition.{server}]
memory = "256M"
polling = 0
gathering = {gathering}
fetch = "{fetch}"
workers = 1
[partition.{guest}]
memory = "1G"
guest = true
[[adapter]]
client = "{guest}"
slot = 2
server = "{server}"
[[map]]
client = "{guest}"
target = "disk"
backing = "file:{image}"
"""


@dataclass(frozen=True)
class Bench:
    """What is compared with what."""

    lab: Lab
    kernel: str
    aio: str
    gathering: int
    firmware: str
    qemu: str | None
    disks: Sequence[Disk] = DISKS
    fetch: str = PUSH

    @contextmanager
    def stage(self, image: Image, work: Path, kind: type["GuestStage"] | None = None) -> Iterator["GuestStage"]:
        """The running guest; gone afterwards, with its machine."""
        qemu = find_qemu(self.qemu)
        initramfs = self._initramfs()
        # The kernel takes archives one behind the other; this one is not compressed, so it is soon unpacked.
        programs = program_archive(self.lab.userland(), "fio").content()
        image_of_guest = work / "initramfs"
        image_of_guest.write_bytes(initramfs.image + bytes(-len(initramfs.image) % 4) + programs)
        plan = GuestPlan(
            kernel=self.lab.kernel(self.kernel).vmlinux,
            initrd=image_of_guest,
            command_line=f"{CONSOLE} quiet",
            firmware=self.firmware,
            extra=stock_disks(image.path.absolute(), self.aio) if len(self.disks) > 1 else (),
        )
        path = work / "machine.toml"
        name = f"guestbench-{os.getpid()}"
        text = MACHINE.format(
            name=name,
            server=SERVER,
            guest=GUEST,
            image=image.path.absolute(),
            gathering=self.gathering,
            fetch=self.fetch,
        )
        path.write_text(text)
        with (
            machine_up(parse_machine_file(text, path)) as state,
            Guest.start(state, GUEST, plan, qemu) as guest,
        ):
            yield (kind or GuestStage)(self, state, guest, image, initramfs, qemu.version)

    def _initramfs(self) -> Initramfs:
        parts = self.lab.kernel(self.kernel)
        tree = ModuleTree(parts.modules)
        return make_initramfs(tree, self.lab.userland() / BUSYBOX, transport=parts.transport, names=MODULES)


class GuestStage:
    """`guests.comparison.Stage` over a running guest."""

    def __init__(
        self, bench: Bench, state: Path, guest: Guest, image: Image, initramfs: Initramfs, qemu_version: str
    ) -> None:
        self._bench = bench
        self._state = state
        self._guest = guest
        self._image = image
        self._initramfs = initramfs
        self._qemu_version = qemu_version
        self._agent = Agent(guest.agent, guest.console)
        self._agent.wait()
        self.devices: Mapping[str, str] = self._found()
        self._check_content()
        self._set_schedulers()

    def ready(self, disk: str) -> bool:
        """All of them are there all the time."""
        return False

    def run(self, command: str, seconds: float) -> str:
        return self._agent.check(command, seconds)

    def resident(self) -> float:
        return self._image.resident()

    def counting(self, disk: str) -> Callable[[int], Mapping[str, float]]:
        """Interrupts that the guest took; for our disk also what the engine counted on both of its adapters."""
        interrupts = self._interrupts()
        counts = self._counts() if self._is_ours(disk) else None

        def costs(requests: int) -> Mapping[str, float]:
            taken = self._interrupts() - interrupts
            found = {"guest_interrupts_per_io": round(taken / requests, 4)}
            if counts is None:
                return found
            since = self._counts().since(counts)
            calls = {name: round(count / requests, 4) for name, count in since.hcalls.items()}
            return {**per_request(since, requests), **found, **calls}

        return costs

    def setting(self) -> dict[str, Any]:
        """What a result must say of where it comes from."""
        parts = self._bench.lab.kernel(self._bench.kernel)
        return {
            "kernel": parts.release,
            "packages": {each.name: f"{each.version} {each.sha256}" for each in parts.packages},
            "modules": {each.name: each.sha256 for each in self._initramfs.modules},
            "builtin": list(self._initramfs.builtin),
            "qemu": self._qemu_version,
            "firmware": self._bench.firmware,
            "accelerator": "tcg",
            "vcpus": 1,
            "fio": self._agent.check("fio --version").strip(),
            "scheduler": self._agent.check(f"cat {SCHEDULERS}").split("\n")[:-1],
            "devices": dict(self.devices),
            "aio": self._bench.aio,
            "server": {
                "polling_us": 0,
                "gathering_us": self._bench.gathering,
                "workers": 1,
                "fetch": self._bench.fetch,
            },
            "dataplane": dataplane(),
            "host": {"machine": platform.machine(), "processors": os.cpu_count(), "linux": platform.release()},
            "image_bytes": self._image.size,
        }

    def _is_ours(self, disk: str) -> bool:
        return disk == VIRTIO_CRQ.name

    def _set_schedulers(self) -> None:
        self._agent.check(f"for each in {SCHEDULERS}; do echo none >$each; done")

    def _found(self) -> dict[str, str]:
        # A loop in the guest, since nothing tells when a disk appears there; ours is the last.
        seen = f"{LISTING} | grep -q '^{VIRTIO_CRQ.prefix}.*{VIRTIO_CRQ.path}'"
        waited = f"for each in $(seq {FIND_SECONDS * 10}); do {seen} && break; usleep 100000; done; {LISTING}"
        found = found_devices(self._agent.check(waited, FIND_SECONDS + 30), self._bench.disks)
        missing = [disk.driver for disk in self._bench.disks if disk.name not in found]
        if missing:
            said = "\n".join(self._guest.console.last_lines())
            raise VirtioCrqError(f"the guest has no disk of {', '.join(missing)}; its console said last:\n{said}")
        return found

    def _check_content(self) -> None:
        """All disks show the file that is held in memory."""
        step = self._image.size // PROBES >> 20
        sums = {
            name: self._agent.check(
                f"for at in $(seq 0 {max(step, 1)} {(self._image.size >> 20) - 1}); do "
                f"dd if={device} bs=1M skip=$at count=1 2>/dev/null | head -c 8192; done | md5sum"
            )
            for name, device in self.devices.items()
        }
        if len(set(sums.values())) != 1:
            raise VirtioCrqError(f"the disks differ, so they are not on one file: {sums}")

    def _interrupts(self) -> int:
        """All that the guest took, but for its timer's."""
        rows = [line.split() for line in self._agent.check("cat /proc/interrupts").splitlines()]
        return sum(int(row[1]) for row in rows if len(row) > 2 and row[0].rstrip(":").isdigit() and row[1].isdigit())

    def _counts(self) -> Counts:
        with Conversation(self._state) as hypervisor:
            wire = hypervisor.ask("show")["adapters"][0]
        both = [wire["client_counters"], wire["server_counters"]]
        names = sorted({name for side in both for name in side if name.startswith("H_")})
        return Counts(
            {name: sum(side.get(name, 0) for side in both) for name in names},
            *(sum(side.get(name, 0) for side in both) for name in ("copies", "bytes", "interrupts")),
        )
