/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
/* A virtual processor: its right to make hypercalls, and its registers. Used by its own thread alone. */
#ifndef VIRTIO_CRQ_VCPU_H
#define VIRTIO_CRQ_VCPU_H

#include "attachment.h"
#include "qemuapi.h"

#define VCPU_FIRST 3 /* R3: the opcode, then the return code */
#define VCPU_REGISTERS (1 + SEAM_REGISTERS)

struct vcpu {
	struct hv_caller caller;
	struct qemu_plugin_register *handle[VCPU_REGISTERS], *msr;
	struct glib_bytes *bytes;
};

/* In the processor's own thread. Null when it cannot make hypercalls. */
struct vcpu *vcpu_new(struct hv_attachment *attachment);

/* Whether a program of the guest runs, not its kernel: only kernels make hypercalls. */
int vcpu_in_problem_state(struct vcpu *vcpu, int big);

/* R3 to R12. The processor's byte order is that of its instructions at this time: `big` says which. */
void vcpu_load(struct vcpu *vcpu, int big, uint64_t values[VCPU_REGISTERS]);
/* Stores those that differ from `old`. */
void vcpu_store(struct vcpu *vcpu, int big, const uint64_t values[VCPU_REGISTERS], const uint64_t old[VCPU_REGISTERS]);

#endif
