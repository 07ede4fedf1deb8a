# SPDX-License-Identifier: Apache-2.0
"""Rows for H_REG_CRQ, H_FREE_CRQ, H_SEND_CRQ, H_ENABLE_CRQ, H_VIO_SIGNAL, and transport events."""

import pytest
from conformance_row import Row, by
from conformance_scene import MAPPED, NO_ACCESS, READ_ONLY, RING, WINDOW, WRITE_ONLY

from virtio_crq.papr.hypercalls import Hypercall
from virtio_crq.papr.returncodes import ReturnCode

H, R = Hypercall, ReturnCode  # short, so that a row is read at a glance
BOTH = ("client registers", "server registers")
UNKNOWN_UNIT = 0x3000FFFF
COMMAND = 0x80_00_00_00_00_00_00_01
LAST = 255  # slot of the last entry of a one-page ring
FREE = "00" * 16


def reg(end: str = "client", ua: object = None, ioba: int = RING, length: int = 4096) -> tuple[object, ...]:
    return (f"{end}.ua" if ua is None else ua, ioba, length)


REGISTER = (
    Row("first to register is closed", "client", H.H_REG_CRQ, reg(), R.H_CLOSED, source="LoPAR H_REG_CRQ",
        clauses=("CRQ-H-14",),
        effects={"client send": R.H_CLOSED}),
    Row("second to register succeeds", "client", H.H_REG_CRQ, reg(), R.H_SUCCESS, ("server registers",),
        effects={"client send": R.H_SUCCESS}, source="LoPAR H_REG_CRQ"),
    Row("unknown unit address", "client", H.H_REG_CRQ, reg(ua=UNKNOWN_UNIT), R.H_PARAMETER, source="LoPAR H_REG_CRQ"),
    Row("another partition's adapter", "client", H.H_REG_CRQ, reg(ua=0x30000003), R.H_PARAMETER,
        source="LoPAR H_REG_CRQ: unit address of the caller's"),
    Row("unit address before queue", "client", H.H_REG_CRQ, reg(ua=UNKNOWN_UNIT, ioba=1), R.H_PARAMETER,
        source="LoPAR H_REG_CRQ: order"),
    Row("address not aligned", "client", H.H_REG_CRQ, reg(ioba=16), R.H_PARAMETER, source="LoPAR H_REG_CRQ"),
    Row("length not a multiple", "client", H.H_REG_CRQ, reg(length=4095), R.H_PARAMETER, source="LoPAR H_REG_CRQ"),
    Row("length 4097", "client", H.H_REG_CRQ, reg(length=4097), R.H_PARAMETER, source="LoPAR H_REG_CRQ"),
    Row("length 0", "client", H.H_REG_CRQ, reg(length=0), R.H_PARAMETER, choice=2),
    Row("page not mapped", "client", H.H_REG_CRQ, reg(ioba=NO_ACCESS), R.H_PARAMETER, source="LoPAR H_REG_CRQ"),
    Row("last page not mapped", "client", H.H_REG_CRQ, reg(ioba=MAPPED - 4096, length=8192), R.H_PARAMETER,
        source="LoPAR H_REG_CRQ: every page"),
    Row("page without write", "client", H.H_REG_CRQ, reg(ioba=READ_ONLY), R.H_PARAMETER, choice=1),
    Row("page without read", "client", H.H_REG_CRQ, reg(ioba=WRITE_ONLY), R.H_PARAMETER, choice=1),
    Row("outside the window", "client", H.H_REG_CRQ, reg(ioba=WINDOW), R.H_PARAMETER, source="LoPAR H_REG_CRQ"),
    Row("across the end of the window", "client", H.H_REG_CRQ, reg(length=WINDOW + 4096), R.H_PARAMETER,
        source="LoPAR H_REG_CRQ"),
    Row("address that wraps", "client", H.H_REG_CRQ, reg(ioba=(1 << 64) - 4096, length=8192), R.H_PARAMETER,
        source="LoPAR H_REG_CRQ"),
    Row("length that wraps", "client", H.H_REG_CRQ, reg(ioba=4096, length=(1 << 64) - 4096), R.H_PARAMETER,
        source="LoPAR H_REG_CRQ"),
    Row("registered already", "client", H.H_REG_CRQ, reg(), R.H_RESOURCE, ("client registers",),
        source="LoPAR H_REG_CRQ"),
    Row("queue before registered already", "client", H.H_REG_CRQ, reg(ioba=16), R.H_PARAMETER, ("client registers",),
        source="LoPAR H_REG_CRQ: order"),
    Row("registered already leaves the queue", "client", H.H_REG_CRQ, reg(ioba=0x4000), R.H_RESOURCE,
        (*BOTH, "server sends 1"), effects={"server send": R.H_SUCCESS, "client bytes 0x4000 1": "00"},
        source="LoPAR H_REG_CRQ"),
    Row("several pages", "client", H.H_REG_CRQ, reg(length=0x10000), R.H_CLOSED, source="LoPAR H_REG_CRQ"),
    Row("starts at offset 0 again", "client", H.H_REG_CRQ, reg(), R.H_SUCCESS,
        (*BOTH, "server sends 3", "client frees", "client takes 4"),
        effects={"server send": R.H_SUCCESS, "client ring 0": "80000000000000ee" + "00" * 8},
        source="LoPAR H_REG_CRQ: enqueue pointer"),
    Row("interrupt starts off", "client", H.H_REG_CRQ, reg(), R.H_SUCCESS,
        (*BOTH, "client unmasks", "client frees", "client acknowledges"),
        effects={"server send": R.H_SUCCESS, "client interrupted": False}, source="LoPAR R1-21"),
    Row("nothing pends from before", "client", H.H_REG_CRQ, reg(), R.H_SUCCESS,
        (*BOTH, "server sends 1", "client frees", "client takes 1"), effects={"client interrupted": False},
        source="LoPAR H_REG_CRQ"),
    Row("copies work once both are registered", "client", H.H_REG_CRQ, reg(), R.H_SUCCESS, ("server registers",),
        effects={"server copy": R.H_SUCCESS}, source="LoPAR R1-16", clauses=("CRQ-H-7",)),
)  # fmt: skip

FREEING = (
    Row("success and an event", "client", H.H_FREE_CRQ, ("client.ua",), R.H_SUCCESS, BOTH,
        effects={"server ring 0": "ff02" + "00" * 14, "server send": R.H_CLOSED, "client send": R.H_CLOSED},
        source="LoPAR H_FREE_CRQ, R1-14", clauses=("CRQ-H-9",)),
    Row("unknown unit address", "client", H.H_FREE_CRQ, (UNKNOWN_UNIT,), R.H_PARAMETER, source="LoPAR H_FREE_CRQ"),
    Row("not registered", "client", H.H_FREE_CRQ, ("client.ua",), R.H_SUCCESS, ("server registers",),
        effects={"server ring 0": FREE}, choice=3),
    Row("partner not registered", "client", H.H_FREE_CRQ, ("client.ua",), R.H_SUCCESS, ("client registers",),
        effects={"server ring 0": FREE}, source="LoPAR H_FREE_CRQ"),
    Row("once more", "client", H.H_FREE_CRQ, ("client.ua",), R.H_SUCCESS, (*BOTH, "client frees"),
        effects={"server ring 0": "ff02" + "00" * 14, "server ring 1": FREE}, choice=3),
    Row("event signals", "client", H.H_FREE_CRQ, ("client.ua",), R.H_SUCCESS, (*BOTH, "server unmasks"),
        effects={"server interrupted": True}, source="LoPAR H_FREE_CRQ"),
    Row("own interrupt goes off", "client", H.H_FREE_CRQ, ("client.ua",), R.H_SUCCESS,
        (*BOTH, "client unmasks", "client acknowledges"), effects={"client interrupted": False},
        source="LoPAR R1-22"),
    Row("copies end", "client", H.H_FREE_CRQ, ("client.ua",), R.H_SUCCESS, BOTH,
        effects={"server copy": by("closed_pane_permission", R.H_PERMISSION, R.H_S_PARM)},
        source="LoPAR R1-5, R1-16", clauses=("CRQ-H-7",)),
    Row("own mappings stay", "client", H.H_FREE_CRQ, ("client.ua",), R.H_SUCCESS, BOTH,
        effects={"client tce 0x10000": 0x10003}, source="LoPAR R1-15"),
    Row("earlier entries stay", "client", H.H_FREE_CRQ, ("client.ua",), R.H_SUCCESS, (*BOTH, "client sends 1"),
        effects={"server ring 0": "80" + "00" * 15, "server ring 1": "ff02" + "00" * 14},
        source="LoPAR H_FREE_CRQ"),
    Row("the other connection stays", "client", H.H_FREE_CRQ, ("client.ua",), R.H_SUCCESS,
        (*BOTH, "other registers", "server2 registers"), effects={"other send": R.H_SUCCESS},
        source="LoPAR H_FREE_CRQ"),
)  # fmt: skip


def send(high: int = COMMAND, low: int = 0x0123456789ABCDEF, ua: object = "client.ua") -> tuple[object, ...]:
    return (ua, high, low)


SENT = "8000000000000001" + "0123456789abcdef"

SENDING = (
    Row("delivered", "client", H.H_SEND_CRQ, send(), R.H_SUCCESS, BOTH,
        effects={"server ring 0": SENT, "server ring 1": FREE}, source="LoPAR H_SEND_CRQ", clauses=("CRQ-H-1",)),
    Row("in order", "client", H.H_SEND_CRQ, send(), R.H_SUCCESS, (*BOTH, "client sends 2"),
        effects={"server ring 1": "8000000000000001" + "00" * 7 + "01", "server ring 2": SENT},
        source="LoPAR R1-6", clauses=("CRQ-H-1",)),
    Row("server to client", "server", H.H_SEND_CRQ, send(ua="server.ua"), R.H_SUCCESS, BOTH,
        effects={"client ring 0": SENT}, source="LoPAR H_SEND_CRQ"),
    Row("only to its own partner", "server", H.H_SEND_CRQ, send(ua="server2.ua"), R.H_CLOSED, BOTH,
        effects={"client ring 0": FREE}, source="LoPAR H_SEND_CRQ"),
    Row("unknown unit address", "client", H.H_SEND_CRQ, send(ua=UNKNOWN_UNIT), R.H_PARAMETER, BOTH,
        source="LoPAR H_SEND_CRQ"),
    Row("header 0x00", "client", H.H_SEND_CRQ, send(high=1), R.H_PARAMETER, BOTH, effects={"server ring 0": FREE},
        source="LoPAR H_SEND_CRQ", clauses=("CRQ-H-13",)),
    Row("header 0x7f", "client", H.H_SEND_CRQ, send(high=0x7F << 56), R.H_PARAMETER, BOTH,
        effects={"server ring 0": FREE}, source="LoPAR H_SEND_CRQ", clauses=("CRQ-H-13",)),
    Row("header 0xff", "client", H.H_SEND_CRQ, send(high=0xFF << 56), R.H_PARAMETER, BOTH,
        effects={"server ring 0": FREE}, source="LoPAR H_SEND_CRQ", clauses=("CRQ-H-13",)),
    Row("reserved header 0x81 gets through", "client", H.H_SEND_CRQ, send(high=0x81 << 56), R.H_SUCCESS, BOTH,
        source="LoPAR H_SEND_CRQ"),
    Row("reserved header 0xfe gets through", "client", H.H_SEND_CRQ, send(high=0xFE << 56), R.H_SUCCESS, BOTH,
        source="LoPAR H_SEND_CRQ"),
    Row("initialization gets through", "client", H.H_SEND_CRQ, send(high=0xC001 << 48), R.H_SUCCESS, BOTH,
        source="LoPAR H_SEND_CRQ"),
    Row("bad header while closed", "client", H.H_SEND_CRQ, send(high=1), R.H_PARAMETER, choice=4),
    Row("own queue closed", "client", H.H_SEND_CRQ, send(), R.H_CLOSED, ("server registers",),
        effects={"server ring 0": FREE}, source="LoPAR H_SEND_CRQ"),
    Row("partner's queue closed", "client", H.H_SEND_CRQ, send(), R.H_CLOSED, ("client registers",),
        source="LoPAR H_SEND_CRQ", clauses=("CRQ-H-18",)),
    Row("both closed", "client", H.H_SEND_CRQ, send(), R.H_CLOSED, source="LoPAR H_SEND_CRQ"),
    Row("full", "client", H.H_SEND_CRQ, send(), R.H_DROPPED, (*BOTH, "client fills"),
        effects={"server ring 0": "80" + "00" * 15}, source="LoPAR H_SEND_CRQ", clauses=("CRQ-H-3",)),
    Row("one slot not freed stalls the ring", "client", H.H_SEND_CRQ, send(), R.H_DROPPED,
        (*BOTH, "client fills", "server takes 250 1"), source="LoPAR R1-6"),
    Row("goes on once the slots are freed", "client", H.H_SEND_CRQ, send(), R.H_SUCCESS,
        (*BOTH, "client fills", "server takes 2"), source="LoPAR R1-6"),
    Row("wraps to slot 0", "client", H.H_SEND_CRQ, send(), R.H_SUCCESS,
        (*BOTH, "client sends 255", "server takes 255", "client sends 1", "server takes 1 255"),
        effects={"server ring 0": SENT}, source="LoPAR R1-6"),
    Row("ring unmapped", "client", H.H_SEND_CRQ, send(), R.H_DROPPED, (*BOTH, "server unmaps 0 0x1000"), choice=5),
    Row("signals when unmasked", "client", H.H_SEND_CRQ, send(), R.H_SUCCESS, (*BOTH, "server unmasks"),
        effects={"server interrupted": True, "client interrupted": False}, source="LoPAR H_SEND_CRQ"),
    Row("silent while masked", "client", H.H_SEND_CRQ, send(), R.H_SUCCESS, BOTH,
        effects={"server interrupted": False}, source="LoPAR H_SEND_CRQ"),
    Row("disabled by a suspension", "server", H.H_SEND_CRQ, send(ua="server.ua"), R.H_CLOSED,
        (*BOTH, "client suspends"), source="LoPAR event 0x06"),
)  # fmt: skip

ENABLING = (
    Row("unknown unit address", "client", H.H_ENABLE_CRQ, (UNKNOWN_UNIT,), R.H_PARAMETER, source="LoPAR H_ENABLE_CRQ"),
    Row("never registered", "client", H.H_ENABLE_CRQ, ("client.ua",), R.H_PARAMETER, choice=8),
    Row("open already", "client", H.H_ENABLE_CRQ, ("client.ua",), R.H_SUCCESS, BOTH,
        effects={"client send": R.H_SUCCESS}, choice=8),
    Row("after a suspension", "client", H.H_ENABLE_CRQ, ("client.ua",), R.H_SUCCESS, (*BOTH, "client suspends"),
        effects={"client ring 0": "ff06" + "00" * 14, "server send": R.H_SUCCESS, "client send": R.H_SUCCESS},
        source="LoPAR H_ENABLE_CRQ"),
    Row("ring not mapped", "client", H.H_ENABLE_CRQ, ("client.ua",), R.H_HARDWARE,
        (*BOTH, "client suspends", "client unmaps 0 0x1000"), effects={"client send": R.H_CLOSED},
        source="LoPAR H_ENABLE_CRQ: success implies that the pages are there"),
)  # fmt: skip

SIGNALLING = (
    Row("on", "server", H.H_VIO_SIGNAL, ("server.ua", 1), R.H_SUCCESS, BOTH,
        effects={"client send": R.H_SUCCESS, "server interrupted": True}, source="LoPAR H_VIO_SIGNAL"),
    Row("off", "server", H.H_VIO_SIGNAL, ("server.ua", 0), R.H_SUCCESS, (*BOTH, "server unmasks"),
        effects={"client send": R.H_SUCCESS, "server interrupted": False}, source="LoPAR H_VIO_SIGNAL"),
    Row("an entry that came while off", "server", H.H_VIO_SIGNAL, ("server.ua", 1), R.H_SUCCESS,
        (*BOTH, "client sends 1"), effects={"server interrupted": True}, clauses=("CRQ-H-4",), choice=6),
    Row("an entry that was told already and not taken", "server", H.H_VIO_SIGNAL, ("server.ua", 1), R.H_SUCCESS,
        (*BOTH, "server unmasks", "client sends 1", "server acknowledges", "server masks"),
        effects={"server interrupted": True}, choice=6),
    Row("an entry that was taken while off", "server", H.H_VIO_SIGNAL, ("server.ua", 1), R.H_SUCCESS,
        (*BOTH, "client sends 1", "server takes 1"), effects={"server interrupted": False}, choice=6),
    Row("the newest of a full ring", "server", H.H_VIO_SIGNAL, ("server.ua", 1), R.H_SUCCESS,
        (*BOTH, "client fills"), effects={"server interrupted": True}, choice=6),
    Row("unknown unit address", "server", H.H_VIO_SIGNAL, (UNKNOWN_UNIT, 1), R.H_PARAMETER,
        source="LoPAR H_VIO_SIGNAL"),
    Row("unknown bits", "server", H.H_VIO_SIGNAL, ("server.ua", 4),
        by("signal_refuses_unknown_bits", R.H_PARAMETER, R.H_SUCCESS), choice=9),
    Row("unknown bits beside the first", "server", H.H_VIO_SIGNAL, ("server.ua", 5),
        by("signal_refuses_unknown_bits", R.H_PARAMETER, R.H_SUCCESS),
        (*BOTH, "client sends 1"),
        effects={"server interrupted": lambda profile: not profile.signal_refuses_unknown_bits}, choice=9),
)  # fmt: skip

# What happens to the partner: the call is a look at its state after the event.
EVENTS = (
    Row("death", "server", H.H_SEND_CRQ, send(ua="server.ua"), R.H_CLOSED, (*BOTH, "client dies"),
        effects={"server ring 0": "ff01" + "00" * 14}, source="LoPAR R1-13", clauses=("CRQ-H-8",)),
    Row("power off", "server", H.H_SEND_CRQ, send(ua="server.ua"), R.H_CLOSED, (*BOTH, "client stops"),
        effects={"server ring 0": "ff01" + "00" * 14}, source="LoPAR R1-13"),
    Row("death of an unregistered partner says nothing", "server", H.H_SEND_CRQ, send(ua="server.ua"), R.H_CLOSED,
        ("server registers", "client dies"), effects={"server ring 0": FREE}, source="LoPAR R1-13"),
    Row("death signals", "server", H.H_SEND_CRQ, send(ua="server.ua"), R.H_CLOSED,
        (*BOTH, "server unmasks", "client dies"), effects={"server interrupted": True}, source="LoPAR R1-13"),
    Row("death spares other connections", "other", H.H_SEND_CRQ, send(ua="other.ua"), R.H_SUCCESS,
        (*BOTH, "other registers", "server2 registers", "client dies"), effects={"server2 ring 0": SENT},
        source="LoPAR R1-13"),
    Row("deregistration overlays the last entry", "server", H.H_SEND_CRQ, send(ua="server.ua"), R.H_CLOSED,
        (*BOTH, "client fills", "client frees"),
        effects={f"server ring {LAST}": lambda profile: "ff02" + "00" * 14 if profile.event_slot_reserved
                 else f"ff0200{'20' if profile.overwritten_mark else '00'}" + "00" * 11 + "ff"},
        source="LoPAR H_FREE_CRQ", clauses=("CRQ-H-3",)),
    Row("death overlays the last entry", "server", H.H_SEND_CRQ, send(ua="server.ua"), R.H_CLOSED,
        (*BOTH, "client fills", "client dies"),
        effects={f"server ring {LAST}": lambda profile: "ff01" + "00" * 14 if profile.event_slot_reserved
                 else f"ff0100{'20' if profile.overwritten_mark else '00'}" + "00" * 11 + "ff"}, choice=7),
)  # fmt: skip

ROWS = {
    "H_REG_CRQ": REGISTER,
    "H_FREE_CRQ": FREEING,
    "H_SEND_CRQ": SENDING,
    "H_ENABLE_CRQ": ENABLING,
    "H_VIO_SIGNAL": SIGNALLING,
    "events": EVENTS,
}

PARAMETERS = [
    pytest.param(row, id=f"{call}-{row.name}", marks=pytest.mark.clause(*row.clauses))
    for call, rows in ROWS.items()
    for row in rows
]
