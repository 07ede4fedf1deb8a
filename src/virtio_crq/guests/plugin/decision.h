/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
/* Whose hypercall is it, and what has to be done with its terminal: decisions by numbers alone, without QEMU. */
#ifndef VIRTIO_CRQ_DECISION_H
#define VIRTIO_CRQ_DECISION_H

#include "attachment.h"

#define H_GET_TERM_CHAR 0x54
#define H_PUT_TERM_CHAR 0x58

/* Whether our engine answers. Everything else is QEMU's own: its PCI windows, its virtual devices, the processor calls.
 * `registers` are R4 to R12. */
int decide_ours(struct hv_attachment *attachment, uint64_t opcode, const uint64_t registers[SEAM_REGISTERS]);

/* Whether it names a borrowed terminal, of which the guest's tree knows nothing; `bells` is the first one's unit address.
 * QEMU would wait for ever, with everything stopped, for somebody to read what a guest writes there. */
int decide_hidden(const struct hv_attachment *attachment, uint64_t bells, uint64_t opcode, uint64_t unit_address);

/* The adapter whose terminal must be drained now that this call was answered with `code`, or null.
 *
 * A terminal pulses its interrupt only when its buffer was empty, and nobody but us reads it. It is drained whenever the
 * guest turns the interrupt off, and when it gives the queue up: who is told of an interrupt turns it off first, so a
 * buffer with bytes in it always has a pulse under way. */
struct hv_adapter *decide_drain(struct hv_attachment *attachment, uint64_t opcode, const uint64_t registers[SEAM_REGISTERS],
				int64_t code);

#endif
