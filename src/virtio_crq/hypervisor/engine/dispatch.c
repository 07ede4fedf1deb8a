/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
/* One hypercall by number: which adapter it names, what it does, and its accounts. */
#include "calls.h"

/* What a finished call reports beside its code. */
struct hv_result {
	struct hv_adapter *adapter; /* the one to count it on; null: none of the caller's */
	uint64_t copied;
	enum hv_call_index call;
};

static enum hv_call_index hv_index(uint64_t opcode)
{
	switch (opcode) {
#define CASE(name, number)                                                                                            \
	case number:                                                                                                  \
		return CALL_##name;
		HV_CALLS(CASE)
#undef CASE
	default:
		return CALL_OTHER;
	}
}

static int64_t hv_tce_call(struct hv_caller *caller, uint64_t *r, struct hv_result *result)
{
	struct hv_pane pane;
	int64_t fault;

	/* TCEs are set and read through a first pane only. */
	if (!hv_pane_of(caller, r[0], &pane) || (pane.key & HV_LINKED))
		return H_PARAMETER;
	result->adapter = pane.target;
	fault = hv_fault(caller, pane.target, result->call);
	if (fault)
		return fault;
	switch (result->call) {
	case CALL_H_GET_TCE:
		if (!hv_inside(pane.target, r[1], 1) || r[1] % TCE_PAGE)
			return H_PARAMETER;
		r[0] = hv_tces(caller->state, pane.target)[r[1] / TCE_PAGE] & (~(uint64_t)(TCE_PAGE - 1) | TCE_ACCESS);
		return H_SUCCESS;
	case CALL_H_PUT_TCE:
		return hv_put_tces(caller, pane.target, r[1], &r[2], 1, 1);
	case CALL_H_STUFF_TCE:
		if (caller->state->facts.stuff_limit && r[3] > caller->state->facts.stuff_limit)
			return H_P4;
		return hv_put_tces(caller, pane.target, r[1], &r[2], r[3], 1);
	default:
		return hv_put_tce_indirect(caller, pane.target, r[1], r[2], r[3]);
	}
}

static int64_t hv_copy_call(struct hv_caller *caller, uint64_t *r, struct hv_result *result)
{
	const struct hv_facts *facts = &caller->state->facts;
	struct hv_pane source, destination;
	int64_t code;

	if (facts->max_copy && r[0] > facts->max_copy)
		return H_PARAMETER;
	if (!hv_pane_of(caller, r[1], &source))
		return H_S_PARM;
	result->adapter = source.through;
	if (!hv_pane_of(caller, r[3], &destination))
		return H_D_PARM;
	if (destination.key & HV_LINKED) {
		if ((source.key & HV_LINKED) && !facts->cross_pane_copy)
			return H_D_PARM;
		result->adapter = destination.through;
	}
	code = hv_fault(caller, result->adapter, result->call);
	if (!code)
		code = hv_copy(caller, &source, r[2], &destination, r[4], r[0]);
	result->copied = code ? 0 : r[0];
	return code;
}

/* Registers carry bytes with the first one most significant. */
static int64_t hv_register_copy(struct hv_caller *caller, uint64_t *r, struct hv_result *result)
{
	int outward = result->call == CALL_H_WRITE_RDMA;
	uint64_t limit = outward ? 48 : 72, length = r[0], liobn = r[1], ioba = r[2], words[SEAM_REGISTERS] = { 0 };
	struct hv_pane pane;
	int64_t code;

	if (length > limit)
		return H_PARAMETER;
	if (!hv_pane_of(caller, liobn, &pane))
		return outward ? H_D_PARM : H_S_PARM;
	result->adapter = pane.through;
	code = hv_fault(caller, pane.through, result->call);
	if (code)
		return code;
	for (int index = 0; outward && index < 6; index++)
		words[index] = hv_swap64(r[3 + index]);
	code = hv_move(caller, &pane, ioba, (uint8_t *)words, length, outward);
	for (int index = 0; !outward && !code && index < SEAM_REGISTERS; index++)
		r[index] = hv_swap64(words[index]);
	return code;
}

static int64_t hv_adapter_call(struct hv_caller *caller, uint64_t *r, struct hv_result *result)
{
	struct hv_adapter *adapter = hv_find(caller->state, caller->own, r[0]);
	int64_t fault;

	result->adapter = adapter;
	if (!adapter)
		return H_PARAMETER;
	fault = hv_fault(caller, adapter, result->call);
	if (fault)
		return fault;
	switch (result->call) {
	case CALL_H_REG_CRQ:
		return hv_register(caller, adapter, r[1], r[2]);
	case CALL_H_FREE_CRQ:
		return hv_free(caller, adapter);
	case CALL_H_ENABLE_CRQ:
		return hv_enable(caller, adapter);
	case CALL_H_VIO_SIGNAL:
		return hv_signal(caller, adapter, r[1]);
	case CALL_H_REG_SUB_CRQ:
		return hv_sub_register(caller, adapter, r[1], r[2], r);
	case CALL_H_FREE_SUB_CRQ:
		return hv_sub_free(caller, adapter, r[1]);
	case CALL_H_SEND_SUB_CRQ:
		return hv_sub_send(caller, adapter, r[1], r + 2);
	case CALL_H_SEND_SUB_CRQ_INDIRECT:
		return hv_sub_send_indirect(caller, adapter, r[1], r[2], r[3]);
	default:
		return hv_send(caller, adapter, r[1], r[2]);
	}
}

static int64_t hv_dispatch(struct hv_caller *caller, uint64_t *registers, struct hv_result *result)
{
	if (result->call == CALL_OTHER || caller->state->facts.absent & 1u << result->call)
		return H_FUNCTION;
	switch (result->call) {
	case CALL_H_GET_TCE:
	case CALL_H_PUT_TCE:
	case CALL_H_STUFF_TCE:
	case CALL_H_PUT_TCE_INDIRECT:
		return hv_tce_call(caller, registers, result);
	case CALL_H_COPY_RDMA:
		return hv_copy_call(caller, registers, result);
	case CALL_H_WRITE_RDMA:
	case CALL_H_READ_RDMA:
		return hv_register_copy(caller, registers, result);
	case CALL_H_PUT_RTCE:
	case CALL_H_PUT_RTCE_INDIRECT:
	case CALL_H_REMOVE_RTCE:
	case CALL_H_LIOBN_ATTRIBUTES:
		return hv_redirect_call(caller, registers, result->call, &result->adapter);
	case CALL_H_VIOCTL:
		return hv_vioctl(caller, registers, &result->adapter);
	default:
		return hv_adapter_call(caller, registers, result);
	}
}

/* A call as its caller made it, to be made again. */
struct hv_again {
	const uint64_t *in;
	uint64_t *registers;
	struct hv_result *result;
};

static int64_t hv_once_more(struct hv_caller *caller, void *what)
{
	struct hv_again *again = what;

	memcpy(again->registers, again->in, SEAM_REGISTERS * sizeof *again->in);
	return hv_dispatch(caller, again->registers, again->result);
}

static int hv_is_tce_call(enum hv_call_index call)
{
	return call == CALL_H_PUT_TCE || call == CALL_H_STUFF_TCE || call == CALL_H_PUT_TCE_INDIRECT;
}

int64_t hv_call(struct hv_caller *caller, uint64_t opcode, uint64_t registers[SEAM_REGISTERS])
{
	return hv_call_patiently(caller, opcode, registers, 0);
}

/* Counted and traced once, however often it is tried. */
int64_t hv_call_patiently(struct hv_caller *caller, uint64_t opcode, uint64_t registers[SEAM_REGISTERS],
			  const struct hv_patience *patience)
{
	struct hv_result result = { .call = hv_index(opcode) };
	struct hv_counters *row;
	uint64_t in[SEAM_REGISTERS];
	int64_t code;

	if (hv_stale(caller))
		return H_HARDWARE;
	memcpy(in, registers, sizeof in);
	code = hv_dispatch(caller, registers, &result);
	if (hv_in_the_way(code) && patience && hv_is_tce_call(result.call)) {
		struct hv_again again = { in, registers, &result };
		uint64_t count = result.call == CALL_H_PUT_TCE ? 1 : in[3];
		struct hv_revocation revocation = { result.adapter, in[1], count * TCE_PAGE, hv_once_more, &again };

		code = hv_be_patient(caller, &revocation, patience);
	}
	row = hv_row(caller, result.adapter);
	hv_count(&row->calls[result.call], 1);
	if (result.copied) {
		hv_count(&row->copies, 1);
		hv_count(&row->bytes, result.copied);
	}
	if (hv_mode(caller) & (HV_MODE_TRACE | HV_MODE_PRICES))
		hv_account_slow(caller, result.adapter, opcode, in, code, registers, result.copied);
	return code;
}
