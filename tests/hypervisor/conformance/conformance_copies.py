# SPDX-License-Identifier: Apache-2.0
"""Rows for H_COPY_RDMA, H_READ_RDMA and H_WRITE_RDMA."""

import pytest
from conformance_row import Row, by
from conformance_scene import DATA, MAPPED, NO_ACCESS, PATTERN, READ_ONLY, WINDOW, WRITE_ONLY

from virtio_crq.papr.hypercalls import Hypercall
from virtio_crq.papr.returncodes import ReturnCode

H, R = Hypercall, ReturnCode  # short, so that a row is read at a glance
BOTH = ("client registers", "server registers")
UNKNOWN_LIOBN = 0x7FFFFFFF
OWN = DATA + 0x8000
KIB = 1024


def pull(length: int, remote: int = DATA, own: int = OWN) -> tuple[object, ...]:
    return (length, "server.remote", remote, "server.liobn", own)


def push(length: int, remote: int = DATA, own: int = OWN) -> tuple[object, ...]:
    return (length, "server.liobn", own, "server.remote", remote)


def shown(length: int, first: int = 0) -> str:
    return PATTERN[first : first + length].hex()


NOTHING = {f"server bytes {OWN} 16": "00" * 16}

COPYING = (
    Row("remote to local", "server", H.H_COPY_RDMA, pull(512), R.H_SUCCESS, (*BOTH, f"client writes {DATA}"),
        effects={f"server bytes {OWN} 512": shown(512), f"server bytes {OWN + 512} 16": "00" * 16},
        source="LoPAR H_COPY_RDMA", clauses=("CRQ-H-11",)),
    Row("local to remote", "server", H.H_COPY_RDMA, push(512), R.H_SUCCESS, (*BOTH, f"server writes {OWN}"),
        effects={f"client bytes {DATA} 512": shown(512), f"client bytes {DATA + 512} 16": "00" * 16},
        source="LoPAR H_COPY_RDMA"),
    Row("odd addresses and length", "server", H.H_COPY_RDMA, pull(1001, DATA + 3, OWN + 5), R.H_SUCCESS,
        (*BOTH, f"client writes {DATA}"), effects={f"server bytes {OWN + 5} 1001": shown(1001, 3)},
        source="LoPAR H_COPY_RDMA: no alignment rule"),
    Row("across pages", "server", H.H_COPY_RDMA, pull(3 * 4096, DATA + 100, OWN + 4000), R.H_SUCCESS,
        (*BOTH, f"client writes {DATA} {4 * 4096}"),
        effects={f"server bytes {OWN + 4000} 12": shown(12, 100), f"server bytes {OWN + 12192} 12": shown(12, 100)},
        source="LoPAR H_COPY_RDMA"),
    Row("longest that every platform allows", "server", H.H_COPY_RDMA, pull(128 * KIB, DATA, 0x40000), R.H_SUCCESS,
        (*BOTH, f"client writes {DATA} {128 * KIB}"), effects={f"server bytes {0x40000 + 131056} 16": shown(16, 4080)},
        source="LoPAR R1-4"),
    Row("longer than the maximum", "server", H.H_COPY_RDMA, pull(128 * KIB + 1, DATA, 0x40000),
        by("max_copy", R.H_PARAMETER, R.H_SUCCESS), BOTH, source="LoPAR R1-4", clauses=("CRQ-H-17",)),
    Row("length before LIOBN", "server", H.H_COPY_RDMA, (1 << 40, UNKNOWN_LIOBN, 0, UNKNOWN_LIOBN, 0),
        by("max_copy", R.H_PARAMETER, R.H_S_PARM), BOTH, choice=11),
    Row("length 0", "server", H.H_COPY_RDMA, pull(0, NO_ACCESS), R.H_SUCCESS, BOTH, effects=NOTHING, choice=10),
    Row("length 0 outside", "server", H.H_COPY_RDMA, pull(0, WINDOW + 1), R.H_S_PARM, BOTH, choice=10),
    Row("unknown source", "server", H.H_COPY_RDMA, (16, UNKNOWN_LIOBN, DATA, "server.liobn", OWN), R.H_S_PARM, BOTH,
        source="LoPAR H_COPY_RDMA", clauses=("CRQ-H-6",)),
    Row("unknown destination", "server", H.H_COPY_RDMA, (16, "server.liobn", DATA, UNKNOWN_LIOBN, OWN), R.H_D_PARM,
        BOTH, source="LoPAR H_COPY_RDMA", clauses=("CRQ-H-6",)),
    Row("both unknown: the source first", "server", H.H_COPY_RDMA, (16, UNKNOWN_LIOBN, 0, UNKNOWN_LIOBN, 0),
        R.H_S_PARM, BOTH, choice=11),
    Row("destination LIOBN before source range", "server", H.H_COPY_RDMA,
        (16, "server.remote", WINDOW, UNKNOWN_LIOBN, 0), R.H_D_PARM, BOTH, choice=11),
    Row("another partition's pane as source", "server", H.H_COPY_RDMA,
        (16, "client.liobn", DATA, "server.liobn", OWN), R.H_S_PARM, BOTH, source="LoPAR H_COPY_RDMA",
        clauses=("CRQ-H-6",)),
    Row("another partition's pane as destination", "client", H.H_COPY_RDMA,
        (16, "client.liobn", DATA, "server.liobn", OWN), R.H_D_PARM, BOTH, source="LoPAR H_COPY_RDMA"),
    Row("a server's second pane used by its client", "client", H.H_COPY_RDMA,
        (16, "server.remote", DATA, "client.liobn", OWN), R.H_S_PARM, BOTH, source="LoPAR H_COPY_RDMA"),
    Row("source ends outside", "server", H.H_COPY_RDMA, pull(4096, WINDOW - 4095), R.H_S_PARM, BOTH, effects=NOTHING,
        source="LoPAR H_COPY_RDMA", clauses=("CRQ-H-6",)),
    Row("source wraps", "server", H.H_COPY_RDMA, pull(4096, (1 << 64) - 8), R.H_S_PARM, BOTH, effects=NOTHING,
        source="LoPAR H_COPY_RDMA", clauses=("CRQ-H-6",)),
    Row("destination ends outside", "server", H.H_COPY_RDMA, pull(4096, DATA, WINDOW - 4095), R.H_D_PARM, BOTH,
        source="LoPAR H_COPY_RDMA", clauses=("CRQ-H-6",)),
    Row("destination wraps", "server", H.H_COPY_RDMA, pull(4096, DATA, (1 << 64) - 8), R.H_D_PARM, BOTH,
        source="LoPAR H_COPY_RDMA", clauses=("CRQ-H-6",)),
    Row("source not mapped", "server", H.H_COPY_RDMA, pull(16, NO_ACCESS), R.H_PERMISSION, BOTH, effects=NOTHING,
        source="LoPAR H_COPY_RDMA", clauses=("CRQ-H-5",)),
    Row("source may not be read", "server", H.H_COPY_RDMA, pull(16, WRITE_ONLY), R.H_PERMISSION, BOTH, effects=NOTHING,
        source="LoPAR H_COPY_RDMA", clauses=("CRQ-H-5",)),
    Row("source may be read", "server", H.H_COPY_RDMA, pull(16, READ_ONLY), R.H_SUCCESS, BOTH,
        source="LoPAR H_COPY_RDMA"),
    Row("destination may not be written", "server", H.H_COPY_RDMA, push(16, READ_ONLY), R.H_PERMISSION, BOTH,
        source="LoPAR H_COPY_RDMA", clauses=("CRQ-H-5",)),
    Row("destination may be written", "server", H.H_COPY_RDMA, push(16, WRITE_ONLY), R.H_SUCCESS, BOTH,
        source="LoPAR H_COPY_RDMA"),
    Row("own end not mapped", "server", H.H_COPY_RDMA, pull(16, DATA, NO_ACCESS), R.H_PERMISSION, BOTH,
        source="LoPAR H_COPY_RDMA: both ends are mapped"),
    Row("last page lacks access: nothing moves", "server", H.H_COPY_RDMA, pull(8192, MAPPED - 4096), R.H_PERMISSION,
        (*BOTH, f"client writes {MAPPED - 4096}"), effects=NOTHING, choice=12),
    Row("nobody registered", "server", H.H_COPY_RDMA, pull(16),
        by("closed_pane_permission", R.H_PERMISSION, R.H_S_PARM), source="LoPAR R1-16", clauses=("CRQ-H-7",)),
    Row("client not registered", "server", H.H_COPY_RDMA, push(16),
        by("closed_pane_permission", R.H_PERMISSION, R.H_D_PARM), ("server registers",),
        source="LoPAR R1-16", clauses=("CRQ-H-7",)),
    Row("server not registered", "server", H.H_COPY_RDMA, push(16),
        by("closed_pane_permission", R.H_PERMISSION, R.H_D_PARM), ("client registers",),
        source="LoPAR R1-16", clauses=("CRQ-H-7",)),
    Row("client dead", "server", H.H_COPY_RDMA, push(16),
        by("closed_pane_permission", R.H_PERMISSION, R.H_D_PARM), (*BOTH, "client dies"), source="LoPAR R1-5"),
    Row("within the own pane", "client", H.H_COPY_RDMA, (64, "client.liobn", DATA, "client.liobn", OWN), R.H_SUCCESS,
        (f"client writes {DATA}",), effects={f"client bytes {OWN} 64": shown(64)},
        source="LoPAR H_COPY_RDMA: each LIOBN in a window of the caller"),
    Row("from client to client", "server", H.H_COPY_RDMA, (64, "server.remote", DATA, "server2.remote", DATA),
        by("cross_pane_copy", R.H_SUCCESS, R.H_D_PARM),
        (*BOTH, "other registers", "server2 registers", f"client writes {DATA}"),
        effects={f"other bytes {DATA} 64": lambda profile: shown(64) if profile.cross_pane_copy else "00" * 64},
        source="A-3"),
    Row("revoked page", "server", H.H_COPY_RDMA, pull(16), R.H_PERMISSION, (*BOTH, f"client unmaps {DATA} 4096"),
        effects=NOTHING, clauses=("CRQ-H-10",)),
)  # fmt: skip


def words(length: int, count: int) -> tuple[int, ...]:
    data = PATTERN[:length].ljust(8 * count, b"\0")
    return tuple(int.from_bytes(data[8 * index : 8 * index + 8], "big") for index in range(count))


READING = (
    Row("72 bytes", "server", H.H_READ_RDMA, (72, "server.remote", DATA), R.H_SUCCESS, (*BOTH, f"client writes {DATA}"),
        outputs=words(72, 9), source="LoPAR H_READ_RDMA"),
    Row("5 bytes: the rest is zero", "server", H.H_READ_RDMA, (5, "server.remote", DATA), R.H_SUCCESS,
        (*BOTH, f"client writes {DATA}"), outputs=words(5, 9), choice=13),
    Row("across pages", "server", H.H_READ_RDMA, (16, "server.remote", DATA + 4088), R.H_SUCCESS,
        (*BOTH, f"client writes {DATA} 8192"), outputs=(0xF8F9FAFBFCFDFEFF, 0x0001020304050607),
        source="LoPAR H_READ_RDMA"),
    Row("73 bytes", "server", H.H_READ_RDMA, (73, "server.remote", DATA), R.H_PARAMETER, BOTH,
        source="LoPAR H_READ_RDMA"),
    Row("length before LIOBN", "server", H.H_READ_RDMA, (73, UNKNOWN_LIOBN, DATA), R.H_PARAMETER, BOTH,
        source="LoPAR H_READ_RDMA"),
    Row("unknown LIOBN", "server", H.H_READ_RDMA, (8, UNKNOWN_LIOBN, DATA), R.H_S_PARM, BOTH,
        source="LoPAR H_READ_RDMA"),
    Row("another's pane", "client", H.H_READ_RDMA, (8, "server.liobn", DATA), R.H_S_PARM, BOTH,
        source="LoPAR H_READ_RDMA"),
    Row("outside", "server", H.H_READ_RDMA, (8, "server.remote", WINDOW - 7), R.H_S_PARM, BOTH,
        source="LoPAR H_READ_RDMA"),
    Row("wraps", "server", H.H_READ_RDMA, (8, "server.remote", (1 << 64) - 4), R.H_S_PARM, BOTH,
        source="LoPAR H_READ_RDMA"),
    Row("may not be read", "server", H.H_READ_RDMA, (8, "server.remote", WRITE_ONLY), R.H_PERMISSION, BOTH,
        source="LoPAR H_READ_RDMA"),
    Row("not connected", "server", H.H_READ_RDMA, (8, "server.remote", DATA),
        by("closed_pane_permission", R.H_PERMISSION, R.H_S_PARM), ("server registers",), source="LoPAR R1-16"),
    Row("own pane", "client", H.H_READ_RDMA, (8, "client.liobn", DATA), R.H_SUCCESS, (f"client writes {DATA}",),
        outputs=words(8, 1), choice=14),
    Row("no bytes", "server", H.H_READ_RDMA, (0, "server.remote", DATA), R.H_SUCCESS, BOTH, outputs=(0,) * 9,
        choice=13),
)  # fmt: skip

WRITING = (
    Row("48 bytes", "server", H.H_WRITE_RDMA, (48, "server.remote", DATA, *words(48, 6)), R.H_SUCCESS, BOTH,
        effects={f"client bytes {DATA} 48": shown(48), f"client bytes {DATA + 48} 8": "00" * 8},
        source="LoPAR H_WRITE_RDMA: high byte first"),
    Row("3 bytes", "server", H.H_WRITE_RDMA, (3, "server.remote", DATA, *words(48, 6)), R.H_SUCCESS, BOTH,
        effects={f"client bytes {DATA} 4": shown(3) + "00"}, source="LoPAR H_WRITE_RDMA"),
    Row("49 bytes", "server", H.H_WRITE_RDMA, (49, "server.remote", DATA, *words(48, 6)), R.H_PARAMETER, BOTH,
        effects={f"client bytes {DATA} 8": "00" * 8}, source="LoPAR H_WRITE_RDMA"),
    Row("unknown LIOBN", "server", H.H_WRITE_RDMA, (8, UNKNOWN_LIOBN, DATA, 1), R.H_D_PARM, BOTH,
        source="LoPAR H_WRITE_RDMA"),
    Row("outside", "server", H.H_WRITE_RDMA, (8, "server.remote", WINDOW - 7, 1), R.H_D_PARM, BOTH,
        source="LoPAR H_WRITE_RDMA"),
    Row("may not be written", "server", H.H_WRITE_RDMA, (8, "server.remote", READ_ONLY, 1), R.H_PERMISSION, BOTH,
        effects={f"client bytes {READ_ONLY} 8": "00" * 8}, source="LoPAR H_WRITE_RDMA"),
    Row("second page may not be written: nothing is", "server", H.H_WRITE_RDMA,
        (16, "server.remote", MAPPED - 8, (1 << 64) - 1, 1), R.H_PERMISSION, BOTH,
        effects={f"client bytes {MAPPED - 8} 8": "00" * 8}, choice=12),
    Row("not connected", "server", H.H_WRITE_RDMA, (8, "server.remote", DATA, 1),
        by("closed_pane_permission", R.H_PERMISSION, R.H_D_PARM), ("client registers",), source="LoPAR R1-16"),
    Row("own pane", "client", H.H_WRITE_RDMA, (8, "client.liobn", DATA, words(8, 1)[0]), R.H_SUCCESS,
        effects={f"client bytes {DATA} 8": shown(8)}, choice=14),
)  # fmt: skip

ROWS = {"H_COPY_RDMA": COPYING, "H_READ_RDMA": READING, "H_WRITE_RDMA": WRITING}

PARAMETERS = [
    pytest.param(row, id=f"{call}-{row.name}", marks=pytest.mark.clause(*row.clauses))
    for call, rows in ROWS.items()
    for row in rows
]
