# SPDX-License-Identifier: Apache-2.0
"""Translation control entries: 4 KiB pages of a window; the two low bits say what the other side may do."""

from enum import IntFlag

TCE_PAGE = 4096
TCE_SIZE = 8  # bytes of one entry in a TCE list, big-endian


class TceAccess(IntFlag):
    """READ lets the hypervisor (and through it the partner) read memory, WRITE lets it write."""

    NONE = 0
    READ = 1
    WRITE = 2
    BOTH = 3


def tce(logical_address: int, access: TceAccess) -> int:
    """A TCE for the 4 KiB page at a logical address."""
    if logical_address % TCE_PAGE:
        raise ValueError(f"logical address {logical_address:#x} is not a multiple of {TCE_PAGE}")
    return logical_address | access


def split(value: int) -> tuple[int, TceAccess]:
    """Logical page address and access of a TCE."""
    return value & ~(TCE_PAGE - 1), TceAccess(value & TceAccess.BOTH)


def pages(ioba: int, length: int) -> int:
    """How many TCEs a stretch of a window spans."""
    return (ioba % TCE_PAGE + length + TCE_PAGE - 1) // TCE_PAGE
