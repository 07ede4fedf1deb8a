# SPDX-License-Identifier: Apache-2.0
"""A kernel as a file: whether it is one for ppc64le, and where it is entered."""

import struct
from pathlib import Path

from virtio_crq.errors import UsageError

_HEADER = struct.Struct("<4s3B9xHHIQ")  # magic, class, data, version; type, machine, version, entry
_ELF64, _LITTLE, _PPC64 = 2, 1, 21
LOAD_ADDRESS = 0x0040_0000  # where QEMU's pseries puts a kernel given by -kernel
ADDRESS_BITS = 0x0FFF_FFFF  # of an ELF file's addresses that QEMU keeps


def check_kernel(path: Path) -> int:
    """The address at which this kernel is entered; refused in one line when it is no ppc64le ELF file."""
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER.size)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; name a ppc64le vmlinux") from None
    if len(header) < _HEADER.size or not header.startswith(b"\x7fELF"):
        raise UsageError(f"{path} is not an ELF file; name a ppc64le vmlinux, not a compressed image")
    _, width, order, _, _, machine, _, entry = _HEADER.unpack(header)
    if (width, order, machine) != (_ELF64, _LITTLE, _PPC64):
        raise UsageError(f"{path} is no kernel for ppc64le (64-bit little-endian Power)")
    return LOAD_ADDRESS + (int(entry) & ADDRESS_BITS)
