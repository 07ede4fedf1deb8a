# SPDX-License-Identifier: Apache-2.0
"""Where LoPAR is silent or contradicts itself about an answer: what the emulator does, and why.

docs/spec/choices.md is printed from this table: `python -m virtio_crq.papr.choices > docs/spec/choices.md`. Each choice
is held by rows of the hypercall conformance table that name its number.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Choice:
    number: int
    call: str
    question: str
    chosen: str
    reason: str


CHOICES = (
    Choice(
        *(1, "H_REG_CRQ", "Which access must the pages of a ring grant?"),
        *("Read and write, else H_Parameter.", "The hypervisor reads headers and writes entries."),
    ),
    Choice(
        *(2, "H_REG_CRQ", "Length 0?"),
        *("H_Parameter.", "Zero is a multiple of 4 KiB, but no queue; both known implementations refuse it."),
    ),
    Choice(
        *(3, "H_FREE_CRQ", "A CRQ that is not registered?"),
        *("H_Success, and no event for the partner.", "After a busy answer the call is made again without harm."),
    ),
    Choice(
        *(4, "H_SEND_CRQ", "Header or connection first?"),
        *("The header: H_Parameter even while closed.", "The text names the header rule first."),
    ),
    Choice(
        *(5, "H_SEND_CRQ", "The receiver unmapped its ring?"),
        *("H_Dropped.", "There is no free slot; an error of the receiver must not look like one of the sender."),
    ),
    Choice(
        *(6, "interrupts", "An entry that came while the interrupt was off?"),
        *(
            "Signals when it is turned on, unless the newest entry was taken; also one that signalled before.",
            "An edge that is lost would need a timer in every receiver; ibmvscsis unmasks without taking, and waits.",
        ),
    ),
    Choice(
        *(7, "transport events", "0xFF01 finds the ring full?"),
        *("It overlays the last entry, as 0xFF02 does.", "A death that nobody is told would hang the partner."),
    ),
    Choice(
        *(8, "H_ENABLE_CRQ", "A CRQ that is not registered, or one that is open already?"),
        *("H_Parameter; H_Success.", "There is nothing to enable; nothing is left to do."),
    ),
    Choice(
        *(9, "H_VIO_SIGNAL", "Unknown mode bits?"),
        *("By profile: H_Parameter, or ignored.", "One paragraph ignores them, another refuses them (A-7)."),
    ),
    Choice(
        *(10, "H_COPY_RDMA", "Length 0?"),
        *("H_Success when both addresses are inside; no access is checked.", "Nothing is touched."),
    ),
    Choice(
        *(11, "H_COPY_RDMA", "Order of checks?"),
        *(
            "Length, source LIOBN, destination LIOBN, source range, destination range, connection, access.",
            "Handles before addresses, source before destination, as the arguments stand.",
        ),
    ),
    Choice(
        *(12, "H_COPY_RDMA", "One page of many lacks access?"),
        *("H_Permission, and nothing has moved.", "No partial completion is defined."),
    ),
    Choice(
        *(13, "H_READ_RDMA", "Registers behind the length asked for?"),
        *("Zero.", "Nothing of the hypervisor's may be seen in them."),
    ),
    Choice(
        *(14, "H_READ_RDMA, H_WRITE_RDMA", "The caller's own first pane?"),
        *("Allowed.", "The rule names the caller's windows, not only the remote one."),
    ),
    Choice(
        *(15, "H_PUT_TCE and others", "A copy runs through the entry that is replaced?"),
        *(
            "The entry is stored and the answer is H_Busy; the same call again answers H_Success once the copy ended.",
            "No busy code is named, but a page that is handed on while a copy runs would be a hole.",
        ),
    ),
    Choice(
        *(16, "H_PUT_TCE", "A logical address outside the partition's memory?"),
        *("H_Parameter, unless the entry grants no access.", "Clearing must not depend on the address bits."),
    ),
    Choice(
        *(17, "H_PUT_TCE", "Bits 2 to 11?"),
        *("Ignored; H_GET_TCE shows them as zero.", "They are reserved in the entry, not in the call."),
    ),
    Choice(
        *(18, "H_STUFF_TCE, H_PUT_TCE_INDIRECT", "One entry of many is wrong?"),
        *("H_Parameter, and none is stored.", "The list is copied and checked before."),
    ),
    Choice(
        *(19, "H_VIOCTL", "A parameter that the subfunction does not use is not 0?"),
        *("H_Parameter.", "Unused parameters must be 0."),
    ),
    Choice(
        *(20, "H_VIOCTL", "GET_PARTNER_INFO into a buffer that is not mapped for writing?"),
        *("H_Parameter.", "The call has no H_Permission."),
    ),
    Choice(
        *(21, "H_PUT_RTCE, H_PUT_RTCE_INDIRECT", "One client entry of many cannot be cloned?"),
        *("Those before it stay cloned, and R4 says how many.", "R4 as the index reached has no other use."),
    ),
    Choice(
        *(22, "H_PUT_RTCE and others", "The connection is not up?"),
        *("H_R_Parm; H_REMOVE_RTCE works on.", "No client entry is valid then, and clones must be removable."),
    ),
    Choice(
        *(23, "H_PUT_RTCE and others", "Count 0?"),
        *("H_Parameter.", "There is nothing to clone; a wrong count must not look like success."),
    ),
    Choice(
        *(24, "H_PUT_RTCE", "The place in the adapter's table is taken, by this entry or another?"),
        *("H_In_Use.", "A clone that is overwritten could not be found any more when its client takes the page back."),
    ),
    Choice(
        *(25, "H_REMOVE_RTCE", "The replacement grants access, or one of many is no clone of that entry?"),
        *(
            "The access is dropped; H_Parameter, and none is removed.",
            "The text forces no access; a list is checked first.",
        ),
    ),
    Choice(
        *(26, "H_REMOVE_RTCE", "A transfer runs through the clone?"),
        *("H_Busy: no other begins, and the same call again waits for it.", "As C-15, for the adapter's side."),
    ),
    Choice(
        *(27, "H_PUT_TCE, H_COPY_RDMA and others", "The LIOBN of a storage adapter?"),
        *("As an unknown one: its table holds clones only.", "A physical adapter's own mappings are not emulated."),
    ),
    Choice(
        *(28, "H_LIOBN_ATTRIBUTES", "Bits that cannot be changed, and LIOBNs of other adapters?"),
        *("H_Parameter.", "Only the bit bucket of a storage adapter can be changed."),
    ),
    Choice(
        *(29, "H_SEND_SUB_CRQ and indirect", "The partner freed its CRQ, and with it the sub-CRQ?"),
        *("H_Parameter.", "The handle is looked at before the connection, and nobody has registered it any more."),
    ),
    Choice(
        *(30, "H_SEND_SUB_CRQ_INDIRECT", "Where may the entries lie?"),
        *("Anywhere in one page that may be read, else H_Parameter.", "The page is named, not its alignment."),
    ),
    Choice(
        *(31, "H_SEND_SUB_CRQ, H_FREE_SUB_CRQ", "A handle from before the queue was freed?"),
        *("H_Parameter, also when the place is registered anew.", "A late record must not reach another's queue."),
    ),
)


def markdown() -> str:
    """The whole of docs/spec/choices.md."""
    lines = [
        "# Choices of the emulator",
        "",
        "Where LoPAR is silent or contradicts itself about the answer of a call. Printed from `papr/choices.py`; each",
        "choice is held by rows of the conformance table in `tests/hypervisor/conformance/`. What differs between",
        "platforms is a switch of a profile instead: [assumptions.md](assumptions.md).",
        "",
        "| no. | call | question | chosen | reason |",
        "|---|---|---|---|---|",
    ]
    lines += [f"| C-{c.number} | {c.call} | {c.question} | {c.chosen} | {c.reason} |" for c in CHOICES]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
