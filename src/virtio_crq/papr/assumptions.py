# SPDX-License-Identifier: Apache-2.0
"""What we assume about the platform without a source we could verify, and how to settle each on hardware.

docs/spec/assumptions.md is printed from this table: `python -m virtio_crq.papr.assumptions > docs/spec/assumptions.md`.
"""

from dataclasses import dataclass, fields

from virtio_crq.papr.hypercalls import Hypercall
from virtio_crq.papr.profiles import PROFILES, Profile

# How sure we are: nothing readable says so; derived from what the sources say; our judgement.
UNCONFIRMED, DERIVED, JUDGEMENT = "unconfirmed", "derived", "judgement"


@dataclass(frozen=True)
class Assumption:
    """One doubt. `switches` are the fields of `Profile` that decide it in the emulator."""

    number: int
    title: str
    certainty: str
    switches: tuple[str, ...]
    doubt: str
    relied_on: str
    test: str


ASSUMPTIONS = (
    Assumption(
        1,
        "Field that a copy never tears",
        JUDGEMENT,
        ("copy_granularity",),
        "LoPAR gives H_COPY_RDMA no internal order and no atomicity.",
        "An aligned 2-byte field is read or written whole: ring indices are fetched by copies of their own.",
        "One partition counts a 2-, 4- and 8-byte field up, all bytes equal, while the other copies it in a loop; any "
        "copy with unequal bytes shows the granularity. Run an hour on each processor generation, across page ends.",
    ),
    Assumption(
        2,
        "Longest copy",
        UNCONFIRMED,
        ("max_copy",),
        "The legal minimum of ibm,max-virtual-dma-size is 128 KiB; what PowerVM offers is not published.",
        "Nothing: the property is read, and without it copies have no limit but the window. Linux' own server driver "
        "(ibmvscsis, to 7.2) reads the cell without swapping it on little-endian: at 128 KiB it copies by 512 bytes "
        "(seen). So power8 shows a value that reads the same from either end, and power9 none.",
        "Read /proc/device-tree/vdevice/ibm,max-virtual-dma-size on any partition; copy one page more and expect "
        "H_Parameter.",
    ),
    Assumption(
        3,
        "Copies between two second panes",
        DERIVED,
        ("cross_pane_copy",),
        "The rule is that each LIOBN is in some ibm,my-dma-window of the caller, so remote to remote is not excluded.",
        "Nothing: every copy has one end in the caller's own first pane.",
        "Give a server two clients and copy from one client's window to the other's.",
    ),
    Assumption(
        4,
        "Code of a copy to a closed connection",
        DERIVED,
        ("closed_pane_permission",),
        "Copies against a deregistered partner fail; drivers handle -13, -14 and -11 alike, except that ibmvscsis, "
        "which IBM wrote for PowerVM, takes only H_Permission for a lost partner when it fetches a request.",
        "Any of the three means that the partner may be gone; the queue then says whether it is.",
        "Deregister the client's CRQ and copy from and to its window.",
    ),
    Assumption(
        5,
        "A slot kept for transport events",
        UNCONFIRMED,
        ("event_slot_reserved",),
        "An event is queued provided there is free space; whether PowerVM keeps a slot for it is not said.",
        "Nothing: credits leave slots free. A full ring is a broken partner.",
        "Fill a client's ring until H_Dropped, count the entries, then kill the sender and look for 0xFF01.",
    ),
    Assumption(
        6,
        "Mark of an overwritten entry",
        DERIVED,
        ("overwritten_mark",),
        "0xFF02 may overlay the last entry of a full ring; only one driver reads status 0x20 as a sign of it.",
        "Nothing: a transport event ends the session, so what it overlaid is not missed.",
        "Fill a ring, deregister the sender's CRQ, and read byte 3 of the last slot.",
    ),
    Assumption(
        7,
        "Unknown mode bits of H_VIO_SIGNAL",
        DERIVED,
        ("signal_refuses_unknown_bits",),
        "One paragraph ignores them, another answers H_Parameter.",
        "Nothing: only defined bits are set.",
        "Call H_VIO_SIGNAL with mode 4 on a vSCSI adapter.",
    ),
    Assumption(
        8,
        "Virtual location codes",
        UNCONFIRMED,
        ("location_code",),
        "The form MODEL-V(partition)-C(slot) is seen in the field, not in a text we could read.",
        "Nothing: the code is shown to people as it is.",
        "Read ibm,loc-code of a virtual adapter and compare it with the slot the console shows.",
    ),
    Assumption(
        9,
        "Sub-CRQs of our adapter type",
        DERIVED,
        ("sub_crq", "sub_crq_indirect_limit"),
        "LoPAR grants sub-CRQs only to some types; 16 entries per call on POWER8, 128 on POWER9, and no way to ask.",
        "Nothing: without sub-CRQs records go through the client's window; a batch above the limit is repeated by 16.",
        "H_REG_SUB_CRQ on a vSCSI adapter; H_SEND_SUB_CRQ_INDIRECT with 17 and 129 entries.",
    ),
    Assumption(
        10,
        "Optional calls",
        DERIVED,
        ("absent_calls",),
        "A function set may be missing at first boot or vanish with a migration: H_Function.",
        "H_PUT_TCE stands in for multi-TCE calls, a re-registration for H_ENABLE_CRQ; H_VIOCTL only informs. "
        "H_READ_RDMA and H_WRITE_RDMA belong to the set that H_COPY_RDMA is in, though no public driver calls them.",
        "Read /proc/device-tree/rtas/ibm,hypertas-functions; call H_READ_RDMA from a server adapter.",
    ),
    Assumption(
        11,
        "Busy answers",
        DERIVED,
        ("faults",),
        "H_FREE_CRQ and others may answer H_Busy or a long-busy code any number of times.",
        "The call is made again with the same arguments; by then no new entry or interrupt appears.",
        "Count busy answers of H_FREE_CRQ while the partner sends at full speed.",
    ),
    Assumption(
        12,
        "Entries of one H_STUFF_TCE",
        DERIVED,
        ("stuff_limit",),
        "LoPAR allows 512 (H_P4), yet older Linux cleared a whole window with one call, and firmware took it.",
        "Nothing: at most 512 are set by one call. Debian's 6.1, 6.12 and 7.2 kernels do the same (seen).",
        "H_STUFF_TCE with a count of 513.",
    ),
    Assumption(
        13,
        "Clones of one client entry",
        UNCONFIRMED,
        ("redirected_mappings",),
        "One is the default; H_VIOCTL GET_MAX_REDIRECTED_MAPPINGS may say more. No public driver clones any.",
        "Nothing: the server clones a page once, removes the clone before it completes the request, and copies instead "
        "where a clone is refused.",
        "GET_MAX_REDIRECTED_MAPPINGS on a server adapter; clone one entry to more places until H_Resource.",
    ),
    Assumption(
        14,
        "A client takes a page back that is cloned",
        DERIVED,
        ("bit_bucket",),
        "The platform may point the clone at a page that takes writes and faults on reads, where the LIOBN's attribute "
        "allows it, or hold the client off with H_Resource.",
        "Both: a client makes the call again, and a transfer that faults is made by copies.",
        "H_PUT_TCE of 0 on a cloned entry, with the attribute set and not set by H_LIOBN_ATTRIBUTES.",
    ),
    Assumption(
        15,
        "Sub-CRQs of one adapter",
        UNCONFIRMED,
        ("sub_crq_queues",),
        "LoPAR bounds them only by H_Resource; the interrupt numbers of an adapter's interrupt-ranges bound them too.",
        "Nothing: what cannot be registered is done without.",
        "H_REG_SUB_CRQ on one adapter until H_Resource; compare the count with its interrupt-ranges property.",
    ),
)

# Doubts of the same sources that no switch decides, and why.
WITHOUT_SWITCH = (
    ("One slot that is not freed stalls the ring (derived)", "No receiver of ours frees out of order."),
    ("Payload before the 0xC001/0xC002 exchange is not stopped by the transport (derived)", "We never send it."),
    ("Hypercalls and TCE calls per request (derived)", "Counted in the engine instead of assumed."),
    ("Cost of a hypercall and of a copied KiB (unconfirmed)", "Prices of the machine file; 0 by default."),
    (
        "H_GET_TCE of a window of one's own gives back the page and the access that were put there (derived)",
        "A guest's transport finds a disk's status byte by it, when it ends requests of a server that stays away.",
    ),
    (
        "An adapter of a type that Linux does not know is bound by its `compatible`, and gets DMA (derived)",
        "Seen on three kernels in QEMU; a chosen v-scsi client adapter stands in for it.",
    ),
    ("H_PAGE_INIT (unconfirmed)", "Not used and not emulated."),
    ("Shared logical resources as a shared ring (derived)", "Not used and not emulated."),
    ("Node type of a VNIC server, WWPN roles, SEA and VIOS command details (unconfirmed)", "Other devices than ours."),
)


def markdown() -> str:
    """The whole of docs/spec/assumptions.md."""
    profiles = list(PROFILES.values())
    lines = [
        "# Assumptions about the platform",
        "",
        "What LoPAR leaves open, what we derived, and what we could not verify. None of it is a silent MUST: each is a",
        "switch of a platform profile, and the product runs under every profile. Printed from `papr/assumptions.py`.",
        "Where LoPAR is silent or contradicts itself about an answer, see [choices.md](choices.md).",
        "",
        "| switch | " + " | ".join(profile.name for profile in profiles) + " | see |",
        "|---" * (len(profiles) + 2) + "|",
    ]
    for number, switch in [(a.number, switch) for a in ASSUMPTIONS for switch in a.switches]:
        values = " | ".join(_shown(profile, switch) for profile in profiles)
        lines.append(f"| `{switch}` | {values} | A-{number} |")
    for a in ASSUMPTIONS:
        lines += ["", f"## A-{a.number} {a.title} ({a.certainty})", "", f"* Doubt: {a.doubt}"]
        lines += [f"* Relied on: {a.relied_on}", f"* Test on hardware: {a.test}"]
    lines += ["", "## Doubts without a switch", "", "| doubt | why none |", "|---|---|"]
    lines += [f"| {doubt} | {reason} |" for doubt, reason in WITHOUT_SWITCH]
    return "\n".join(lines) + "\n"


def undecided() -> set[str]:
    """Fields of a profile that no assumption explains."""
    explained = {switch for assumption in ASSUMPTIONS for switch in assumption.switches}
    return {field.name for field in fields(Profile)} - explained - {"name"}


def _shown(profile: Profile, switch: str) -> str:
    value = getattr(profile, switch)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if switch == "max_copy":
        return f"{value / 1024:g} KiB" if value else "no limit"
    if switch == "stuff_limit":
        return str(value or "no limit")
    if switch == "absent_calls":
        return ", ".join(call.name for call in sorted(value, key=Hypercall)) or "none"
    if switch == "faults":
        return ", ".join(f"{f.call.name} {f.code.name} every {f.period}" for f in value) or "none"
    return str(value)


if __name__ == "__main__":
    print(markdown(), end="")
