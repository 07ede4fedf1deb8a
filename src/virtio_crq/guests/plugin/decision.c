/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
#include "decision.h"

static int decide_own_liobn(const struct hv_attachment *attachment, uint64_t liobn)
{
	return liobn >= HV_LIOBN_BASE && liobn - HV_LIOBN_BASE < 4 * (uint64_t)attachment->state->adapters;
}

int decide_ours(struct hv_attachment *attachment, uint64_t opcode, const uint64_t registers[SEAM_REGISTERS])
{
	switch (opcode) {
	case OP_H_GET_TCE:
	case OP_H_PUT_TCE:
	case OP_H_STUFF_TCE:
	case OP_H_PUT_TCE_INDIRECT:
		return decide_own_liobn(attachment, registers[0]);
	case OP_H_REG_CRQ:
	case OP_H_FREE_CRQ:
	case OP_H_VIO_SIGNAL:
	case OP_H_SEND_CRQ:
	case OP_H_ENABLE_CRQ:
	case OP_H_VIOCTL:
		return hv_find(attachment->state, attachment->own, registers[0]) != 0;
	case OP_H_COPY_RDMA:
	case OP_H_WRITE_RDMA:
	case OP_H_READ_RDMA:
		return 1; /* QEMU has no partner partition to copy from */
	default:
		return 0;
	}
}

int decide_hidden(const struct hv_attachment *attachment, uint64_t bells, uint64_t opcode, uint64_t unit_address)
{
	return (opcode == H_GET_TERM_CHAR || opcode == H_PUT_TERM_CHAR || opcode == OP_H_VIO_SIGNAL) &&
	       unit_address - bells < attachment->own->adapters;
}

struct hv_adapter *decide_drain(struct hv_attachment *attachment, uint64_t opcode, const uint64_t registers[SEAM_REGISTERS],
				int64_t code)
{
	int drain = 0;

	if (code)
		return 0;
	if (opcode == OP_H_FREE_CRQ)
		drain = 1;
	else if (opcode == OP_H_VIO_SIGNAL)
		drain = !(registers[1] & 1);
	else if (opcode == OP_H_VIOCTL)
		drain = registers[1] == VIOCTL_DISABLE_ALL_INTERRUPTS || registers[1] == VIOCTL_DISABLE_INTERRUPT;
	return drain ? hv_find(attachment->state, attachment->own, registers[0]) : 0;
}
