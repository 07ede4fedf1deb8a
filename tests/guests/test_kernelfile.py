# SPDX-License-Identifier: Apache-2.0
"""Kernels as files: the one line that is said of everything that is not a ppc64le ELF file, and where others begin."""

import struct
from pathlib import Path

import pytest

from virtio_crq.errors import UsageError
from virtio_crq.guests.guest import GuestPlan
from virtio_crq.guests.kernelfile import check_kernel


def elf(width: int = 2, order: int = 1, machine: int = 21, entry: int = 0xC000_0000_0000_0000) -> bytes:
    endian = "<" if order == 1 else ">"
    return struct.pack(f"{endian}4s3B9xHHIQ", b"\x7fELF", width, order, 1, 2, machine, 1, entry) + bytes(64)


def kernel(directory: Path, content: bytes) -> Path:
    path = directory / "vmlinux"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("entry", "at"), [(0xC000_0000_0000_0000, 0x40_0000), (0xC000_0000_0001_0000, 0x41_0000), (0x40, 0x40_0040)]
)
def test_where_a_kernel_is_entered(tmp_path: Path, entry: int, at: int) -> None:
    assert check_kernel(kernel(tmp_path, elf(entry=entry))) == at


WRONG = [
    ("compressed", b"\x1f\x8b" + bytes(100), "is not an ELF file; name a ppc64le vmlinux, not a compressed image"),
    ("short", elf()[:20], "is not an ELF file"),
    ("empty", b"", "is not an ELF file"),
    ("x86-64", elf(machine=62), "is no kernel for ppc64le"),
    ("big-endian", elf(order=2), "is no kernel for ppc64le"),
    ("32 bits", elf(width=1), "is no kernel for ppc64le"),
]


@pytest.mark.parametrize(("content", "message"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_another_file_is_refused_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message) as refused:
        GuestPlan(kernel(tmp_path, content)).check()
    assert "\n" not in str(refused.value)


def test_a_plan_with_missing_files_or_unknown_firmware_is_refused(tmp_path: Path) -> None:
    good = kernel(tmp_path, elf())
    GuestPlan(good).check()
    with pytest.raises(UsageError, match="nothere: No such file or directory; name a ppc64le vmlinux"):
        GuestPlan(tmp_path / "nothere").check()
    with pytest.raises(UsageError, match="initrd: no such initial file system"):
        GuestPlan(good, tmp_path / "initrd").check()
    with pytest.raises(UsageError, match="firmware 'uefi' is not one of vof, slof"):
        GuestPlan(good, firmware="uefi").check()
