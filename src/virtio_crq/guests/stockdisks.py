# SPDX-License-Identifier: Apache-2.0
"""The two disks that QEMU itself gives a guest, to be compared with ours: arguments for its command line.

Both are as a fair user would have them: the host's page cache under them, as under ours, and io_uring, the faster
of QEMU's ways on a file in memory (see docs/explanation/three-disks.md). No lock, since the I/O server holds one.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

AIO = ("io_uring", "threads")
SCSI_UNIT = 0x7100_0003


@dataclass(frozen=True)
class Disk:
    """`driver` is what drives it in the guest; `path` a part of its place in the guest's sysfs, `prefix` its name's."""

    name: str
    driver: str
    prefix: str
    path: str


IBMVSCSI = Disk("ibmvscsi", "ibmvscsi on QEMU's spapr-vscsi", "sd", "/host")
VIRTIO_PCI = Disk("virtio-blk-pci", "virtio_blk on virtio_pci, device inside QEMU", "vd", "/pci")
VIRTIO_CRQ = Disk("virtio-crq", "virtio_blk on virtio_crq, device in the I/O server", "vd", "/vio/")
DISKS = (IBMVSCSI, VIRTIO_PCI, VIRTIO_CRQ)


def stock_disks(image: Path, aio: str = AIO[0]) -> tuple[str, ...]:
    """QEMU's arguments for spapr-vscsi and virtio-blk-pci on the same file."""
    words: list[str] = []
    for node in ("scsi-image", "pci-image"):
        file = {"driver": "file", "filename": str(image), "locking": "off", "aio": aio}
        words += ["-blockdev", json.dumps({"driver": "raw", "node-name": node, "file": file})]
    words += ["-device", f"spapr-vscsi,id=scsi,reg={SCSI_UNIT:#x}"]
    words += ["-device", "scsi-hd,bus=scsi.0,drive=scsi-image,share-rw=on"]
    words += ["-device", "virtio-blk-pci,drive=pci-image,share-rw=on"]
    return tuple(words)


def found_devices(listing: str, disks: Sequence[Disk]) -> dict[str, str]:
    """The block devices of `disks`, by their names: `listing` has a line `NAME SYSFS-PATH` for each of the guest's."""
    rows = [line.split(maxsplit=1) for line in listing.splitlines() if " " in line]
    return {
        disk.name: f"/dev/{name}"
        for disk in disks
        for name, path in rows
        if name.startswith(disk.prefix) and disk.path in path
    }


LISTING = 'for each in /sys/block/*; do echo "${each##*/} $(readlink -f "$each"/device)"; done'
