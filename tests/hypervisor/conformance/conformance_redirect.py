# SPDX-License-Identifier: Apache-2.0
"""Rows for redirected RDMA: clones of a client's entries in the table of the server's storage adapter."""

import pytest
from conformance_row import Row, by
from conformance_scene import DATA, MAPPED, NO_ACCESS, STORAGE_WINDOW, WINDOW

from virtio_crq.papr.hypercalls import Hypercall
from virtio_crq.papr.returncodes import ReturnCode
from virtio_crq.papr.vioctl import Subfunction

H, R = Hypercall, ReturnCode  # short, so that a row is read at a glance
BOTH = ("client registers", "server registers")
PLACE = 0x3000  # in the storage adapter's window
LIST = 0x8000  # in the server's RAM
ONE = (*BOTH, f"server clones {DATA} {PLACE} 1")
PAGE = 4096


def put(
    first: int = DATA,
    ioba: int = PLACE,
    count: int = 1,
    remote: object = "server.remote",
    table: object = "storage.liobn",
) -> tuple[object, ...]:
    return (remote, first, table, ioba, count)


def listed(
    count: int = 2, at: int = LIST, ioba: int = PLACE, remote: object = "server.remote", table: object = "storage.liobn"
) -> tuple[object, ...]:
    return (at, remote, table, ioba, count)


def remove(first: int = DATA, ioba: int = PLACE, count: int = 1, tce: int = 0) -> tuple[object, ...]:
    return (*put(first, ioba, count), tce)


PUTTING = (
    Row("clones", "server", H.H_PUT_RTCE, put(count=3), R.H_SUCCESS, BOTH,
        effects={f"server fetched {PLACE} 3": "whole"}, source="LoPAR H_PUT_RTCE"),
    Row("the client's end", "client", H.H_PUT_RTCE, put(), R.H_PARAMETER, BOTH, source="LoPAR H_PUT_RTCE"),
    Row("another server's pane", "other", H.H_PUT_RTCE, put(), R.H_PARAMETER, BOTH, source="LoPAR H_PUT_RTCE"),
    Row("through a first pane", "server", H.H_PUT_RTCE, put(remote="server.liobn"), R.H_PARAMETER, BOTH,
        source="LoPAR H_PUT_RTCE: r-liobn is a second pane"),
    Row("into a table of a virtual adapter", "server", H.H_PUT_RTCE, put(table="server.liobn"), R.H_PARAMETER, BOTH,
        source="LoPAR H_PUT_RTCE: liobn is a physical adapter's"),
    Row("unknown table", "server", H.H_PUT_RTCE, put(table=0x7FFFFFFF), R.H_PARAMETER, BOTH, source="LoPAR H_PUT_RTCE"),
    Row("count 0", "server", H.H_PUT_RTCE, put(count=0), R.H_PARAMETER, BOTH, choice=23),
    Row("client address not aligned", "server", H.H_PUT_RTCE, put(DATA + 8), R.H_PARAMETER, BOTH,
        source="LoPAR H_PUT_RTCE"),
    Row("place not aligned", "server", H.H_PUT_RTCE, put(ioba=PLACE + 512), R.H_PARAMETER, BOTH,
        source="LoPAR H_PUT_RTCE"),
    Row("beyond the client's window", "server", H.H_PUT_RTCE, put(WINDOW - PAGE, count=2), R.H_PARAMETER, BOTH,
        source="LoPAR H_PUT_RTCE"),
    Row("beyond the table", "server", H.H_PUT_RTCE, put(ioba=STORAGE_WINDOW - PAGE, count=2), R.H_PARAMETER, BOTH,
        source="LoPAR H_PUT_RTCE"),
    Row("far beyond", "server", H.H_PUT_RTCE, put(count=1 << 60), R.H_PARAMETER, BOTH, source="LoPAR H_PUT_RTCE"),
    Row("an entry without access", "server", H.H_PUT_RTCE, put(NO_ACCESS), R.H_R_PARM, BOTH, outputs=(0,),
        source="LoPAR H_PUT_RTCE: R4 is the index reached"),
    Row("the third of three is not mapped", "server", H.H_PUT_RTCE, put(MAPPED - 2 * PAGE, count=3), R.H_R_PARM, BOTH,
        outputs=(2,), effects={f"server fetched {PLACE} 2": "whole"}, choice=21),
    Row("not connected", "server", H.H_PUT_RTCE, put(), R.H_R_PARM, ("server registers",), outputs=(0,), choice=22),
    Row("the same clone again", "server", H.H_PUT_RTCE, put(), R.H_IN_USE, ONE, outputs=(0,), choice=24),
    Row("a place that is taken", "server", H.H_PUT_RTCE, put(DATA + PAGE), R.H_IN_USE, ONE, outputs=(0,), choice=24),
    Row("a second clone of an entry", "server", H.H_PUT_RTCE, put(ioba=PLACE + PAGE),
        lambda profile: R.H_SUCCESS if profile.redirected_mappings > 1 else R.H_RESOURCE, ONE,
        source="LoPAR H_PUT_RTCE: one clone unless H_VIOCTL says more"),
    Row("one more than there may be", "server", H.H_PUT_RTCE, put(ioba=PLACE + 2 * PAGE), R.H_RESOURCE,
        (*ONE, f"server tries-to-clone {DATA} {PLACE + PAGE}"), outputs=(0,), source="LoPAR H_PUT_RTCE"),
)  # fmt: skip

LISTING = (
    Row("clones what a list names", "server", H.H_PUT_RTCE_INDIRECT, listed(3), R.H_SUCCESS,
        (*BOTH, f"server names {LIST} {DATA + 2 * PAGE} {DATA} {DATA + PAGE}"),
        effects={f"server fetched {PLACE} 3": "whole"}, source="LoPAR H_PUT_RTCE_INDIRECT"),
    Row("more than a page of addresses", "server", H.H_PUT_RTCE_INDIRECT, listed(513), R.H_PARAMETER, BOTH,
        source="LoPAR H_PUT_RTCE_INDIRECT"),
    Row("list not aligned", "server", H.H_PUT_RTCE_INDIRECT, listed(at=LIST + 8), R.H_PARAMETER, BOTH,
        source="LoPAR H_PUT_RTCE_INDIRECT"),
    Row("list outside of memory", "server", H.H_PUT_RTCE_INDIRECT, listed(at=1 << 40), R.H_PARAMETER, BOTH,
        source="LoPAR H_PUT_RTCE_INDIRECT"),
    Row("count 0 in a list", "server", H.H_PUT_RTCE_INDIRECT, listed(0), R.H_PARAMETER, BOTH, choice=23),
    Row("an address outside of the window", "server", H.H_PUT_RTCE_INDIRECT, listed(), R.H_PARAMETER,
        (*BOTH, f"server names {LIST} {DATA} {WINDOW}"), source="LoPAR H_PUT_RTCE_INDIRECT"),
    Row("the second has no access", "server", H.H_PUT_RTCE_INDIRECT, listed(), R.H_R_PARM,
        (*BOTH, f"server names {LIST} {DATA} {NO_ACCESS}"), outputs=(1,), choice=21),
    Row("one entry twice", "server", H.H_PUT_RTCE_INDIRECT, listed(3), R.H_RESOURCE,
        (*BOTH, f"server names {LIST} {DATA} {DATA} {DATA}"), source="LoPAR H_PUT_RTCE: too many clones"),
    Row("the client's list", "client", H.H_PUT_RTCE_INDIRECT, listed(), R.H_PARAMETER, BOTH,
        source="LoPAR H_PUT_RTCE_INDIRECT"),
)  # fmt: skip

REMOVING = (
    Row("removes", "server", H.H_REMOVE_RTCE, remove(), R.H_SUCCESS, ONE,
        effects={f"server fetched {PLACE} 1": "fault"}, source="LoPAR H_REMOVE_RTCE"),
    Row("with a replacement", "server", H.H_REMOVE_RTCE, remove(tce=0x5003), R.H_SUCCESS, ONE,
        effects={f"server fetched {PLACE} 1": "fault"}, choice=25),
    Row("nothing there", "server", H.H_REMOVE_RTCE, remove(), R.H_PARAMETER, BOTH, source="LoPAR H_REMOVE_RTCE"),
    Row("a clone of another entry", "server", H.H_REMOVE_RTCE, remove(DATA + PAGE), R.H_PARAMETER, ONE,
        effects={f"server fetched {PLACE} 1": "whole"}, source="LoPAR H_REMOVE_RTCE"),
    Row("one of two is none", "server", H.H_REMOVE_RTCE, remove(count=2), R.H_PARAMETER, ONE,
        effects={f"server fetched {PLACE} 1": "whole"}, choice=25),
    Row("after the client has gone", "server", H.H_REMOVE_RTCE, remove(), R.H_SUCCESS, (*ONE, "client dies"),
        choice=22),
    Row("nothing at all", "server", H.H_REMOVE_RTCE, remove(count=0), R.H_PARAMETER, ONE, choice=23),
    Row("and cloned again", "server", H.H_PUT_RTCE, put(), R.H_SUCCESS,
        (*ONE, f"server removes {DATA} {PLACE} 1"), effects={f"server fetched {PLACE} 1": "whole"},
        source="LoPAR H_REMOVE_RTCE"),
)  # fmt: skip

REVOKING = (
    Row("takes a cloned page back", "client", H.H_PUT_TCE, ("client.liobn", DATA, 0),
        by("bit_bucket", R.H_SUCCESS, R.H_RESOURCE), ONE,
        effects={f"server fetched {PLACE} 1": lambda profile: "swallowed" if profile.bit_bucket else "whole"},
        source="LoPAR Redirected RDMA: bit bucket, or H_Resource"),
    Row("takes it back once it is removed", "client", H.H_PUT_TCE, ("client.liobn", DATA, 0), R.H_SUCCESS,
        (*ONE, f"server removes {DATA} {PLACE} 1"), effects={f"client tce {DATA}": 0}, source="LoPAR Redirected RDMA"),
    Row("takes a page back that is not cloned", "client", H.H_PUT_TCE, ("client.liobn", DATA + PAGE, 0), R.H_SUCCESS,
        ONE, effects={f"server fetched {PLACE} 1": "whole"}, source="LoPAR Redirected RDMA"),
    Row("takes a cloned stretch back", "client", H.H_STUFF_TCE, ("client.liobn", DATA, 0, 4),
        by("bit_bucket", R.H_SUCCESS, R.H_RESOURCE), ONE,
        effects={f"server fetched {PLACE} 1": lambda profile: "swallowed" if profile.bit_bucket else "whole"},
        source="LoPAR Redirected RDMA"),
    Row("a clone of a page that was taken back faults on reads", "server", H.H_REMOVE_RTCE, remove(), R.H_SUCCESS,
        (*ONE, f"client takes-back {DATA}"), effects={f"server fetched {PLACE} 1": "fault"},
        source="LoPAR Redirected RDMA"),
    Row("frees its queue", "client", H.H_FREE_CRQ, ("client.ua",), by("bit_bucket", R.H_SUCCESS, R.H_RESOURCE), ONE,
        effects={f"server fetched {PLACE} 1": "fault"}, source="LoPAR H_FREE_CRQ"),
    Row("frees its queue without clones", "client", H.H_FREE_CRQ, ("client.ua",), R.H_SUCCESS,
        (*ONE, f"server removes {DATA} {PLACE} 1"), source="LoPAR H_FREE_CRQ"),
    Row("the server's own queue", "server", H.H_FREE_CRQ, ("server.ua",), by("bit_bucket", R.H_SUCCESS, R.H_RESOURCE),
        ONE, effects={f"server fetched {PLACE} 1": "fault"}, source="LoPAR H_FREE_CRQ"),
)  # fmt: skip

HANDLES = (
    Row("a TCE into the table of clones", "server", H.H_PUT_TCE, ("storage.liobn", PLACE, DATA | 3), R.H_PARAMETER,
        effects={f"server fetched {PLACE} 1": "fault"}, choice=27),
    Row("reading the table of clones", "server", H.H_GET_TCE, ("storage.liobn", PLACE), R.H_PARAMETER, choice=27),
    Row("copying through the table of clones", "server", H.H_COPY_RDMA,
        (16, "storage.liobn", PLACE, "server.liobn", DATA), R.H_S_PARM, BOTH, choice=27),
    Row("a queue of a storage adapter", "server", H.H_REG_CRQ, ("storage.ua", 0, PAGE), R.H_PARAMETER, choice=27),
)  # fmt: skip

ATTRIBUTES = (
    Row("read", "server", H.H_LIOBN_ATTRIBUTES, ("storage.liobn", 0, 0), R.H_SUCCESS, outputs=(1,),
        source="LoPAR H_LIOBN_ATTRIBUTES"),
    Row("no bit bucket", "server", H.H_LIOBN_ATTRIBUTES, ("storage.liobn", 1, 0), R.H_SUCCESS, outputs=(0,),
        source="LoPAR H_LIOBN_ATTRIBUTES"),
    Row("both", "server", H.H_LIOBN_ATTRIBUTES, ("storage.liobn", 1, 1), R.H_SUCCESS, outputs=(1,),
        source="LoPAR H_LIOBN_ATTRIBUTES"),
    Row("another bit", "server", H.H_LIOBN_ATTRIBUTES, ("storage.liobn", 0, 2), R.H_PARAMETER, choice=28),
    Row("another adapter", "server", H.H_LIOBN_ATTRIBUTES, ("server.liobn", 1, 0), R.H_PARAMETER, choice=28),
    Row("another partition", "client", H.H_LIOBN_ATTRIBUTES, ("storage.liobn", 1, 0), R.H_PARAMETER, choice=28),
)  # fmt: skip

ASKING = (
    Row("clones of one entry", "server", H.H_VIOCTL, ("server.ua", Subfunction.GET_MAX_REDIRECTED_MAPPINGS, 0, 0, 0),
        R.H_SUCCESS, outputs=(2,), source="LoPAR H_VIOCTL"),
    Row("clones, asked by a client", "client", H.H_VIOCTL,
        ("client.ua", Subfunction.GET_MAX_REDIRECTED_MAPPINGS, 0, 0, 0), R.H_PARAMETER, source="LoPAR H_VIOCTL"),
    Row("clones, with a parameter", "server", H.H_VIOCTL,
        ("server.ua", Subfunction.GET_MAX_REDIRECTED_MAPPINGS, 1, 0, 0), R.H_PARAMETER, choice=19),
)  # fmt: skip

ROWS = {name: [row for row in rows if row] for name, rows in {
    "H_PUT_RTCE": PUTTING, "H_PUT_RTCE_INDIRECT": LISTING, "H_REMOVE_RTCE": REMOVING, "revoking": REVOKING,
    "handles": HANDLES, "H_LIOBN_ATTRIBUTES": ATTRIBUTES, "asking": ASKING,
}.items()}  # fmt: skip
PARAMETERS = [
    pytest.param(row, id=f"{name}-{row.name}".replace(" ", "-")) for name, rows in ROWS.items() for row in rows
]
