# SPDX-License-Identifier: Apache-2.0
"""Rows for the sub-CRQ calls, and for their interrupts in H_VIOCTL."""

from collections.abc import Callable

import pytest
from conformance_row import Row
from conformance_scene import DATA, MAPPED, NO_ACCESS, READ_ONLY, SUB_SLOTS, SUBS, WINDOW, WRITE_ONLY

from virtio_crq.papr.hypercalls import Hypercall
from virtio_crq.papr.profiles import Profile
from virtio_crq.papr.returncodes import ReturnCode
from virtio_crq.papr.vioctl import Subfunction

H, R, S = Hypercall, ReturnCode, Subfunction  # short, so that a row is read at a glance
UP = ("client registers", "server registers")
BOTH = (*UP, "server opens")  # the client sends to the server's first sub-CRQ
UNKNOWN_UNIT = 0x3000FFFF
HEADER = 0x80 << 56
FREE = "00" * 32
ONES = "ff" * 32


def record(number: int) -> str:
    return "80" + "00" * 30 + f"{number:02x}"


def freed() -> str:
    """A slot of which only the header was cleared."""
    return "00" + "ff" * 31


def at_most(count: int) -> Callable[[Profile], int]:
    return lambda profile: R.H_SUCCESS if count <= profile.sub_crq_indirect_limit else R.H_PARAMETER


def reg(ua: object = "client.ua", ioba: int = SUBS, length: int = 4096) -> tuple[object, ...]:
    return (ua, ioba, length)


REGISTER = (
    Row("the connection is not up: registered and closed", "client", H.H_REG_SUB_CRQ, reg(), R.H_CLOSED,
        ("client registers",), source="LoPAR H_REG_SUB_CRQ", clauses=("CRQ-H-20",)),
    Row("before the CRQ", "client", H.H_REG_SUB_CRQ, reg(), R.H_CLOSED, source="LoPAR H_REG_SUB_CRQ"),
    Row("the connection is up", "client", H.H_REG_SUB_CRQ, reg(), R.H_SUCCESS, UP, source="LoPAR H_REG_SUB_CRQ"),
    Row("interrupts are numbered from the adapter's range on", "client", H.H_REG_SUB_CRQ, reg(ioba=SUBS + 0x10000),
        R.H_SUCCESS, (*UP, "client opens"), outputs=((1 << 32) | 1, 0x2001), source="LoPAR H_REG_SUB_CRQ"),
    Row("unknown unit address before queue", "client", H.H_REG_SUB_CRQ, reg(ua=UNKNOWN_UNIT, ioba=1), R.H_PARAMETER,
        UP, source="LoPAR H_REG_SUB_CRQ: order"),
    Row("address not aligned", "client", H.H_REG_SUB_CRQ, reg(ioba=SUBS + 32), R.H_PARAMETER, UP,
        source="LoPAR H_REG_SUB_CRQ"),
    Row("length not a multiple", "client", H.H_REG_SUB_CRQ, reg(length=4097), R.H_PARAMETER, UP,
        source="LoPAR H_REG_SUB_CRQ"),
    Row("length 0", "client", H.H_REG_SUB_CRQ, reg(length=0), R.H_PARAMETER, UP, choice=2),
    Row("last page not mapped", "client", H.H_REG_SUB_CRQ, reg(ioba=MAPPED - 4096, length=8192), R.H_PARAMETER, UP,
        source="LoPAR H_REG_SUB_CRQ: entire length"),
    Row("page without write", "client", H.H_REG_SUB_CRQ, reg(ioba=READ_ONLY), R.H_PARAMETER, UP, choice=1),
    Row("page without read", "client", H.H_REG_SUB_CRQ, reg(ioba=WRITE_ONLY), R.H_PARAMETER, UP, choice=1),
    Row("outside the window", "client", H.H_REG_SUB_CRQ, reg(ioba=WINDOW), R.H_PARAMETER, UP,
        source="LoPAR H_REG_SUB_CRQ"),
    Row("length that wraps", "client", H.H_REG_SUB_CRQ, reg(ioba=4096, length=(1 << 64) - 4096), R.H_PARAMETER, UP,
        source="LoPAR H_REG_SUB_CRQ"),
    Row("none is left", "client", H.H_REG_SUB_CRQ, reg(ioba=SUBS + 0x10000), R.H_RESOURCE, (*UP, "client opens 16"),
        source="LoPAR H_REG_SUB_CRQ", clauses=("CRQ-H-20",)),
    Row("a bad queue before resources", "client", H.H_REG_SUB_CRQ, reg(ioba=1), R.H_PARAMETER,
        (*UP, "client opens 16"), source="LoPAR H_REG_SUB_CRQ: order"),
    Row("a freed one is there again, under another handle", "client", H.H_REG_SUB_CRQ, reg(), R.H_SUCCESS,
        (*UP, "client opens 16", "client closes 3"), outputs=((2 << 32) | 3, 0x2003), choice=31),
    Row("header bytes are cleared, and nothing else", "client", H.H_REG_SUB_CRQ, reg(), R.H_SUCCESS,
        (*UP, "client opens", "client closes"),
        effects={"client sub 0": freed(), f"client sub {SUB_SLOTS - 1}": freed()}, source="LoPAR H_REG_SUB_CRQ"),
)  # fmt: skip

FREEING = (
    Row("freed", "server", H.H_FREE_SUB_CRQ, ("server.ua", "server.sub"), R.H_SUCCESS, BOTH,
        effects={"client push": R.H_PARAMETER}, source="LoPAR H_FREE_SUB_CRQ", clauses=("CRQ-H-20",)),
    Row("the others stay", "server", H.H_FREE_SUB_CRQ, ("server.ua", "server.sub1"), R.H_SUCCESS,
        (*BOTH, "server opens"), effects={"client push": R.H_SUCCESS}, source="LoPAR H_FREE_SUB_CRQ"),
    Row("the CRQ stays", "server", H.H_FREE_SUB_CRQ, ("server.ua", "server.sub"), R.H_SUCCESS, BOTH,
        effects={"client send": R.H_SUCCESS}, source="LoPAR H_FREE_SUB_CRQ"),
    Row("unknown unit address", "server", H.H_FREE_SUB_CRQ, (UNKNOWN_UNIT, "server.sub"), R.H_PARAMETER, BOTH,
        source="LoPAR H_FREE_SUB_CRQ"),
    Row("unknown handle", "server", H.H_FREE_SUB_CRQ, ("server.ua", 77), R.H_PARAMETER, BOTH,
        source="LoPAR H_FREE_SUB_CRQ"),
    Row("the partner's handle", "client", H.H_FREE_SUB_CRQ, ("client.ua", "server.sub"), R.H_PARAMETER, BOTH,
        effects={"client push": R.H_SUCCESS}, source="LoPAR H_FREE_SUB_CRQ"),
    Row("another adapter's handle", "server", H.H_FREE_SUB_CRQ, ("server2.ua", "server.sub"), R.H_PARAMETER, BOTH,
        effects={"client push": R.H_SUCCESS}, source="LoPAR H_FREE_SUB_CRQ"),
    Row("once more", "server", H.H_FREE_SUB_CRQ, ("server.ua", "server.sub"), R.H_PARAMETER,
        (*BOTH, "server closes"), choice=31),
    Row("own interrupt goes off", "server", H.H_FREE_SUB_CRQ, ("server.ua", "server.sub"), R.H_SUCCESS,
        (*BOTH, "server listens", "client pushes 1", "server acknowledges"),
        effects={"client push": R.H_PARAMETER, "server interrupted": False}, source="LoPAR H_FREE_SUB_CRQ"),
)  # fmt: skip

# H_FREE_CRQ and its sub-CRQs.
WITH_THE_CRQ = (
    Row("frees its sub-CRQs", "server", H.H_FREE_CRQ, ("server.ua",), R.H_SUCCESS, (*BOTH, "server opens 15"),
        effects={"client push": lambda p: R.H_PARAMETER if p.sub_crq else R.H_FUNCTION}, source="LoPAR H_FREE_CRQ",
        clauses=("CRQ-H-21",)),
    Row("without a CRQ, too", "server", H.H_FREE_CRQ, ("server.ua",), R.H_SUCCESS, ("server opens", *UP[:1]),
        effects={"client push": lambda p: R.H_PARAMETER if p.sub_crq else R.H_FUNCTION}, source="LoPAR H_FREE_CRQ"),
    Row("the partner's sub-CRQs stay", "client", H.H_FREE_CRQ, ("client.ua",), R.H_SUCCESS, BOTH,
        effects={"client push": lambda p: R.H_CLOSED if p.sub_crq else R.H_FUNCTION}, source="LoPAR H_FREE_CRQ"),
)  # fmt: skip


def send(handle: object = "server.sub", header: int = HEADER, ua: object = "client.ua") -> tuple[object, ...]:
    return (ua, handle, header, 0, 0, 7)


SENDING = (
    Row("delivered", "client", H.H_SEND_SUB_CRQ, ("client.ua", "server.sub", HEADER | 0x0102, 0x0304, 0x0506, 0x0708),
        R.H_SUCCESS, BOTH, effects={"server sub 0": "8000000000000102" + "0000000000000304" + "0000000000000506"
                                    + "0000000000000708", "server sub 1": freed(), "server ring 0": "00" * 16},
        source="LoPAR H_SEND_SUB_CRQ", clauses=("CRQ-H-22",)),
    Row("in order", "client", H.H_SEND_SUB_CRQ, send(), R.H_SUCCESS, (*BOTH, "client pushes 2"),
        effects={"server sub 1": record(2), "server sub 2": record(7)}, source="LoPAR Sub-CRQ R1-2",
        clauses=("CRQ-H-22",)),
    Row("a new registration begins at offset 0", "client", H.H_SEND_SUB_CRQ, send("server.sub1"), R.H_SUCCESS,
        (*BOTH, "client pushes 3", "server closes", "server opens"),
        effects={f"server bytes {SUBS + 4096} 32": record(7)}, source="LoPAR Sub-CRQ R1-2"),
    Row("each handle has its own queue", "client", H.H_SEND_SUB_CRQ, send("server.sub1"), R.H_SUCCESS,
        (*BOTH, "server opens", "client pushes 1"),
        effects={"server sub 1": freed(), f"server bytes {SUBS + 4096} 32": record(7)}, source="LoPAR H_SEND_SUB_CRQ"),
    Row("unknown unit address", "client", H.H_SEND_SUB_CRQ, send(ua=UNKNOWN_UNIT), R.H_PARAMETER, BOTH,
        source="LoPAR H_SEND_SUB_CRQ"),
    Row("unknown handle", "client", H.H_SEND_SUB_CRQ, send(0), R.H_PARAMETER, BOTH, source="LoPAR H_SEND_SUB_CRQ"),
    Row("a handle behind the last", "client", H.H_SEND_SUB_CRQ, send(0xFF), R.H_PARAMETER, BOTH,
        source="LoPAR H_SEND_SUB_CRQ"),
    Row("one's own handle", "server", H.H_SEND_SUB_CRQ, send(ua="server.ua"), R.H_PARAMETER, BOTH,
        effects={"server sub 0": freed()}, source="LoPAR H_SEND_SUB_CRQ: registered by the partner"),
    Row("another connection's handle", "other", H.H_SEND_SUB_CRQ, send(ua="other.ua"), R.H_PARAMETER,
        (*BOTH, "other registers", "server2 registers"), effects={"server sub 0": freed()},
        source="LoPAR H_SEND_SUB_CRQ: registered by the partner", clauses=("CRQ-H-22",)),
    Row("the handle of an earlier registration", "client", H.H_SEND_SUB_CRQ, send(), R.H_PARAMETER,
        (*BOTH, "server closes", "server opens"), choice=31),
    Row("header 0x00", "client", H.H_SEND_SUB_CRQ, send(header=0), R.H_PARAMETER, BOTH,
        effects={"server sub 0": freed()}, source="LoPAR H_SEND_SUB_CRQ", clauses=("CRQ-H-22",)),
    Row("header 0xc0", "client", H.H_SEND_SUB_CRQ, send(header=0xC0 << 56), R.H_PARAMETER, BOTH,
        source="LoPAR Sub-CRQ header values", clauses=("CRQ-H-22",)),
    Row("header 0x81", "client", H.H_SEND_SUB_CRQ, send(header=0x81 << 56), R.H_PARAMETER, BOTH,
        source="LoPAR H_SEND_SUB_CRQ"),
    Row("handle and header before the connection", "client", H.H_SEND_SUB_CRQ, send(header=0), R.H_PARAMETER,
        ("server opens",), source="LoPAR H_SEND_SUB_CRQ: order"),
    Row("own CRQ not registered", "client", H.H_SEND_SUB_CRQ, send(), R.H_CLOSED, ("server registers", "server opens"),
        effects={"server sub 0": freed()}, source="LoPAR H_SEND_SUB_CRQ", clauses=("CRQ-H-21",)),
    Row("partner's CRQ not registered", "client", H.H_SEND_SUB_CRQ, send(), R.H_CLOSED,
        ("client registers", "server opens"), effects={"server sub 0": freed()}, source="LoPAR H_SEND_SUB_CRQ",
        clauses=("CRQ-H-21",)),
    Row("the partner freed its CRQ, and so the queue: no such handle", "client", H.H_SEND_SUB_CRQ, send(),
        R.H_PARAMETER, (*BOTH, "server frees"), choice=29),
    Row("the partner died", "client", H.H_SEND_SUB_CRQ, send(), R.H_PARAMETER, (*BOTH, "server dies"), choice=29),
    Row("disabled by a suspension", "client", H.H_SEND_SUB_CRQ, send(), R.H_CLOSED, (*BOTH, "client suspends"),
        source="LoPAR H_SEND_SUB_CRQ: enabled", clauses=("CRQ-H-21",)),
    Row("full", "client", H.H_SEND_SUB_CRQ, send(), R.H_DROPPED, (*BOTH, "client pushes 200"),
        effects={"server sub 0": record(1), f"server sub {SUB_SLOTS - 1}": record(SUB_SLOTS)},
        source="LoPAR Sub-CRQ R1-3", clauses=("CRQ-H-22",)),
    Row("one slot not freed stalls the queue", "client", H.H_SEND_SUB_CRQ, send(), R.H_DROPPED,
        (*BOTH, "client pushes 200", "server accepts 100 1"), source="LoPAR Sub-CRQ R1-2, R1-3"),
    Row("wraps to slot 0", "client", H.H_SEND_SUB_CRQ, send(), R.H_SUCCESS,
        (*BOTH, "client pushes 200", "server accepts 1"), effects={"server sub 0": record(7)},
        source="LoPAR Sub-CRQ R1-2"),
    Row("queue unmapped", "client", H.H_SEND_SUB_CRQ, send(), R.H_DROPPED, (*BOTH, f"server unmaps {SUBS} 0x1000"),
        choice=5),
    Row("silent while masked", "client", H.H_SEND_SUB_CRQ, send(), R.H_SUCCESS, (*BOTH, "server unmasks"),
        effects={"server interrupted": False}, source="LoPAR H_REG_SUB_CRQ: interrupts start disabled"),
    Row("signals when unmasked", "client", H.H_SEND_SUB_CRQ, send(), R.H_SUCCESS, (*BOTH, "server listens"),
        effects={"server interrupted": True}, source="LoPAR H_SEND_SUB_CRQ"),
    Row("leaves the CRQ's slots alone", "client", H.H_SEND_SUB_CRQ, send(), R.H_SUCCESS, (*BOTH, "client fills"),
        effects={"server sub 0": record(7)}, source="LoPAR Sub-CRQ facility"),
)  # fmt: skip

LAID = DATA + 0x2000


def batch(count: int, ioba: int = LAID, handle: object = "server.sub", ua: object = "client.ua") -> tuple[object, ...]:
    return (ua, handle, ioba, count)


INDIRECT = (
    Row("one", "client", H.H_SEND_SUB_CRQ_INDIRECT, batch(1), R.H_SUCCESS, (*BOTH, f"client lays {LAID} 1"),
        effects={"server sub 0": record(1), "server sub 1": freed()}, source="LoPAR H_SEND_SUB_CRQ_INDIRECT"),
    Row("16", "client", H.H_SEND_SUB_CRQ_INDIRECT, batch(16), R.H_SUCCESS, (*BOTH, f"client lays {LAID} 16"),
        effects={"server sub 0": record(1), "server sub 15": record(16), "server sub 16": freed()},
        source="LoPAR H_SEND_SUB_CRQ_INDIRECT", clauses=("CRQ-H-22",)),
    Row("17", "client", H.H_SEND_SUB_CRQ_INDIRECT, batch(17), at_most(17), (*BOTH, f"client lays {LAID} 17"),
        effects={"server sub 0": lambda p: record(1) if p.sub_crq_indirect_limit >= 17 else freed()}, source="A-9"),
    Row("128", "client", H.H_SEND_SUB_CRQ_INDIRECT, batch(128), at_most(128), (*BOTH, f"client lays {LAID} 128"),
        source="A-9"),
    Row("129", "client", H.H_SEND_SUB_CRQ_INDIRECT, batch(129), R.H_PARAMETER, BOTH,
        effects={"server sub 0": freed()}, source="LoPAR H_SEND_SUB_CRQ_INDIRECT"),
    Row("none", "client", H.H_SEND_SUB_CRQ_INDIRECT, batch(0), R.H_PARAMETER, BOTH,
        source="LoPAR H_SEND_SUB_CRQ_INDIRECT"),
    Row("anywhere in a page", "client", H.H_SEND_SUB_CRQ_INDIRECT, batch(2, LAID + 4096 - 64), R.H_SUCCESS,
        (*BOTH, f"client lays {LAID + 4096 - 64} 2"), effects={"server sub 1": record(2)}, choice=30),
    Row("over the page's end", "client", H.H_SEND_SUB_CRQ_INDIRECT, batch(3, LAID + 4096 - 64), R.H_PARAMETER,
        (*BOTH, f"client lays {LAID + 4096 - 64} 3"), effects={"server sub 0": freed()}, choice=30),
    Row("address outside", "client", H.H_SEND_SUB_CRQ_INDIRECT, batch(1, WINDOW), R.H_PARAMETER, BOTH,
        source="LoPAR H_SEND_SUB_CRQ_INDIRECT"),
    Row("address that wraps", "client", H.H_SEND_SUB_CRQ_INDIRECT, batch(1, (1 << 64) - 32), R.H_PARAMETER, BOTH,
        source="LoPAR H_SEND_SUB_CRQ_INDIRECT"),
    Row("page not mapped", "client", H.H_SEND_SUB_CRQ_INDIRECT, batch(1, NO_ACCESS), R.H_PARAMETER, BOTH, choice=30),
    Row("page that may not be read", "client", H.H_SEND_SUB_CRQ_INDIRECT, batch(1, WRITE_ONLY), R.H_PARAMETER, BOTH,
        choice=30),
    Row("page that may be read", "client", H.H_SEND_SUB_CRQ_INDIRECT, batch(1, READ_ONLY), R.H_SUCCESS,
        (*BOTH, f"client lays {READ_ONLY} 1"), effects={"server sub 0": record(1)},
        source="LoPAR H_SEND_SUB_CRQ_INDIRECT"),
    Row("last header wrong: none is there", "client", H.H_SEND_SUB_CRQ_INDIRECT, batch(16), R.H_PARAMETER,
        (*BOTH, f"client lays {LAID} 16 16"), effects={"server sub 0": freed(), "server sub 14": freed()},
        source="LoPAR H_SEND_SUB_CRQ_INDIRECT: all or none", clauses=("CRQ-H-22",)),
    Row("room for all but one: none is there", "client", H.H_SEND_SUB_CRQ_INDIRECT, batch(16), R.H_DROPPED,
        (*BOTH, f"client lays {LAID} 16", f"client pushes {SUB_SLOTS - 15}"),
        effects={f"server sub {SUB_SLOTS - 15}": freed()}, source="LoPAR H_SEND_SUB_CRQ_INDIRECT: all or none",
        clauses=("CRQ-H-22",)),
    Row("over the end of the queue", "client", H.H_SEND_SUB_CRQ_INDIRECT, batch(8), R.H_SUCCESS,
        (*BOTH, f"client lays {LAID} 8", f"client pushes {SUB_SLOTS - 4}", "server accepts 10"),
        effects={f"server sub {SUB_SLOTS - 1}": record(4), "server sub 0": record(5), "server sub 3": record(8),
                 "server sub 4": FREE}, source="LoPAR Sub-CRQ R1-2"),
    Row("over the end of a page of the queue", "client", H.H_SEND_SUB_CRQ_INDIRECT, batch(8), R.H_SUCCESS,
        (*UP, "server opens 1 8192", f"client lays {LAID} 8", f"client pushes {SUB_SLOTS - 4}"),
        effects={f"server sub {SUB_SLOTS + 3}": record(8), f"server sub {SUB_SLOTS + 4}": freed()},
        source="LoPAR Sub-CRQ R1-2"),
    Row("one interrupt", "client", H.H_SEND_SUB_CRQ_INDIRECT, batch(16), R.H_SUCCESS,
        (*BOTH, f"client lays {LAID} 16", "server listens"), effects={"server interrupted": True},
        source="LoPAR H_SEND_SUB_CRQ_INDIRECT"),
    Row("unknown handle before address", "client", H.H_SEND_SUB_CRQ_INDIRECT, batch(1, WINDOW, 5), R.H_PARAMETER, BOTH,
        source="LoPAR H_SEND_SUB_CRQ_INDIRECT: order"),
    Row("count before the connection", "client", H.H_SEND_SUB_CRQ_INDIRECT, batch(0), R.H_PARAMETER, ("server opens",),
        source="LoPAR H_SEND_SUB_CRQ_INDIRECT: order"),
    Row("the connection before the entries", "client", H.H_SEND_SUB_CRQ_INDIRECT, batch(1, NO_ACCESS), R.H_CLOSED,
        ("server opens",), source="LoPAR H_SEND_SUB_CRQ_INDIRECT: order", clauses=("CRQ-H-21",)),
    Row("to a client", "server", H.H_SEND_SUB_CRQ_INDIRECT, batch(2, LAID, "client.sub", "server.ua"), R.H_SUCCESS,
        (*UP, "client opens", f"server lays {LAID} 2"), effects={"client sub 1": record(2)},
        source="LoPAR H_SEND_SUB_CRQ_INDIRECT"),
)  # fmt: skip


def turn(subfunction: Subfunction, number: object = "server.subirq") -> tuple[object, ...]:
    return ("server.ua", subfunction, number)


INTERRUPTS = (
    Row("enable a sub-CRQ's", "server", H.H_VIOCTL, turn(S.ENABLE_INTERRUPT), R.H_SUCCESS, BOTH,
        effects={"client push": R.H_SUCCESS, "server interrupted": True}, source="LoPAR ENABLE_VIO_INTERRUPT",
        clauses=("CRQ-H-23",)),
    Row("a record that came while it was off", "server", H.H_VIOCTL, turn(S.ENABLE_INTERRUPT), R.H_SUCCESS,
        (*BOTH, "client pushes 1"), effects={"server interrupted": True}, clauses=("CRQ-H-23",), choice=6),
    Row("a record that was taken while it was off", "server", H.H_VIOCTL, turn(S.ENABLE_INTERRUPT), R.H_SUCCESS,
        (*BOTH, "client pushes 1", "server accepts 1"), effects={"server interrupted": False}, choice=6),
    Row("the newest of a full queue", "server", H.H_VIOCTL, turn(S.ENABLE_INTERRUPT), R.H_SUCCESS,
        (*BOTH, "client pushes 200"), effects={"server interrupted": True}, choice=6),
    Row("disable a sub-CRQ's", "server", H.H_VIOCTL, turn(S.DISABLE_INTERRUPT), R.H_SUCCESS,
        (*BOTH, "server listens"), effects={"client push": R.H_SUCCESS, "server interrupted": False},
        source="LoPAR DISABLE_VIO_INTERRUPT", clauses=("CRQ-H-23",)),
    Row("disable all, sub-CRQs too", "server", H.H_VIOCTL, ("server.ua", S.DISABLE_ALL_INTERRUPTS), R.H_SUCCESS,
        (*BOTH, "server listens", "server unmasks"), effects={"client push": R.H_SUCCESS, "server interrupted": False},
        source="LoPAR DISABLE_ALL_VIO_INTERRUPTS", clauses=("CRQ-H-23",)),
    Row("the CRQ's stays as it was", "server", H.H_VIOCTL, turn(S.DISABLE_INTERRUPT), R.H_SUCCESS,
        (*BOTH, "server listens", "server unmasks"), effects={"client send": R.H_SUCCESS, "server interrupted": True},
        source="LoPAR DISABLE_VIO_INTERRUPT"),
    Row("a sub-CRQ's after it was freed", "server", H.H_VIOCTL, turn(S.ENABLE_INTERRUPT), R.H_PARAMETER,
        (*BOTH, "server closes"), source="LoPAR ENABLE_VIO_INTERRUPT"),
    Row("of the range, but never registered", "server", H.H_VIOCTL, turn(S.ENABLE_INTERRUPT, 0x2005), R.H_PARAMETER,
        BOTH, source="LoPAR ENABLE_VIO_INTERRUPT"),
    Row("another adapter's sub-CRQ", "server", H.H_VIOCTL, turn(S.ENABLE_INTERRUPT, "server2.subirq"), R.H_PARAMETER,
        (*BOTH, "server2 opens"), source="LoPAR ENABLE_VIO_INTERRUPT"),
)  # fmt: skip

ROWS = {
    "H_REG_SUB_CRQ": REGISTER,
    "H_FREE_SUB_CRQ": FREEING,
    "H_FREE_CRQ of sub-CRQs": WITH_THE_CRQ,
    "H_SEND_SUB_CRQ": SENDING,
    "H_SEND_SUB_CRQ_INDIRECT": INDIRECT,
    "H_VIOCTL of sub-CRQs": INTERRUPTS,
}

PARAMETERS = [
    pytest.param(row, id=f"{call}-{row.name}", marks=pytest.mark.clause(*row.clauses))
    for call, rows in ROWS.items()
    for row in rows
]
