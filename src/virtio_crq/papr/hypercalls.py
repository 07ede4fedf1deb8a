# SPDX-License-Identifier: Apache-2.0
"""Hypervisor calls: opcodes, function sets, and what each register means (LoPAR opcode table and call definitions)."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum


class Hypercall(IntEnum):
    """R3 on entry. Multiples of four."""

    H_GET_TCE = 0x1C
    H_PUT_TCE = 0x20
    H_REG_CRQ = 0xFC
    H_FREE_CRQ = 0x100
    H_VIO_SIGNAL = 0x104
    H_SEND_CRQ = 0x108
    H_PUT_RTCE = 0x10C
    H_COPY_RDMA = 0x110
    H_WRITE_RDMA = 0x128
    H_READ_RDMA = 0x12C
    H_STUFF_TCE = 0x138
    H_PUT_TCE_INDIRECT = 0x13C
    H_PUT_RTCE_INDIRECT = 0x140
    H_LIOBN_ATTRIBUTES = 0x240
    H_REMOVE_RTCE = 0x24C
    H_VIOCTL = 0x2A8
    H_ENABLE_CRQ = 0x2B0
    H_REG_SUB_CRQ = 0x2DC
    H_FREE_SUB_CRQ = 0x2E0
    H_SEND_SUB_CRQ = 0x2E4
    H_SEND_SUB_CRQ_INDIRECT = 0x2E8


@dataclass(frozen=True)
class Signature:
    """Names of the input registers from R4 on, of the output registers from R4 on, and the function set it is in."""

    function_set: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...] = ()


def _numbered(stem: str, count: int) -> tuple[str, ...]:
    return tuple(f"{stem}{index}" for index in range(count))


SIGNATURES: dict[Hypercall, Signature] = {
    Hypercall.H_GET_TCE: Signature("hcall-tce", ("liobn", "ioba"), ("tce",)),
    Hypercall.H_PUT_TCE: Signature("hcall-tce", ("liobn", "ioba", "tce")),
    Hypercall.H_REG_CRQ: Signature("hcall-crq", ("ua", "ioba", "length")),
    Hypercall.H_FREE_CRQ: Signature("hcall-crq", ("ua",)),
    Hypercall.H_VIO_SIGNAL: Signature("hcall-vio", ("ua", "mode")),
    Hypercall.H_SEND_CRQ: Signature("hcall-crq", ("ua", "high", "low")),
    Hypercall.H_PUT_RTCE: Signature("hcall-rdma", ("r_liobn", "r_ioba", "liobn", "ioba", "count"), ("reached",)),
    Hypercall.H_COPY_RDMA: Signature(
        "hcall-rdma", ("length", "source_liobn", "source_ioba", "destination_liobn", "destination_ioba")
    ),
    Hypercall.H_WRITE_RDMA: Signature(
        "hcall-rdma", ("length", "destination_liobn", "destination_ioba", *_numbered("data", 6))
    ),
    Hypercall.H_READ_RDMA: Signature("hcall-rdma", ("length", "source_liobn", "source_ioba"), _numbered("data", 9)),
    Hypercall.H_STUFF_TCE: Signature("hcall-multi-tce", ("liobn", "ioba", "tce", "count")),
    Hypercall.H_PUT_TCE_INDIRECT: Signature("hcall-multi-tce", ("liobn", "ioba", "list", "count")),
    Hypercall.H_PUT_RTCE_INDIRECT: Signature(
        "hcall-multi-tce", ("list", "r_liobn", "liobn", "ioba", "count"), ("reached",)
    ),
    Hypercall.H_LIOBN_ATTRIBUTES: Signature("hcall-liobn-attributes", ("liobn", "reset", "set"), ("attributes",)),
    Hypercall.H_REMOVE_RTCE: Signature("hcall-rdma", ("r_liobn", "r_ioba", "liobn", "ioba", "count", "tce")),
    Hypercall.H_VIOCTL: Signature("hcall-vioctl", ("ua", "subfunction", "p1", "p2", "p3"), ("out0", "out1")),
    Hypercall.H_ENABLE_CRQ: Signature("hcall-suspend", ("ua",)),
    Hypercall.H_REG_SUB_CRQ: Signature("hcall-sub-crq", ("ua", "ioba", "length"), ("handle", "interrupt")),
    Hypercall.H_FREE_SUB_CRQ: Signature("hcall-sub-crq", ("ua", "handle")),
    Hypercall.H_SEND_SUB_CRQ: Signature("hcall-sub-crq", ("ua", "handle", *_numbered("word", 4))),
    Hypercall.H_SEND_SUB_CRQ_INDIRECT: Signature("hcall-sub-crq", ("ua", "handle", "ioba", "count")),
}

MAX_REGISTERS = 9  # R4 to R12
WRITE_RDMA_LIMIT = 48  # bytes that fit R7 to R12
READ_RDMA_LIMIT = 72  # bytes that fit R4 to R12


def call_name(opcode: int) -> str:
    """The field's name of a call, or its opcode in hex."""
    try:
        return Hypercall(opcode).name
    except ValueError:
        return f"hcall {opcode:#x}"


def describe(opcode: int, registers: Sequence[int]) -> str:
    """One call as people write it: `H_REG_CRQ(ua=0x30000002, ioba=0x0, length=0x1000)`."""
    try:
        names = SIGNATURES[Hypercall(opcode)].inputs
    except ValueError:
        return f"{call_name(opcode)}({', '.join(f'{value:#x}' for value in registers)})"
    pairs = zip(names, registers, strict=False)
    return f"{call_name(opcode)}({', '.join(f'{name}={value:#x}' for name, value in pairs)})"
