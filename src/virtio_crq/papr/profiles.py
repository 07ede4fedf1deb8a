# SPDX-License-Identifier: Apache-2.0
"""Platform profiles: all that LoPAR leaves open, or that we could not verify, as switches of an emulated platform.

`assumptions.py` says for each switch where the doubt comes from and how to settle it on hardware. Code above the seam
must work under every profile; the conformance suite runs the two extremes, `lopar-minimum` and `power9`.
"""

from dataclasses import dataclass

from virtio_crq.errors import UsageError
from virtio_crq.papr.hypercalls import SIGNATURES, Hypercall
from virtio_crq.papr.returncodes import ReturnCode

KIB = 1024


@dataclass(frozen=True)
class InjectedFault:
    """Every `period`-th `call` of an adapter is answered with `code` before it has any effect."""

    call: Hypercall
    code: ReturnCode
    period: int


@dataclass(frozen=True)
class Profile:
    """One platform. Field by field the switches of docs/spec/assumptions.md."""

    name: str
    # What the platform has.
    sub_crq: bool  # LoPAR grants sub-CRQs only to some adapter types
    sub_crq_queues: int  # sub-CRQs of one adapter; one more is H_Resource
    sub_crq_indirect_limit: int  # entries per H_SEND_SUB_CRQ_INDIRECT; an oversized count is H_Parameter
    absent_calls: frozenset[Hypercall]  # these answer H_Function
    stuff_limit: int  # TCEs per H_STUFF_TCE, else H_P4; 0 is no limit
    # Copies.
    max_copy: int  # bytes per H_COPY_RDMA, ibm,max-virtual-dma-size; 0 is no limit and no property
    copy_granularity: int  # naturally aligned fields of this many bytes are never torn by a copy
    cross_pane_copy: bool  # a copy between two second panes of one partition is allowed
    closed_pane_permission: bool  # copies to a closed connection: H_Permission, instead of H_S_Parm or H_D_Parm
    # Redirected RDMA.
    redirected_mappings: int  # clones of one client entry at a time, as GET_MAX_REDIRECTED_MAPPINGS says
    bit_bucket: bool  # a clone whose page is taken back goes to a bit bucket; otherwise the client is held off
    # Queues and interrupts.
    event_slot_reserved: bool  # the last free slot of a ring is kept for transport events
    overwritten_mark: bool  # an event that overlays the last entry carries status 0x20 in byte 3
    signal_refuses_unknown_bits: bool  # H_VIO_SIGNAL with unknown mode bits: H_Parameter, instead of ignoring them
    # Names.
    location_code: str  # format of ibm,loc-code: {partition}, {slot}
    faults: tuple[InjectedFault, ...] = ()

    def function_sets(self) -> frozenset[str]:
        """Names for ibm,hypertas-functions: the sets of which the platform has at least one call."""
        return frozenset(row.function_set for call, row in SIGNATURES.items() if call not in self.absent_calls)


_SUB_CRQ = frozenset(
    {
        Hypercall.H_REG_SUB_CRQ,
        Hypercall.H_FREE_SUB_CRQ,
        Hypercall.H_SEND_SUB_CRQ,
        Hypercall.H_SEND_SUB_CRQ_INDIRECT,
    }
)

LOPAR_MINIMUM = Profile(
    name="lopar-minimum",
    sub_crq=False,
    sub_crq_queues=0,
    sub_crq_indirect_limit=0,
    absent_calls=_SUB_CRQ
    | {Hypercall.H_PUT_TCE_INDIRECT, Hypercall.H_STUFF_TCE, Hypercall.H_VIOCTL, Hypercall.H_ENABLE_CRQ}
    | {Hypercall.H_PUT_RTCE_INDIRECT, Hypercall.H_LIOBN_ATTRIBUTES},
    stuff_limit=512,
    max_copy=128 * KIB,
    copy_granularity=2,
    cross_pane_copy=False,
    closed_pane_permission=False,
    redirected_mappings=1,
    bit_bucket=False,
    event_slot_reserved=False,
    overwritten_mark=False,
    signal_refuses_unknown_bits=True,
    location_code="U9999.999.0000000-V{partition}-C{slot}",
    faults=(InjectedFault(Hypercall.H_FREE_CRQ, ReturnCode.H_BUSY, 2),),
)

POWER8 = Profile(
    name="power8",
    sub_crq=True,
    sub_crq_queues=8,
    sub_crq_indirect_limit=16,
    absent_calls=frozenset(),
    stuff_limit=0,
    max_copy=0x0004_0400,  # the same read from either end
    copy_granularity=8,
    cross_pane_copy=True,
    closed_pane_permission=True,
    redirected_mappings=1,
    bit_bucket=True,
    event_slot_reserved=False,
    overwritten_mark=True,
    signal_refuses_unknown_bits=False,
    location_code="U8286.41A.0000000-V{partition}-C{slot}",
)

POWER9 = Profile(
    name="power9",
    sub_crq=True,
    sub_crq_queues=16,
    sub_crq_indirect_limit=128,
    absent_calls=frozenset(),
    stuff_limit=512,
    max_copy=0,
    copy_granularity=8,
    cross_pane_copy=True,
    closed_pane_permission=True,
    redirected_mappings=2,
    bit_bucket=True,
    event_slot_reserved=True,
    overwritten_mark=True,
    signal_refuses_unknown_bits=False,
    location_code="U9009.42A.0000000-V{partition}-C{slot}",
)

PROFILES = {profile.name: profile for profile in (LOPAR_MINIMUM, POWER8, POWER9)}
EXTREMES = (LOPAR_MINIMUM, POWER9)
DEFAULT = POWER9


def profile_named(name: str) -> Profile:
    """The profile of that name."""
    if name not in PROFILES:
        raise UsageError(f"no platform profile {name!r}; there are {', '.join(PROFILES)}")
    return PROFILES[name]
