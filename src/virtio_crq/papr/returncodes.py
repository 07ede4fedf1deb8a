# SPDX-License-Identifier: Apache-2.0
"""Return codes of hypervisor calls, as virtual I/O uses them (LoPAR, return-code table)."""

from enum import IntEnum


class ReturnCode(IntEnum):
    """R3 on return, signed. H_CLOSED from H_REG_CRQ is a successful registration."""

    H_SUCCESS = 0
    H_BUSY = 1
    H_CLOSED = 2
    H_NOT_AVAILABLE = 3
    H_CONSTRAINED = 4
    H_PARTIAL = 5
    H_IN_PROGRESS = 14
    H_PAGE_REGISTERED = 15
    H_PARTIAL_STORE = 16
    H_PENDING = 17
    H_CONTINUE = 18
    H_LONG_BUSY_1_MS = 9900
    H_LONG_BUSY_10_MS = 9901
    H_LONG_BUSY_100_MS = 9902
    H_LONG_BUSY_1_S = 9903
    H_LONG_BUSY_10_S = 9904
    H_LONG_BUSY_100_S = 9905
    H_HARDWARE = -1
    H_FUNCTION = -2
    H_PRIVILEGE = -3
    H_PARAMETER = -4
    H_NOT_FOUND = -7
    H_NO_MEM = -9
    H_AUTHORITY = -10
    H_PERMISSION = -11
    H_DROPPED = -12
    H_S_PARM = -13
    H_D_PARM = -14
    H_R_PARM = -15
    H_RESOURCE = -16
    H_NOT_ENOUGH_RESOURCES = -44
    H_RESCINDED = -46
    H_ABORTED = -54
    H_P2 = -55
    H_P3 = -56
    H_P4 = -57
    H_P5 = -58
    H_P6 = -59
    H_P7 = -60
    H_P8 = -61
    H_P9 = -62
    H_STATE = -75
    H_IN_USE = -77


# Roughly how long to wait before the call is made again with the same arguments.
LONG_BUSY_MILLISECONDS = {
    ReturnCode.H_LONG_BUSY_1_MS: 1,
    ReturnCode.H_LONG_BUSY_10_MS: 10,
    ReturnCode.H_LONG_BUSY_100_MS: 100,
    ReturnCode.H_LONG_BUSY_1_S: 1_000,
    ReturnCode.H_LONG_BUSY_10_S: 10_000,
    ReturnCode.H_LONG_BUSY_100_S: 100_000,
}


def is_busy(code: int) -> bool:
    """Whether the same call is to be made again: H_Busy, H_In_Progress and the long-busy codes."""
    return code in (ReturnCode.H_BUSY, ReturnCode.H_IN_PROGRESS) or code in LONG_BUSY_MILLISECONDS


def code_name(code: int) -> str:
    """The field's name of a code, or the number when it has none."""
    try:
        return ReturnCode(code).name
    except ValueError:
        return str(code)
