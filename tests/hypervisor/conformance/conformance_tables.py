# SPDX-License-Identifier: Apache-2.0
"""Rows for the TCE calls and H_VIOCTL."""

import pytest
from conformance_row import Row
from conformance_scene import DATA, MAPPED, MEMORY, NO_ACCESS, READ_ONLY, WINDOW

from virtio_crq.papr.hypercalls import Hypercall
from virtio_crq.papr.returncodes import ReturnCode
from virtio_crq.papr.vioctl import Subfunction

H, R, S = Hypercall, ReturnCode, Subfunction  # short, so that a row is read at a glance
BOTH = ("client registers", "server registers")
UNKNOWN_LIOBN = 0x7FFFFFFF
NEW = 0x1C0000  # a place of the window that nothing is mapped at


def put(ioba: int = NEW, tce: int = DATA | 3, liobn: object = "client.liobn") -> tuple[object, ...]:
    return (liobn, ioba, tce)


PUTTING = (
    Row("maps", "client", H.H_PUT_TCE, put(), R.H_SUCCESS, effects={f"client tce {NEW}": DATA | 3},
        source="LoPAR H_PUT_TCE"),
    Row("unmaps", "client", H.H_PUT_TCE, put(DATA, 0), R.H_SUCCESS, effects={f"client tce {DATA}": 0},
        source="LoPAR H_PUT_TCE"),
    Row("replaces", "client", H.H_PUT_TCE, put(DATA, 0x5001), R.H_SUCCESS, effects={f"client tce {DATA}": 0x5001},
        source="LoPAR H_PUT_TCE"),
    Row("unknown LIOBN", "client", H.H_PUT_TCE, put(liobn=UNKNOWN_LIOBN), R.H_PARAMETER, source="LoPAR H_PUT_TCE"),
    Row("another partition's window", "client", H.H_PUT_TCE, put(liobn="server.liobn"), R.H_PARAMETER,
        effects={f"server tce {NEW}": 0}, source="LoPAR H_PUT_TCE"),
    Row("through a second pane", "server", H.H_PUT_TCE, put(liobn="server.remote"), R.H_PARAMETER, BOTH,
        effects={f"client tce {NEW}": 0}, source="LoPAR 2nd pane: no TCE writes through it"),
    Row("address not aligned", "client", H.H_PUT_TCE, put(NEW + 8), R.H_PARAMETER, effects={f"client tce {NEW}": 0},
        source="LoPAR H_PUT_TCE"),
    Row("outside the window", "client", H.H_PUT_TCE, put(WINDOW), R.H_PARAMETER, source="LoPAR H_PUT_TCE"),
    Row("far outside", "client", H.H_PUT_TCE, put((1 << 64) - 4096), R.H_PARAMETER, source="LoPAR H_PUT_TCE"),
    Row("memory that is not there", "client", H.H_PUT_TCE, put(tce=MEMORY | 3), R.H_PARAMETER,
        effects={f"client tce {NEW}": 0}, choice=16),
    Row("memory far away", "client", H.H_PUT_TCE, put(tce=(1 << 64) - 4096 | 3), R.H_PARAMETER, choice=16),
    Row("no access to no memory", "client", H.H_PUT_TCE, put(DATA, 1 << 60), R.H_SUCCESS, choice=16),
    Row("reserved bits", "client", H.H_PUT_TCE, put(tce=DATA | 0xFFF), R.H_SUCCESS,
        effects={f"client tce {NEW}": DATA | 3}, choice=17),
)  # fmt: skip

GETTING = (
    Row("mapped", "client", H.H_GET_TCE, ("client.liobn", DATA), R.H_SUCCESS, outputs=(DATA | 3,),
        source="LoPAR H_GET_TCE"),
    Row("read-only", "client", H.H_GET_TCE, ("client.liobn", READ_ONLY), R.H_SUCCESS, outputs=(READ_ONLY | 1,),
        source="LoPAR TCE bits"),
    Row("not mapped", "client", H.H_GET_TCE, ("client.liobn", NO_ACCESS), R.H_SUCCESS, outputs=(0,),
        source="LoPAR H_GET_TCE"),
    Row("unknown LIOBN", "client", H.H_GET_TCE, (UNKNOWN_LIOBN, 0), R.H_PARAMETER, source="LoPAR H_GET_TCE"),
    Row("another's window", "client", H.H_GET_TCE, ("server.liobn", 0), R.H_PARAMETER, source="LoPAR H_GET_TCE"),
    Row("through a second pane", "server", H.H_GET_TCE, ("server.remote", 0), R.H_PARAMETER, BOTH,
        source="LoPAR 2nd pane"),
    Row("outside", "client", H.H_GET_TCE, ("client.liobn", WINDOW), R.H_PARAMETER, source="LoPAR H_GET_TCE"),
    Row("wraps", "client", H.H_GET_TCE, ("client.liobn", (1 << 64) - 4096), R.H_PARAMETER, source="LoPAR H_GET_TCE"),
)  # fmt: skip


def stuff(count: int, tce: int = 0, ioba: int = DATA, liobn: object = "client.liobn") -> tuple[object, ...]:
    return (liobn, ioba, tce, count)


STUFFING = (
    Row("clears", "client", H.H_STUFF_TCE, stuff(2), R.H_SUCCESS,
        effects={f"client tce {DATA}": 0, f"client tce {DATA + 4096}": 0, f"client tce {DATA + 8192}": DATA + 8192 | 3},
        source="LoPAR H_STUFF_TCE"),
    Row("one value everywhere", "client", H.H_STUFF_TCE, stuff(2, 0x5001, NEW), R.H_SUCCESS,
        effects={f"client tce {NEW}": 0x5001, f"client tce {NEW + 4096}": 0x5001}, source="LoPAR H_STUFF_TCE"),
    Row("512 at most", "client", H.H_STUFF_TCE, stuff(512, 0, 0), R.H_SUCCESS, source="LoPAR H_STUFF_TCE"),
    Row("513", "client", H.H_STUFF_TCE, stuff(513, 0, 0), R.H_P4, effects={f"client tce {DATA}": DATA | 3},
        source="LoPAR H_STUFF_TCE"),
    Row("count that wraps", "client", H.H_STUFF_TCE, stuff(1 << 60, 0, 0), R.H_P4, source="LoPAR H_STUFF_TCE"),
    Row("none", "client", H.H_STUFF_TCE, stuff(0), R.H_SUCCESS, effects={f"client tce {DATA}": DATA | 3},
        source="LoPAR H_STUFF_TCE"),
    Row("ends outside: none is stored", "client", H.H_STUFF_TCE, stuff(2, DATA | 3, WINDOW - 4096), R.H_PARAMETER,
        effects={f"client tce {WINDOW - 4096}": 0}, choice=18),
    Row("memory that is not there", "client", H.H_STUFF_TCE, stuff(1, MEMORY | 1), R.H_PARAMETER,
        effects={f"client tce {DATA}": DATA | 3}, choice=18),
    Row("unknown LIOBN", "client", H.H_STUFF_TCE, stuff(1, liobn=UNKNOWN_LIOBN), R.H_PARAMETER,
        source="LoPAR H_STUFF_TCE"),
    Row("another's window", "client", H.H_STUFF_TCE, stuff(1, liobn="server.liobn"), R.H_PARAMETER,
        effects={f"server tce {DATA}": DATA | 3}, source="LoPAR H_STUFF_TCE"),
)  # fmt: skip

LIST = 0x300000  # a logical address; the list needs no mapping


def indirect(count: int, ioba: int = NEW, at: int = LIST, liobn: object = "client.liobn") -> tuple[object, ...]:
    return (liobn, ioba, at, count)


INDIRECT = (
    Row("maps a list", "client", H.H_PUT_TCE_INDIRECT, indirect(3), R.H_SUCCESS, (f"client lists {LIST} 3 {DATA}",),
        effects={f"client tce {NEW}": DATA | 3, f"client tce {NEW + 8192}": DATA + 8192 | 3,
                 f"client tce {NEW + 12288}": 0}, source="LoPAR H_PUT_TCE_INDIRECT: big-endian list"),
    Row("512 at most", "client", H.H_PUT_TCE_INDIRECT, indirect(512, 0), R.H_SUCCESS,
        (f"client lists {LIST} 512 0 1",), effects={f"client tce {511 * 4096}": 511 * 4096 | 1},
        source="LoPAR H_PUT_TCE_INDIRECT"),
    Row("513", "client", H.H_PUT_TCE_INDIRECT, indirect(513, 0), R.H_PARAMETER, effects={"client tce 0": 3},
        source="LoPAR H_PUT_TCE_INDIRECT"),
    Row("list not aligned", "client", H.H_PUT_TCE_INDIRECT, indirect(1, at=LIST + 8), R.H_PARAMETER,
        (f"client lists {LIST} 3 {DATA}",), effects={f"client tce {NEW}": 0}, source="LoPAR H_PUT_TCE_INDIRECT"),
    Row("list outside memory", "client", H.H_PUT_TCE_INDIRECT, indirect(1, at=1 << 40), R.H_PARAMETER,
        source="LoPAR H_PUT_TCE_INDIRECT"),
    Row("list wraps", "client", H.H_PUT_TCE_INDIRECT, indirect(1, at=(1 << 64) - 4096), R.H_PARAMETER,
        source="LoPAR H_PUT_TCE_INDIRECT"),
    Row("last entry wrong: none is stored", "client", H.H_PUT_TCE_INDIRECT, indirect(2), R.H_PARAMETER,
        (f"client lists {LIST} 2 {MEMORY - 4096}",), effects={f"client tce {NEW}": 0}, choice=18),
    Row("ends outside", "client", H.H_PUT_TCE_INDIRECT, indirect(2, WINDOW - 4096), R.H_PARAMETER,
        (f"client lists {LIST} 2 {DATA}",), effects={f"client tce {WINDOW - 4096}": 0}, choice=18),
    Row("unknown LIOBN", "client", H.H_PUT_TCE_INDIRECT, indirect(1, liobn=UNKNOWN_LIOBN), R.H_PARAMETER,
        source="LoPAR H_PUT_TCE_INDIRECT"),
    Row("through a second pane", "server", H.H_PUT_TCE_INDIRECT, indirect(1, liobn="server.remote"), R.H_PARAMETER,
        (*BOTH, f"server lists {LIST} 1 {DATA}"), effects={f"client tce {NEW}": 0}, source="LoPAR 2nd pane"),
)  # fmt: skip

UNKNOWN_UNIT = 0x3000FFFF
BUFFER = (256 << 32) | DATA

VIOCTL = (
    Row("unknown subfunction", "client", H.H_VIOCTL, ("client.ua", 0x1F), R.H_NOT_FOUND, source="LoPAR H_VIOCTL"),
    Row("subfunction 0", "client", H.H_VIOCTL, ("client.ua", 0), R.H_NOT_FOUND, source="LoPAR H_VIOCTL"),
    Row("subfunction before unit address", "client", H.H_VIOCTL, (UNKNOWN_UNIT, 0x1F), R.H_NOT_FOUND,
        source="LoPAR H_VIOCTL: order"),
    Row("unknown unit address", "client", H.H_VIOCTL, (UNKNOWN_UNIT, S.GET_PARTNER_UUID), R.H_PARAMETER,
        source="LoPAR H_VIOCTL"),
    Row("not for this adapter", "client", H.H_VIOCTL, ("client.ua", S.GET_PARTNER_WWPN_LIST), R.H_PARAMETER,
        source="LoPAR H_VIOCTL: applicable"),
    Row("a LAN subfunction", "client", H.H_VIOCTL, ("client.ua", 0x3), R.H_PARAMETER,
        source="LoPAR H_VIOCTL: applicable"),
    Row("unused parameter", "client", H.H_VIOCTL, ("client.ua", S.GET_PARTNER_UUID, 0, 0, 1), R.H_PARAMETER,
        choice=19),
    Row("unused first parameter", "client", H.H_VIOCTL, ("client.ua", S.DISABLE_ALL_INTERRUPTS, 1), R.H_PARAMETER,
        choice=19),
    Row("partner's number and unit address", "server", H.H_VIOCTL, ("server.ua", S.GET_PARTNER_INFO, BUFFER),
        R.H_SUCCESS, effects={f"server bytes {DATA} 16": "0000000000000001" + "0000000030000002"},
        source="LoPAR GET_PARTNER_INFO"),
    Row("partner info into a short buffer", "server", H.H_VIOCTL,
        ("server.ua", S.GET_PARTNER_INFO, (16 << 32) | DATA), R.H_CONSTRAINED,
        effects={f"server bytes {DATA} 16": "00" * 16}, source="LoPAR GET_PARTNER_INFO"),
    Row("partner info with control bits", "server", H.H_VIOCTL,
        ("server.ua", S.GET_PARTNER_INFO, (1 << 56) | BUFFER), R.H_PARAMETER, source="LoPAR GET_PARTNER_INFO"),
    Row("partner info into an unmapped buffer", "server", H.H_VIOCTL,
        ("server.ua", S.GET_PARTNER_INFO, (256 << 32) | NO_ACCESS), R.H_PARAMETER, choice=20),
    Row("partner info into a read-only buffer", "server", H.H_VIOCTL,
        ("server.ua", S.GET_PARTNER_INFO, (256 << 32) | READ_ONLY), R.H_PARAMETER, choice=20),
    Row("partner info across the mapped end", "server", H.H_VIOCTL,
        ("server.ua", S.GET_PARTNER_INFO, (256 << 32) | (MAPPED - 16)), R.H_PARAMETER, choice=20),
    Row("enable the interrupt", "server", H.H_VIOCTL, ("server.ua", S.ENABLE_INTERRUPT, "server.irq"), R.H_SUCCESS,
        (*BOTH, "client sends 1"), effects={"server interrupted": True}, source="LoPAR ENABLE_INTERRUPT"),
    Row("disable the interrupt", "server", H.H_VIOCTL, ("server.ua", S.DISABLE_INTERRUPT, "server.irq"), R.H_SUCCESS,
        (*BOTH, "server unmasks"), effects={"client send": R.H_SUCCESS, "server interrupted": False},
        source="LoPAR DISABLE_INTERRUPT"),
    Row("disable all interrupts", "server", H.H_VIOCTL, ("server.ua", S.DISABLE_ALL_INTERRUPTS), R.H_SUCCESS,
        (*BOTH, "server unmasks"), effects={"client send": R.H_SUCCESS, "server interrupted": False},
        source="LoPAR DISABLE_ALL_INTERRUPTS"),
    Row("another adapter's interrupt", "server", H.H_VIOCTL, ("server.ua", S.ENABLE_INTERRUPT, "server2.irq"),
        R.H_PARAMETER, source="LoPAR ENABLE_INTERRUPT"),
    Row("prepare for suspend", "server", H.H_VIOCTL, ("server.ua", S.ENABLE_PREPARE_FOR_SUSPEND, 30_000), R.H_SUCCESS,
        BOTH, source="LoPAR ENABLE_PREPARE_FOR_SUSPEND"),
    Row("prepare for suspend, too long", "server", H.H_VIOCTL,
        ("server.ua", S.ENABLE_PREPARE_FOR_SUSPEND, 30_001), R.H_PARAMETER, BOTH,
        source="LoPAR ENABLE_PREPARE_FOR_SUSPEND"),
    Row("prepare for suspend, a client", "client", H.H_VIOCTL, ("client.ua", S.ENABLE_PREPARE_FOR_SUSPEND, 1),
        R.H_PARAMETER, BOTH, source="LoPAR ENABLE_PREPARE_FOR_SUSPEND: server adapters"),
)  # fmt: skip

ROWS = {
    "H_PUT_TCE": PUTTING,
    "H_GET_TCE": GETTING,
    "H_STUFF_TCE": STUFFING,
    "H_PUT_TCE_INDIRECT": INDIRECT,
    "H_VIOCTL": VIOCTL,
}

PARAMETERS = [
    pytest.param(row, id=f"{call}-{row.name}", marks=pytest.mark.clause(*row.clauses))
    for call, rows in ROWS.items()
    for row in rows
]
