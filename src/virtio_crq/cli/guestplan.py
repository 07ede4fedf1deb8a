# SPDX-License-Identifier: Apache-2.0
"""What a guest partition runs: the machine file's words, the command line's before them, and the lab's parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from virtio_crq.errors import UsageError
from virtio_crq.guests.cache import BUSYBOX, KERNELS, Lab
from virtio_crq.guests.guest import CONSOLE, GuestPlan
from virtio_crq.guests.initramfs import STANDARD, Initramfs, make_initramfs
from virtio_crq.guests.modules import ModuleTree
from virtio_crq.guests.qemu import Qemu, check_firmware
from virtio_crq.hypervisor.machinerows import MachineFile, PartitionRow
from virtio_crq.vios.backing import FILE, parse_backing
from virtio_crq.vios.mapping import BLOCK

DLPAR = "rpadlpar_io"  # takes adapters that are added at run time


@dataclass(frozen=True)
class Wishes:
    """What a person said on the command line; None where nothing was said."""

    kernel: str | None = None
    initrd: Path | None = None
    append: str = ""
    vcpus: int | None = None
    firmware: str = "vof"


def guest_partition(machine: MachineFile, name: str | None) -> PartitionRow:
    """The partition that is meant: without a name the only guest."""
    guests = machine.guests()
    if name is not None:
        row = machine.partition(name)
        if not row.guest:
            raise UsageError(f"{machine.path}: partition {name} is no guest; give it guest = true")
        return row
    if not guests:
        raise UsageError(f"{machine.path}: no partition is a guest; give one guest = true")
    if len(guests) > 1:
        raise UsageError(f"{machine.path} has several guests; name one of {', '.join(row.name for row in guests)}")
    return guests[0]


def check_images(machine: MachineFile, row: PartitionRow) -> None:
    """Refuse a guest one of whose disks is an image that nobody has made yet, and say how that is done."""
    for entry in machine.maps:
        if entry.client != row.name or entry.device != BLOCK or not entry.backing.startswith(f"{FILE}:"):
            continue
        path = Path(parse_backing(entry.backing, machine.path.parent).path)
        if not path.exists():
            raise UsageError(
                f"{entry.where}: {path}: no such image; make a root disk by: "
                f"virtio-crq guests image {'debian' if 'debian' in path.name else 'small'} {path}"
            )


def make_plan(machine: MachineFile, row: PartitionRow, wishes: Wishes, work: Path) -> GuestPlan:
    """The plan of one run, refused in one line if it cannot run. An initramfs that has to be made goes into `work`."""
    check_firmware(wishes.firmware)
    said = wishes.kernel or row.kernel or KERNELS[0]
    initrd = wishes.initrd or row.initrd
    if said in KERNELS:
        lab = Lab.open()
        parts = lab.kernel(said)
        kernel = parts.vmlinux
        if initrd is None:
            late = any(adapter.client == row.name and not adapter.boot for adapter in machine.adapters)
            initrd = lab_initramfs(lab, said, (DLPAR,) if late else ()).write(work / "initramfs.gz")
    else:
        kernel = Path(said) if wishes.kernel else machine.path.parent / said
        if not kernel.exists() and "/" not in said:
            raise UsageError(f"no kernel {said!r}: neither a file nor one of the lab's, {', '.join(KERNELS)}")
    plan = GuestPlan(
        kernel=kernel,
        initrd=initrd,
        command_line=" ".join(word for word in (CONSOLE, row.command_line, wishes.append) if word),
        vcpus=wishes.vcpus or row.vcpus,
        firmware=wishes.firmware,
    )
    plan.check()
    return plan


def lab_initramfs(lab: Lab, kernel: str, further: Sequence[str] = ()) -> Initramfs:
    """For one of the lab's kernels, with our transport, and with `further` modules of the kernel's own."""
    parts = lab.kernel(kernel)
    names = (*STANDARD, *further)
    return make_initramfs(ModuleTree(parts.modules), lab.userland() / BUSYBOX, transport=parts.transport, names=names)


def find_qemu(chosen: str | None) -> Qemu:
    """The one that was chosen, or the host's own when it is fit, or the lab's."""
    try:
        lab = Lab.open().qemu().argv
    except UsageError:
        lab = None
    return Qemu.find(chosen, lab)
