# SPDX-License-Identifier: Apache-2.0
"""Loads by name: KIND-SIZE-qdDEPTH, so that any size and depth can be measured and not only the four of the table."""

import re
from collections.abc import Sequence

from virtio_crq.bench.case import CASES, Case
from virtio_crq.errors import UsageError

NAME = re.compile(r"(rand|seq)(read|write)-([1-9][0-9]*)([km]?)-qd([1-9][0-9]*)")
UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20}
FORM = "KIND-SIZE-qdDEPTH, such as randread-4k-qd8; kinds are randread, randwrite, seqread, seqwrite"
SECTOR = 512
LARGEST = 1 << 20
SEGMENT = 1 << 16  # what one descriptor of our disks carries at most
QUEUE = 256  # descriptors of a disk's queue


def cases(names: Sequence[str]) -> Sequence[Case]:
    """The loads that were asked for, each once; the table's when none was."""
    return list(dict.fromkeys(map(case, names))) if names else CASES


def case(name: str) -> Case:
    """One load by its name, under the shortest name that says the same (4096 is 4k)."""
    words = NAME.fullmatch(name)
    if words is None:
        raise UsageError(f"case {name!r} is not {FORM}")
    order, kind, number, unit, depth = words.groups()
    size = int(number) * UNITS[unit]
    if size % SECTOR or size > LARGEST:
        raise UsageError(f"case {name!r}: {size} bytes are not whole sectors of {SECTOR} bytes up to {LARGEST} bytes")
    found = Case(f"{order}{kind}-{short(size)}-qd{depth}", size, int(depth), kind == "write", order == "seq")
    if descriptors(found) > QUEUE:
        most = QUEUE // descriptors(Case("", size, 1))
        raise UsageError(f"case {name!r}: a disk's queue has {QUEUE} descriptors, enough for qd{most} at this size")
    return found


def short(size: int) -> str:
    """4096 is 4k."""
    for unit, factor in reversed(UNITS.items()):
        if size % factor == 0:
            return f"{size // factor}{unit}"
    raise AssertionError(size)


def descriptors(case: Case) -> int:
    """How many of a queue the load has in use: header, status and the data's pieces, for each request in flight."""
    return case.depth * (2 + -(-case.size // SEGMENT))


def slots(cases: Sequence[Case]) -> int:
    """Requests that a client must be ready for: its queue is the power of two in four times as many descriptors.

    Those of the table always fit, so that a row is the same whichever others are measured with it.
    """
    needed = max(descriptors(case) for case in (*CASES, *cases))
    return max((1 << (needed - 1).bit_length()) // 4, *(case.depth for case in (*CASES, *cases)))


def transfer(cases: Sequence[Case]) -> int:
    """Bytes that a request of the client must hold."""
    return max(case.size for case in (*CASES, *cases))
